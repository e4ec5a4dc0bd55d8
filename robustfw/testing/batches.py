"""Batches such as the engine makes, for laws of objectives and updates, and for known values of them."""

from __future__ import annotations

import json
from typing import Any, final

import attrs
import torch
from torch import Tensor, nn

from robustfw.attack import Attack
from robustfw.inner.problem import InnerProblem
from robustfw.testing.problems import Cube
from robustfw.training.batch import Batch

RADIUS = 0.05
"""Of the set that the kit's batches attack in: worst cases differ from x, and losses are still much the same."""


@final
@attrs.frozen
class Corner(Attack):
    """The member that goes farthest along the gradient at x: an attack of the kit's own, which draws nothing."""

    def maximize(self, problem: InnerProblem, generator: torch.Generator) -> Tensor:
        """One forward and one backward pass."""
        _, gradient = problem.linearized()
        return problem.region.support(gradient)


def batch_of(net: nn.Module, x: Tensor, y: Tensor, **more: Any) -> Batch:
    """A batch such as the engine makes, attacked by `Corner` in a small cube within [0, 1].

    Args:
        net: outputs of x.
        x: examples (batch, *shape).
        y: targets.
        more: other fields of the batch; ``index`` is there as in a training.
    """
    given = {"meta": {"index": torch.arange(len(x))}} | more
    return Batch.of(net, x, y, uncertainty=Cube(RADIUS), attack=Corner(), **given)


@attrs.frozen(eq=False)
class GivenBatch(Batch):
    """A batch whose worst case is given, for known values of objectives."""

    moved: Tensor | None = None
    """x̃; None: whoever asks for it is told that there is none."""

    def worst_case(self, **asked: Any) -> Tensor:
        """What was given."""
        if self.moved is None:
            raise AssertionError("it asked for a worst case")
        return self.moved


def given_batch(net: nn.Module, x: Tensor, y: Tensor, moved: Tensor | None = None, **more: Any) -> GivenBatch:
    """A batch outside a training, whose worst case is ``moved``; ``more``: other fields, or arguments of `Batch.of`."""
    return GivenBatch.of(net, x, y, uncertainty=Cube(RADIUS), attack=Corner(), moved=moved, **more)


def saved(value: Any) -> Any:
    """A value as it comes back from a checkpoint: tensors as copies, everything else by JSON."""
    return value.detach().clone() if isinstance(value, Tensor) else json.loads(json.dumps(value))
