"""Modules that offer a kind or a class, as a plugin does."""

from __future__ import annotations

import types

import attrs

import robustfw
from robustfw import Interface, UncertaintySet, hookimpl


@attrs.frozen
class Point(UncertaintySet):
    """Nothing may change."""

    radius: float = 0.0

    def at(self, x):
        return robustfw.make("uncertainty", "linf:radius=0").at(x)


def plugin(**functions):
    module = types.ModuleType("some_plugin")
    for name, function in functions.items():
        setattr(module, name, function)
    return module


class Shape(Interface):
    """A kind that the core does not know."""

    kind = "shape"


@attrs.frozen
class Round(Shape):
    """An implementation with an option."""

    size: int = 1


@attrs.frozen
class Shaped(UncertaintySet):
    """A set with an option of that kind."""

    shape: Shape = attrs.field(factory=Round)

    def at(self, x):
        return Point().at(x)


@hookimpl
def offers_shapes(add):
    add("shaped", Shaped)
    add("round", Round)
