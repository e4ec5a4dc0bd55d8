"""The inner problem: all that an attack sees of the world."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import TypeAlias

import attrs
import torch
from torch import Tensor

from robustfw import losses
from robustfw.errors import UsageError
from robustfw.regions import Region

Forward: TypeAlias = Callable[[Tensor], Tensor]
"""x̃ of shape (batch, *shape) to outputs in the form of the task, such as logits (batch, classes)."""
Goal: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""Outputs and targets to a mask (batch,): the rows that are solved."""


@attrs.define
class Passes:
    """How many examples have gone through the net, and back; shared by a problem and its rows."""

    forward: int = 0
    backward: int = 0


@attrs.frozen(eq=False)
class InnerProblem:
    """max_{δ ∈ region} J(forward(x + δ), y), one problem per row (eq. 10).

    ``forward`` maps x̃ to outputs and ``loss`` maps outputs and y to losses, (batch,). With a ``goal`` (in evaluation:
    the prediction is wrong) the value of a row that reaches it is ∞: nothing exceeds it, so the row is solved and an
    attack may drop it. Gradients are those of the finite loss.
    """

    forward: Forward
    loss: losses.LossFunction
    x: Tensor
    y: Tensor
    region: Region
    goal: Goal | None = None
    passes: Passes = attrs.field(factory=Passes)
    start: Tensor | None = None
    """A member that an iterated attack begins at, instead of at one of its own choice: what was found elsewhere."""
    target: Tensor | None = None
    """Labels (batch,) to move towards: values are then −J(…, target), see `towards`."""
    meta: Mapping[str, Tensor] = attrs.field(factory=dict)
    """What else is known of each row, (batch, …) by name: in training ``index``, its place in the training split, and
    what the split gives (`robustfw.data.splits.Split.metadata`), such as ``group``."""
    _found: list[tuple[Tensor, Tensor]] = attrs.field(factory=list, init=False, repr=False)
    """What `linearized` gave, once it was asked."""

    @classmethod
    def of(cls, function: Callable[[Tensor], Tensor], x: Tensor, region: Region) -> InnerProblem:
        """The problem of a plain function x̃ ↦ values (batch,), row i of which depends on row i of x̃ only."""
        return cls(function, lambda values, _: values, x, x, region)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, rows: Tensor | slice) -> InnerProblem:
        """The problem of some of the rows; passes go on being counted together."""
        start = None if self.start is None else self.start[rows]
        target = None if self.target is None else self.target[rows]
        some = attrs.evolve(
            self,
            x=self.x[rows],
            y=self.y[rows],
            region=self.region[rows],
            start=start,
            target=target,
            meta={name: values[rows] for name, values in self.meta.items()},
        )
        some._found.extend((values[rows], gradient[rows]) for values, gradient in self._found)
        return some

    def with_loss(self, loss: losses.LossFunction) -> InnerProblem:
        """The same rows under another J; what solves a row stays the same."""
        return attrs.evolve(self, loss=loss)

    def rows_left(self, value: Tensor) -> Tensor:
        """Indices of the rows whose value, (batch,), can still rise: those that are not solved."""
        return (~value.isposinf()).nonzero()[:, 0]

    def over(self, region: Region) -> InnerProblem:
        """The same rows over another set; what is known of J at x is kept, if both sets add δ to x."""
        other = attrs.evolve(self, region=region, start=None)
        if region.additive and self.region.additive:
            other._found.extend(self._found)
        return other

    @property
    def labelled(self) -> bool:
        """Whether y are class labels, and forward gives the classes' logits: some attacks look at these, not at J."""
        return self.y.dim() == 1 and not self.y.is_floating_point()

    def towards(self, target: Tensor) -> InnerProblem:
        """max_{δ ∈ region} −J(forward(x + δ), target): the same rows, each on its way to another label (eq. 1).

        Any attack becomes a targeted one this way. A target says where to go; when a row is solved is still the goal's
        affair, so that an example which another class takes on the way counts as fooled.

        Raises:
            UsageError: y are no labels.
        """
        if not self.labelled:
            raise UsageError("only a problem with class labels has targets: its y must be (batch,) whole numbers")
        return attrs.evolve(self, target=target)

    def logits(self, delta: Tensor) -> Tensor:
        """forward(x + δ), without a graph."""
        self.passes.forward += len(self)
        with torch.no_grad():
            return self.forward(self.region.apply(self.x, delta))

    def value(self, delta: Tensor) -> Tensor:
        """J at x + δ, (batch,); ∞ where the goal is reached. Without rows the net is not asked."""
        if not len(self):
            return delta.new_zeros(0)
        return self.judged(self.logits(delta))

    def judged(self, logits: Tensor) -> Tensor:
        """The value that belongs to logits, (batch,); ∞ where the goal is reached."""
        return self._judged(self._objective(logits), self._reached(logits))

    def value_and_grad(self, delta: Tensor) -> tuple[Tensor, Tensor]:
        """J at x + δ and its gradient in δ; entries that are not finite count as 0.

        The losses are summed, not averaged: no row's gradient depends on the size of the batch.
        """
        values, gradient, solved = self.probe(delta)
        return self._judged(values, solved), gradient

    def linearized(self) -> tuple[Tensor, Tensor]:
        """`value_and_grad` at δ = 0, all that the fast method knows (eq. 11); asked again, it costs no pass."""
        if not self._found:
            if self.region.additive and self.region.like.shape == self.x.shape:
                # the gradient in δ is that in x, which need not be added to 0
                values, gradient, solved = self._differentiated(self.x, torch.clone)
            else:
                values, gradient, solved = self.probe(self.region.zero())
            self._found.append((self._judged(values, solved), gradient))
        return self._found[0]

    def probe(self, delta: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """J at x + δ, finite also where the goal is reached, its gradient, and where it is reached (None: no goal).

        For attacks that weigh J against something else, and so have to know it on both sides of the border.
        """
        return self._differentiated(delta, functools.partial(self.region.apply, self.x))

    def _differentiated(
        self, variable: Tensor, moved: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Loss, gradient and solved mask at x̃ = ``moved(variable)``, differentiated in ``variable``."""
        if not len(self):  # most nets take no empty batch
            nothing = variable.new_zeros(0)
            return nothing, torch.zeros_like(variable), None if self.goal is None else nothing > 0
        self.passes.forward += len(self)
        self.passes.backward += len(self)
        with torch.enable_grad():
            variable = variable.detach().requires_grad_()
            logits = self.forward(moved(variable))
            values = self._objective(logits)
            gradient = _gradient(values, variable)
        return values.detach(), gradient, self._reached(logits.detach())

    def jacobian(self, delta: Tensor, outputs: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, several functions of them, and the gradients of these in δ.

        ``outputs`` maps logits to (batch, k), row i of which depends on row i only. It costs one forward pass and k
        backward passes.

        Returns:
            Logits (batch, classes), values (batch, k), gradients (batch, k, *shape); detached.
        """
        with torch.enable_grad():
            delta = delta.detach().requires_grad_()
            logits = self.forward(self.region.apply(self.x, delta))
            values = outputs(logits)
            gradients = [_gradient(column, delta, keep=True) for column in values.unbind(1)]
        self.passes.forward += len(self)
        self.passes.backward += len(self) * len(gradients)
        return logits.detach(), values.detach(), torch.stack(gradients, 1)

    def _objective(self, logits: Tensor) -> Tensor:
        values = self.loss(logits, self.y if self.target is None else self.target)
        losses.check_per_example(values, len(self), self.loss)
        return values if self.target is None else -values

    def _reached(self, logits: Tensor) -> Tensor | None:
        return None if self.goal is None else self.goal(logits, self.y)

    @staticmethod
    def _judged(values: Tensor, solved: Tensor | None) -> Tensor:
        return values if solved is None else values.masked_fill(solved, torch.inf)


def _gradient(values: Tensor, delta: Tensor, *, keep: bool = False) -> Tensor:
    """∇ Σ values; entries that are not finite count as 0. ``keep``: the graph is needed again."""
    if not values.requires_grad:  # nothing differentiable on the way: no direction to go, which evaluation reports
        return torch.zeros_like(delta)
    found = torch.autograd.grad(values, delta, torch.ones_like(values), retain_graph=keep, allow_unused=True)
    gradient: Tensor | None = found[0]
    if gradient is None:  # what comes out does not follow from what goes in: the graph is cut on the way
        return torch.zeros_like(delta)
    if gradient.device.type == "cpu" and math.isfinite(float(gradient.sum())):  # a look is less than a copy
        return gradient
    return gradient.nan_to_num(0, 0, 0)
