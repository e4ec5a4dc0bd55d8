"""Polynomial-decay averaging (Shamir & Zhang 2013): the last weights count for more than the first."""

from __future__ import annotations

from typing import Annotated

import attrs
from attrs.validators import ge
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from robustfw import Averaging, hookimpl


@attrs.frozen
class Polynomial(Averaging):
    """θ̄_t = (1 − a)·θ̄_{t−1} + a·θ_t, a = (η + 1)/(η + t): for η = 0 the mean of all weights, else of the later."""

    eta: Annotated[float, "η"] = attrs.field(default=8.0, validator=ge(0))

    def build(self, model: nn.Module) -> AveragedModel:
        def mean(average: Tensor, value: Tensor, seen: Tensor | int) -> Tensor:
            return average + (value - average) * ((self.eta + 1) / (self.eta + 1 + seen))

        return AveragedModel(model, avg_fn=mean, use_buffers=True)

    def update(self, average: AveragedModel, model: nn.Module, progress: float) -> None:
        average.update_parameters(model)


@hookimpl
def robustfw_register(add):
    add("polynomial", Polynomial)
