"""Precision, memory layout and compilation that were chosen, and a recipe and a net that take them on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import attrs
import torch
from torch import nn

from robustfw.errors import RunError
from robustfw.training.recipe import Recipe

Precision: TypeAlias = Literal["fp32", "bf16"]
Layout: TypeAlias = Literal["channels_last", "contiguous"]
FORMATS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
"""torch's memory format for each name of a layout."""


@attrs.frozen
class Tuning:
    """The precision and memory layout that were chosen, and why."""

    precision: Precision
    layout: Layout | None
    """Memory layout of convolutions; None: the net's own."""
    seconds: Mapping[str, float] = attrs.field(factory=dict)
    """Median seconds of an update, for each candidate by its name."""
    why: str = "as asked for"
    """The reason for the choice, in a sentence."""


def apply(tuning: Tuning, recipe: Recipe, model: nn.Module) -> Recipe:
    """Fill in what the options of a recipe leave open, and lay out the net as was chosen.

    Args:
        tuning: what was chosen.
        recipe: the recipe, which is left as it is.
        model: the net, which is changed in place.

    Returns:
        The recipe with a precision.
    """
    lay_out(model, tuning.layout)
    train = attrs.evolve(recipe.train, precision=tuning.precision)
    return attrs.evolve(recipe, train=train)


def lay_out(model: nn.Module, layout: Layout | None) -> None:
    """Bring a net's parameters into a memory layout, and the activations of layers that have a ``memory_format``."""
    if layout is None:
        return
    model.to(memory_format=FORMATS[layout])
    for module in model.modules():
        if hasattr(module, "memory_format"):
            module.memory_format = FORMATS[layout]  # type: ignore[assignment]  # torch knows tensors and modules only


def read(facts: Mapping[str, Any]) -> Tuning:
    """The tuning in a run's manifest, with which a resumed training goes on.

    Raises:
        RunError: what is there is none.
    """
    precision = facts.get("precision")
    layout = facts.get("layout")
    seconds = facts.get("seconds", {})
    why = facts.get("why", "")
    is_choice = precision in ("fp32", "bf16") and layout in (None, *FORMATS)
    is_reason = isinstance(seconds, dict) and isinstance(why, str)
    if not (is_choice and is_reason):
        raise RunError(
            "the manifest's table 'tuning' is damaged: train again with another --out"
        )
    return Tuning(precision, layout, seconds, why)  # type: ignore[arg-type]  # just looked at
