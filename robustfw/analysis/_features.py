"""Features: what the last linear layer of a net is given."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from robustfw.inner.freezing import freeze


class _Heard(list[tuple[nn.Linear, Tensor, Tensor]]):
    """Linear layers with their inputs and outputs, in the order in which they were called."""

    def hook(self, layer: nn.Module, given: tuple[Any, ...], made: Any) -> None:
        if isinstance(layer, nn.Linear):
            self.append((layer, given[0].detach(), made.detach()))


def head_of(model: nn.Module, x: Tensor) -> nn.Linear | None:
    """The linear layer whose outputs are the net's logits at x; None where another has the last word."""
    heard, logits = _called(model, x)
    last = heard[-1] if heard else None
    return last[0] if last and last[2].shape == logits.shape and torch.equal(last[2], logits) else None


def features(model: nn.Module, head: nn.Linear, x: Tensor) -> Tensor:
    """What the head is given at each row of x, (batch, d), on the CPU."""
    heard, _ = _called(model, x)
    return next(given for layer, given, _ in reversed(heard) if layer is head).cpu()


def _called(model: nn.Module, x: Tensor) -> tuple[_Heard, Tensor]:
    heard = _Heard()
    handles = [m.register_forward_hook(heard.hook) for m in model.modules() if isinstance(m, nn.Linear)]
    try:
        with freeze(model), torch.no_grad():
            return heard, model(x)
    finally:
        for handle in handles:
            handle.remove()
