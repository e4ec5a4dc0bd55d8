"""The inner problem: all that an attack is given of net, data and set."""

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
"""x̃ of shape (batch, *shape) ↦ outputs in the form of the task, such as logits (batch, classes)."""
Criterion: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""(outputs, targets) ↦ mask (batch,) of the rows that are solved."""


@attrs.define
class Passes:
    """The number of examples that have gone forward and backward through the net; a problem and its rows share it."""

    forward: int = 0
    backward: int = 0


@attrs.frozen(eq=False)
class InnerProblem:
    """The inner maximization as an attack gets it: for each example, the net's loss to raise and the set to stay in.

    Row i is a problem of its own: max J(f(x̃ᵢ), yᵢ) over δᵢ in 𝒰(xᵢ) (Shaham et al. 2015, eq. 10). For most sets
    x̃ = x + δ; in general it is ``region.apply(x, δ)``.

    An attack evaluates the loss by `value`, `value_and_grad`, `probe`, `linearize` and `jacobian`, which count the
    passes through the net, and returns δ, of the shape of ``region.zero()``. In evaluation there is a ``criterion``: a
    row that meets it is solved, its value is ∞, and the attack may leave it. Gradients are of the finite loss always,
    and are not averaged over the batch.

    Attributes:
        forward: perturbed examples (batch, *shape) ↦ outputs, such as logits (batch, classes).
        loss: (outputs, y) ↦ J of each example, (batch,).
        x: the examples, (batch, *shape).
        y: their targets; class labels (batch,) where `labelled`.
        region: 𝒰(x), one set for each row.
        criterion: (outputs, y) ↦ mask (batch,) of the solved rows; None in training: no row ever is.
        passes: counter of the examples that went forward and backward through the net.
        start: members of the region to begin at, such as another attack's result; None: the attack chooses.
        target: labels (batch,) of a targeted attack, which raises −J(f(x̃), target); None: untargeted.
        meta: further data of each row by name, such as ``index``, its place in the training split.
    """

    forward: Forward
    loss: losses.LossFunction
    x: Tensor
    y: Tensor
    region: Region
    criterion: Criterion | None = None
    passes: Passes = attrs.field(factory=Passes)
    start: Tensor | None = None
    """Members of the region at which an iterated attack begins, such as another attack's result; None: it chooses."""
    target: Tensor | None = None
    """Target labels (batch,) of a targeted attack: values are then −J(…, target), see `with_target`."""
    meta: Mapping[str, Tensor] = attrs.field(factory=dict)
    """Further data of each row, (batch, …) by name: in training ``index``, its position in the training split, and the
    split's metadata (`robustfw.data.splits.Split.metadata`), such as ``group``."""
    _linearization: list[tuple[Tensor, Tensor]] = attrs.field(
        factory=list, init=False, repr=False
    )
    """The result of `linearize`, cached at its first call; empty before."""

    @classmethod
    def from_function(
        cls, function: Callable[[Tensor], Tensor], x: Tensor, region: Region
    ) -> InnerProblem:
        """The problem of a plain function, without a net.

        Args:
            function: x̃ ↦ values (batch,), row i of which depends on row i of x̃ only.
            x: examples (batch, *shape).
            region: 𝒰(x).
        """
        return cls(
            forward=function, loss=lambda values, _: values, x=x, y=x, region=region
        )

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, rows: Tensor | slice) -> InnerProblem:
        """The problem of some of the rows, given as a mask, indices or a slice; it shares the counter of passes."""
        start = None if self.start is None else self.start[rows]
        target = None if self.target is None else self.target[rows]
        meta = {name: values[rows] for name, values in self.meta.items()}
        part = attrs.evolve(
            self,
            x=self.x[rows],
            y=self.y[rows],
            region=self.region[rows],
            start=start,
            target=target,
            meta=meta,
        )
        for values, gradient in self._linearization:
            part._linearization.append((values[rows], gradient[rows]))
        return part

    def with_loss(self, loss: losses.LossFunction) -> InnerProblem:
        """The problem of these rows under another J, with the criterion unchanged."""
        return attrs.evolve(self, loss=loss)

    def rows_left(self, value: Tensor) -> Tensor:
        """Indices of the rows whose value, (batch,), can still rise: those that are not solved."""
        unsolved = ~value.isposinf()
        return unsolved.nonzero()[:, 0]

    def with_region(self, region: Region) -> InnerProblem:
        """The problem of these rows over another set, without a start.

        Values and gradients at x that are known already are kept if both sets add δ to x.
        """
        other = attrs.evolve(self, region=region, start=None)
        if region.additive and self.region.additive:
            other._linearization.extend(self._linearization)
        return other

    @property
    def labelled(self) -> bool:
        """Whether y are class labels and outputs the classes' logits, which some attacks use instead of J."""
        return self.y.dim() == 1 and not self.y.is_floating_point()

    def with_target(self, target: Tensor) -> InnerProblem:
        """The targeted problem max_{δ ∈ region} −J(forward(x + δ), target), for target labels (batch,) (eq. 1).

        Any attack becomes a targeted one this way. The criterion still decides when a row is solved, so that an example
        which passes into a third class on the way counts as fooled.

        Raises:
            UsageError: y are no labels.
        """
        if not self.labelled:
            raise UsageError(
                "only a problem with class labels has targets: its y must be (batch,) whole numbers"
            )
        return attrs.evolve(self, target=target)

    def logits(self, delta: Tensor) -> Tensor:
        """The outputs forward(x + δ), (batch, …), without a graph; one forward pass."""
        self.passes.forward += len(self)
        with torch.no_grad():
            perturbed = self.region.apply(self.x, delta)
            return self.forward(perturbed)

    def value(self, delta: Tensor) -> Tensor:
        """J at x + δ, (batch,); ∞ where the criterion is met. Costs one forward pass; none for an empty batch."""
        if not len(self):
            return delta.new_zeros(0)
        return self.evaluate_outputs(self.logits(delta))

    def evaluate_outputs(self, logits: Tensor) -> Tensor:
        """J of the outputs of a forward pass, (batch,); ∞ where the criterion is met."""
        values = self._objective(logits)
        solved = self._evaluate_criterion(logits)
        return self._mark_solved(values, solved)

    def value_and_grad(self, delta: Tensor) -> tuple[Tensor, Tensor]:
        """J at x + δ, (batch,), ∞ where the criterion is met, and its gradient in δ, with 0 for entries not finite.

        The losses are summed, not averaged: no row's gradient depends on the size of the batch.
        """
        values, gradient, solved = self.probe(delta)
        return self._mark_solved(values, solved), gradient

    def linearize(self) -> tuple[Tensor, Tensor]:
        """`value_and_grad` at δ = 0, all that the fast method needs (eq. 11); cached: a second call costs no pass."""
        if not self._linearization:
            if self.region.additive and self.region.like.shape == self.x.shape:
                # the gradient in δ equals that in x, and x + 0 need not be computed
                values, gradient, solved = self._differentiate(self.x, torch.clone)
            else:
                values, gradient, solved = self.probe(self.region.zero())
            marked_values = self._mark_solved(values, solved)
            self._linearization.append((marked_values, gradient))
        return self._linearization[0]

    def probe(self, delta: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """J at x + δ, finite also where the criterion is met, its gradient in δ, and the mask of solved rows.

        For attacks that weigh J against something else, and need it on both sides of the decision border.

        Returns:
            Values (batch,), gradient of the shape of δ, and where the criterion is met, (batch,); None without
            one.
        """
        return self._differentiate(delta, functools.partial(self.region.apply, self.x))

    def _differentiate(
        self, variable: Tensor, perturb: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Loss, gradient and solved mask at x̃ = ``perturb(variable)``, differentiated in ``variable``."""
        if not len(self):
            # most nets take no empty batch
            no_values = variable.new_zeros(0)
            no_mask = None if self.criterion is None else no_values > 0
            return no_values, torch.zeros_like(variable), no_mask
        self.passes.forward += len(self)
        self.passes.backward += len(self)
        with torch.enable_grad():
            variable = variable.detach().requires_grad_()
            logits = self.forward(perturb(variable))
            values = self._objective(logits)
            gradient = _gradient(values, variable)
        solved = self._evaluate_criterion(logits.detach())
        return values.detach(), gradient, solved

    def jacobian(
        self, delta: Tensor, outputs: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, k functions of them, and the gradients of these in δ, by one forward pass and k backward passes.

        Args:
            delta: perturbations, of the shape of the region's δ.
            outputs: logits ↦ (batch, k), row i of which depends on row i only.

        Returns:
            Logits (batch, classes), values (batch, k), gradients (batch, k, *shape); detached.
        """
        with torch.enable_grad():
            delta = delta.detach().requires_grad_()
            perturbed = self.region.apply(self.x, delta)
            logits = self.forward(perturbed)
            values = outputs(logits)
            gradients = []
            for column in values.unbind(1):
                gradients.append(_gradient(column, delta, keep=True))
        self.passes.forward += len(self)
        self.passes.backward += len(self) * len(gradients)
        return logits.detach(), values.detach(), torch.stack(gradients, 1)

    def _objective(self, logits: Tensor) -> Tensor:
        """J of outputs, (batch,), or −J(…, target) of a targeted problem."""
        targets = self.y if self.target is None else self.target
        values = self.loss(logits, targets)
        losses.check_per_example(values, len(self), self.loss)
        if self.target is None:
            return values
        return -values

    def _evaluate_criterion(self, logits: Tensor) -> Tensor | None:
        """Where the criterion is met, (batch,); None without one."""
        if self.criterion is None:
            return None
        return self.criterion(logits, self.y)

    @staticmethod
    def _mark_solved(values: Tensor, solved: Tensor | None) -> Tensor:
        """Values with ∞ for the rows that are solved."""
        if solved is None:
            return values
        return values.masked_fill(solved, torch.inf)


def _gradient(values: Tensor, delta: Tensor, *, keep: bool = False) -> Tensor:
    """∇ Σ values in δ, with 0 for entries that are not finite; ``keep`` retains the graph for another call."""
    if not values.requires_grad:
        # the net is not differentiable, which evaluation reports: there is no direction to go
        return torch.zeros_like(delta)
    gradients = torch.autograd.grad(
        values, delta, torch.ones_like(values), retain_graph=keep, allow_unused=True
    )
    gradient: Tensor | None = gradients[0]
    if gradient is None:
        # the graph is cut between δ and the values
        return torch.zeros_like(delta)
    # on a CPU one sum is cheaper than a copy
    if gradient.device.type == "cpu" and math.isfinite(float(gradient.sum())):
        return gradient
    return gradient.nan_to_num(0, 0, 0)
