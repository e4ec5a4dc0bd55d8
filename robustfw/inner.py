"""The inner maximum: the problem that an attack sees, and the one function that solves it for a batch."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Literal, TypeAlias

import attrs
import torch
from torch import Tensor, nn

from robustfw import losses
from robustfw.attack import Attack
from robustfw.errors import DataError, PluginError
from robustfw.regions import Region
from robustfw.uncertainty import UncertaintySet

Forward: TypeAlias = Callable[[Tensor], Tensor]
AscentMode: TypeAlias = Literal["eval", "train"]
Bounds: TypeAlias = tuple[float, float] | None


@attrs.define
class Passes:
    """How many examples have gone through the net, and back; shared by a problem and its rows."""

    forward: int = 0
    backward: int = 0


@attrs.frozen(eq=False)
class InnerProblem:
    """max_{δ ∈ region} J(forward(x + δ), y), one problem per row (eq. 10).

    ``forward`` maps x̃ to logits and ``loss`` maps logits and y to losses, (batch,). With a ``goal`` (in evaluation: the
    prediction is wrong) the value of a row that reaches it is ∞: nothing exceeds it, so the row is solved and an attack
    may drop it. Gradients are those of the finite loss.
    """

    forward: Forward
    loss: losses.Loss
    x: Tensor
    y: Tensor
    region: Region
    goal: Callable[[Tensor, Tensor], Tensor] | None = None
    passes: Passes = attrs.field(factory=Passes)

    @classmethod
    def of(cls, function: Callable[[Tensor], Tensor], x: Tensor, region: Region) -> InnerProblem:
        """The problem of a plain function x̃ ↦ values (batch,), row i of which depends on row i of x̃ only."""
        return cls(function, lambda values, _: values, x, x, region)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, rows: Tensor | slice) -> InnerProblem:
        """The problem of some of the rows; passes go on being counted together."""
        return attrs.evolve(self, x=self.x[rows], y=self.y[rows], region=self.region[rows])

    def logits(self, delta: Tensor) -> Tensor:
        """forward(x + δ), without a graph."""
        self.passes.forward += len(self)
        with torch.no_grad():
            return self.forward(self.region.apply(self.x, delta))

    def value(self, delta: Tensor) -> Tensor:
        """J at x + δ, (batch,); ∞ where the goal is reached."""
        logits = self.logits(delta)
        return self._judged(logits, self.loss(logits, self.y))

    def value_and_grad(self, delta: Tensor) -> tuple[Tensor, Tensor]:
        """J at x + δ and its gradient in δ; entries that are not finite count as 0.

        The losses are summed, not averaged: no row's gradient depends on the size of the batch.
        """
        self.passes.forward += len(self)
        self.passes.backward += len(self)
        with torch.enable_grad():
            delta = delta.detach().requires_grad_()
            logits = self.forward(self.region.apply(self.x, delta))
            values = self.loss(logits, self.y)
            if values.requires_grad:
                (gradient,) = torch.autograd.grad(values.sum(), delta)
            else:  # nothing differentiable on the way: no direction to go, which evaluation reports
                gradient = torch.zeros_like(delta)
        return self._judged(logits.detach(), values.detach()), gradient.nan_to_num(0, 0, 0)

    def _judged(self, logits: Tensor, values: Tensor) -> Tensor:
        return values if self.goal is None else values.masked_fill(self.goal(logits, self.y), torch.inf)


@contextlib.contextmanager
def frozen(model: nn.Module, mode: AscentMode = "eval") -> Iterator[None]:
    """The model as the ascent needs it: no parameter asks for a gradient, and everything is put back afterwards.

    "eval" puts all modules in evaluation mode; "train" leaves each module's flag as it is and takes back what
    the ascent writes into buffers (batch norm's running statistics). Parameters' ``.grad`` is not touched.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    flags = [(module, module.training) for module in model.modules()]
    kept = [(buffer, buffer.clone()) for buffer in model.buffers()] if mode == "train" else []
    try:
        for parameter in parameters:
            parameter.requires_grad_(False)
        if mode == "eval":
            model.eval()
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
        for module, training in flags:
            module.training = training
        with torch.no_grad():
            for buffer, before in kept:
                buffer.copy_(before)


def region_at(x: Tensor, uncertainty: UncertaintySet, bounds: Bounds) -> Region:
    """𝒰(x), within the data range: {δ ∈ 𝒰(x) : lower ≤ x + δ ≤ upper}."""
    check_range(x, bounds)
    region = uncertainty.at(x)
    if bounds is None:
        return region
    wide = x.to(torch.promote_types(x.dtype, torch.float32))  # 1 − x rounds in half precision
    return region.within(bounds[0] - wide, bounds[1] - wide)


def check_range(x: Tensor, bounds: Bounds) -> None:
    """Raise a `DataError` unless x is floating point and within its bounds."""
    if not x.is_floating_point():
        raise DataError(
            f"x is {str(x.dtype).removeprefix('torch.')}: give floats in the data's range (x.float() / 255)"
        )
    if bounds is None or not x.numel():
        return
    low, high = (float(extreme) for extreme in x.aminmax())
    if not (bounds[0] <= low and high <= bounds[1]):
        raise DataError(
            f"x ranges over [{low:.4g}, {high:.4g}], outside its bounds [{bounds[0]:g}, {bounds[1]:g}]: "
            "standardisation belongs into the model; rescale x or give other bounds"
        )


def worst_case(
    model: nn.Module | Forward,
    x: Tensor,
    y: Tensor,
    *,
    uncertainty: UncertaintySet,
    attack: Attack,
    bounds: Bounds = (0.0, 1.0),
    loss: losses.Loss = losses.cross_entropy,
    generator: torch.Generator | None = None,
    mode: AscentMode = "eval",
    passes: Passes | None = None,
) -> Tensor:
    """x̃ = x + argmax_{δ ∈ 𝒰(x)} loss(model(x + δ), y), as far as the attack finds it; detached.

    The model comes back as it was: parameters, their ``.grad``, buffers and training flags.

    Args:
        model: logits (batch, classes) of x (batch, *shape); a module is frozen meanwhile (see `frozen`).
        bounds: the data range, which x̃ keeps; None where there is none.
        generator: the source of all randomness; without one, a fresh one with seed 0.
        mode: "eval", or "train" for batch norm and dropout as in training during the ascent.
        passes: counts the work done.

    Raises:
        DataError: x is not floating point, or not within bounds.
        PluginError: the attack returned something of another shape or type.
    """
    x = x.detach()
    region = region_at(x, uncertainty, bounds)
    problem = InnerProblem(model, loss, x, y, region, passes=passes or Passes())
    with frozen(model, mode) if isinstance(model, nn.Module) else contextlib.nullcontext():
        delta = maximized(attack, problem, generator or torch.Generator().manual_seed(0))
    return applied(region, x, delta, bounds)


def maximized(attack: Attack, problem: InnerProblem, generator: torch.Generator) -> Tensor:
    """The attack's δ, detached and checked for form."""
    delta = attack.maximize(problem, generator).detach()
    like = problem.region.like
    if delta.shape != like.shape or delta.dtype != like.dtype:
        raise PluginError(
            f"{type(attack).__name__} returned {tuple(delta.shape)} {delta.dtype} for perturbations "
            f"of {tuple(like.shape)} {like.dtype}"
        )
    return delta


def applied(region: Region, x: Tensor, delta: Tensor, bounds: Bounds) -> Tensor:
    """x̃; the clamp only takes back the last bit that rounding x + δ may add to a member of the region."""
    moved = region.apply(x, delta)
    return moved if bounds is None else moved.clamp(*bounds)
