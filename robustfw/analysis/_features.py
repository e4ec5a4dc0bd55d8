"""Features: what the last linear layer of a net is given."""

from __future__ import annotations

from typing import Any

import attrs
import torch
from torch import Tensor, nn

from robustfw.inner.freezing import freeze


@attrs.frozen(eq=False)
class _LinearCall:
    """A call of a linear layer."""

    layer: nn.Linear
    inputs: Tensor
    outputs: Tensor


def head_of(model: nn.Module, x: Tensor) -> nn.Linear | None:
    """The linear layer whose outputs are the net's logits at x; None where another has the last word."""
    calls, logits = _record_linear_calls(model, x)
    if not calls:
        return None
    last = calls[-1]
    is_head = last.outputs.shape == logits.shape and torch.equal(last.outputs, logits)
    return last.layer if is_head else None


def features(model: nn.Module, head: nn.Linear, x: Tensor) -> Tensor:
    """What the head is given at each row of x, (batch, d), on the CPU.

    Args:
        model: outputs of x (batch, *shape).
        head: a linear layer of the net, see `head_of`.
        x: examples (batch, *shape).
    """
    calls, _ = _record_linear_calls(model, x)
    return next(call.inputs for call in reversed(calls) if call.layer is head).cpu()


def _record_linear_calls(
    model: nn.Module, x: Tensor
) -> tuple[list[_LinearCall], Tensor]:
    """Calls of linear layers in their order, and the net's logits at x."""
    calls: list[_LinearCall] = []

    def record(layer: nn.Module, arguments: tuple[Any, ...], outputs: Any) -> None:
        if isinstance(layer, nn.Linear):
            calls.append(_LinearCall(layer, arguments[0].detach(), outputs.detach()))

    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    handles = [layer.register_forward_hook(record) for layer in layers]
    try:
        with freeze(model), torch.no_grad():
            return calls, model(x)
    finally:
        for handle in handles:
            handle.remove()
