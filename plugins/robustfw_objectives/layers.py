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
"""Layers with weights, each of which is affine in its input."""


@contextlib.contextmanager
def evaluation_mode(
    model: nn.Module, x: Tensor, *, full_precision: bool = True
) -> Iterator[None]:
    """Put the net into evaluation mode within a ``with`` block (`robustfw.inner.modes.evaluation_mode`).

    Args:
        model: the net.
        x: its inputs, for their device.
        full_precision: whether autocast is turned off, too.
    """
    precision = (
        modes.full_precision(x.device) if full_precision else contextlib.nullcontext()
    )
    with modes.evaluation_mode(model), precision:
        yield


def inputs_of_layers(
    model: nn.Module, x: Tensor
) -> tuple[list[tuple[nn.Module, Tensor]], Tensor]:
    """Run the net on x, and record the inputs of its layers with weights.

    Returns:
        Pairs (layer, input) in the order of the calls, and the logits.
    """
    calls: list[tuple[nn.Module, Tensor]] = []

    def record(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        calls.append((module, arguments[0]))

    layers = [module for module in model.modules() if isinstance(module, AFFINE)]
    hooks = [layer.register_forward_pre_hook(record) for layer in layers]
    try:
        logits = model(x)
    finally:
        for hook in hooks:
            hook.remove()
    return calls, logits
