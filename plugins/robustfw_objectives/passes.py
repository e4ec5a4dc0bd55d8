"""Extra passes through the net that is being trained, which must not show in it afterwards."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import Tensor, nn

from robustfw.inner import modes

AFFINE = (
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)
"""Layers with weights: what a net's own depth is counted in."""


@contextlib.contextmanager
def evaluating(model: nn.Module, x: Tensor, *, full_precision: bool = True) -> Iterator[None]:
    """The net in evaluation mode (`robustfw.inner.modes.evaluating`); ``full_precision`` turns autocast off, too."""
    precision = modes.full_precision(x.device) if full_precision else contextlib.nullcontext()
    with modes.evaluating(model), precision:
        yield


def inputs_of_layers(model: nn.Module, x: Tensor) -> tuple[list[tuple[nn.Module, Tensor]], Tensor]:
    """A forward pass: the layers with weights in the order of their calls, each with its input, and the logits."""
    found: list[tuple[nn.Module, Tensor]] = []

    def note(module: nn.Module, given: tuple[Tensor, ...]) -> None:
        found.append((module, given[0]))

    layers = [module for module in model.modules() if isinstance(module, AFFINE)]
    hooks = [layer.register_forward_pre_hook(note) for layer in layers]
    try:
        logits = model(x)
    finally:
        for hook in hooks:
            hook.remove()
    return found, logits
