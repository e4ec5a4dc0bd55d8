"""Parts of a recipe that remember: what they know goes into checkpoints."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

import attrs


class Stateful(ABC):
    """A second base for an objective, an attack, an update, a sampler or a data set whose work depends on its past.

    What `state_dict` gives is saved with each checkpoint, and given back before a resumed training goes on, so that it
    is the uninterrupted one. The first of several processes saves.
    """

    @abstractmethod
    def state_dict(self) -> Mapping[str, Any]:
        """Tensors, and what JSON can hold, by name."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Become what one was that gave this state."""


def stateful_parts(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The parts of a recipe, at any depth, that have a state to keep, with the way to each, such as ``attack.attack``.

    A part counts if it derives from `Stateful`, or has both of its methods.
    """
    if _has_state(value):
        yield path, value
    if isinstance(value, list | tuple):
        for place, part in enumerate(value):
            yield from stateful_parts(part, f"{path}.{place}")
    elif attrs.has(type(value)):
        for field in attrs.fields(type(value)):
            if field.init:
                yield from stateful_parts(getattr(value, field.name), f"{path}.{field.name}".lstrip("."))


def _has_state(value: Any) -> bool:
    if isinstance(value, Stateful):
        return True
    given = callable(getattr(value, "state_dict", None)) and callable(getattr(value, "load_state_dict", None))
    return given and not isinstance(value, type) and attrs.has(type(value))


def forgetful_parts(value: Any, path: str = "") -> Iterator[str]:
    """The ways to parts that keep something which no checkpoint holds: fields that are neither options nor learnt."""
    if attrs.has(type(value)):
        own = [f for f in attrs.fields(type(value)) if not f.init and f.default is not None]
        if own and not _has_state(value):
            yield path
        for field in attrs.fields(type(value)):
            if field.init:
                yield from forgetful_parts(getattr(value, field.name), f"{path}.{field.name}".lstrip("."))
    elif isinstance(value, list | tuple):
        for place, part in enumerate(value):
            yield from forgetful_parts(part, f"{path}.{place}")
