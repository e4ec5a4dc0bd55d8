"""MART (Wang et al. 2020): misclassified examples count for more."""

from __future__ import annotations

from typing import Annotated

import attrs
import torch
from attrs.validators import ge
from torch import Tensor, nn

from robustfw import Batch, Objective, hookimpl, losses


@attrs.frozen
class Mart(Objective):
    """BCE(p(x̃), y) + λ·KL(p(x) ‖ p(x̃))·(1 − p_y(x)), BCE(p, y) = −log p_y − log(1 − max_{k ≠ y} p_k).

    The worst cases x̃ are those of the cross-entropy. An example without a label has the second part only, in full.
    """

    weight: Annotated[float, "λ, of the divergence"] = attrs.field(default=5.0, validator=ge(0))

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, batch: Batch) -> Tensor:
        moved = batch(loss=losses.cross_entropy)
        natural, attacked = (batch.task.read(model(each), len(each)).log_softmax(1) for each in (x, moved))
        labelled, label = y != losses.UNLABELLED, y.clamp(min=0)[:, None]
        boosted = -attacked.gather(1, label)[:, 0] - log_rest(attacked, label)
        missed = torch.where(labelled, 1 - natural.gather(1, label)[:, 0].exp(), 1)
        divergence = (natural.exp() * (natural - attacked)).sum(1)
        return torch.where(labelled, boosted, 0) + self.weight * divergence * missed


def log_rest(log_p: Tensor, label: Tensor) -> Tensor:
    """log(1 − max_{k ≠ y} p_k), by a sum over the other classes, which does not cancel."""
    runner_up = log_p.scatter(1, label, -torch.inf).argmax(1, keepdim=True)
    return log_p.scatter(1, runner_up, -torch.inf).logsumexp(1)


@hookimpl
def robustfw_register(add):
    add("mart", Mart)
