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
"""Radius of the cube that the kit's batches are attacked in: worst cases differ from x, and losses change little."""


@final
@attrs.frozen
class Corner(Attack):
    """The member that goes farthest along the gradient at x: an attack of the kit's own, without randomness."""

    def maximize(self, problem: InnerProblem, generator: torch.Generator) -> Tensor:
        """support(∇J) at δ = 0, (batch, *shape): one forward and one backward pass."""
        _, gradient = problem.linearize()
        return problem.region.support(gradient)


def batch_of(net: nn.Module, x: Tensor, y: Tensor, **more: Any) -> Batch:
    """A batch such as the engine makes, attacked by `Corner` in a small cube within [0, 1].

    Args:
        net: outputs of x.
        x: examples (batch, *shape).
        y: targets.
        more: other fields of the batch; its metadata have ``index`` as in a training.
    """
    fields = {"meta": {"index": torch.arange(len(x))}} | more
    return Batch.create(net, x, y, uncertainty=Cube(RADIUS), attack=Corner(), **fields)


@attrs.frozen(eq=False)
class GivenBatch(Batch):
    """A batch whose worst case is given, for tests of an objective's values."""

    moved: Tensor | None = None
    """x̃, (batch, *shape); None: asking for it is an error."""

    def worst_case(self, **asked: Any) -> Tensor:
        """The x̃ that was given, whatever is asked.

        Raises:
            AssertionError: none was given.
        """
        if self.moved is None:
            raise AssertionError("it asked for a worst case")
        return self.moved


def given_batch(
    net: nn.Module, x: Tensor, y: Tensor, moved: Tensor | None = None, **more: Any
) -> GivenBatch:
    """A batch outside a training, whose worst case is given.

    Args:
        net: outputs of x.
        x: examples (batch, *shape).
        y: targets.
        moved: the worst case x̃, (batch, *shape); None: asking for it is an error.
        more: other fields of the batch, or arguments of `Batch.create`.
    """
    return GivenBatch.create(
        net, x, y, uncertainty=Cube(RADIUS), attack=Corner(), moved=moved, **more
    )


def pass_through_checkpoint(value: Any) -> Any:
    """A value as it comes back from a checkpoint: tensors as copies, everything else by JSON."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    return json.loads(json.dumps(value))
