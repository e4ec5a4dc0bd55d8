"""Mixup (Zhang et al. 2018) at worst cases (Lee et al. 2020): between two examples, and between their labels."""

from __future__ import annotations

from typing import Annotated

import attrs
import torch
from attrs.validators import gt
from torch import Tensor, nn
from torch.nn.functional import one_hot

from robustfw import Batch, Objective, Split, UsageError, hookimpl, learnt, with_learnt


@attrs.frozen
class Mixup(Objective):
    """max_{δ ∈ 𝒰(x̂)} J(θ, x̂ + δ, ŷ), x̂ = λx + (1 − λ)u, ŷ = λy + (1 − λ)v, λ ~ Beta(α, α), (u, v) the next example."""

    alpha: Annotated[float, "α: small, and most examples stay as they are; 1, and all mixtures are alike"] = (
        attrs.field(default=0.4, validator=gt(0))
    )
    classes: int | None = learnt()

    @property
    def couples_rows(self) -> bool:
        """Each row has a part of the next one."""
        return True

    def fit(self, train: Split) -> Mixup:
        """Knowing how many classes there are."""
        return with_learnt(self, classes=max(int(y.max()) for _, y in train.iterate(1000)) + 1)

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, batch: Batch) -> Tensor:
        if self.classes is None:
            raise UsageError("mixup has not seen any data: call .fit(train) on it, with the training examples")
        # the larger share is always the row's own: λ and 1 − λ make the same pairs
        share = torch.distributions.Beta(self.alpha, self.alpha).sample((len(x),)).to(x)
        share = torch.maximum(share, 1 - share)
        soft = one_hot(y.clamp(min=0), self.classes).to(x) * (y >= 0)[:, None]
        mixed, label = (_mixed(each, share) for each in (x, soft))
        return batch.loss(model(batch(x=mixed, y=label)), label)


def _mixed(values: Tensor, share: Tensor) -> Tensor:
    return torch.lerp(values.roll(1, 0), values, share.reshape(-1, *[1] * (values.dim() - 1)))


@hookimpl
def robustfw_register(add):
    add("mixup", Mixup)
