"""The inner maximum: the model frozen, the set within the data range, and the one function that solves a batch."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from robustfw import losses
from robustfw.attack import Attack
from robustfw.errors import DataError, PluginError
from robustfw.modes import modes_kept, switch_to_evaluation
from robustfw.problem import Forward, InnerProblem, Passes
from robustfw.regions import Region
from robustfw.uncertainty import UncertaintySet

AscentMode: TypeAlias = Literal["eval", "train"]
Bounds: TypeAlias = tuple[float, float] | None


@contextlib.contextmanager
def frozen(model: nn.Module, mode: AscentMode = "eval") -> Iterator[None]:
    """The model as the ascent needs it: no parameter asks for a gradient, and everything is put back afterwards.

    "eval" puts all modules in evaluation mode; "train" leaves each module's flag as it is and takes back what
    the ascent writes into buffers (batch norm's running statistics). Parameters' ``.grad`` is not touched.
    """
    modules = list(model.modules())
    parameters = [p for m in modules for p in m._parameters.values() if p is not None and p.requires_grad]
    kept = [(buffer, buffer.clone()) for buffer in model.buffers()] if mode == "train" else []
    try:
        for parameter in parameters:
            parameter.requires_grad_(False)
        with modes_kept(modules):
            if mode == "eval":
                switch_to_evaluation(model, modules)
            yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
        with torch.no_grad():
            for buffer, before in kept:
                buffer.copy_(before)


def region_at(x: Tensor, uncertainty: UncertaintySet, bounds: Bounds, *, checked: bool = False) -> Region:
    """𝒰(x), within the data range: {δ ∈ 𝒰(x) : lower ≤ x + δ ≤ upper}. ``checked``: x is known to keep its bounds."""
    if not checked:
        check_range(x, bounds)
    return within_range(uncertainty.at(x), x, bounds)


def within_range(region: Region, x: Tensor, bounds: Bounds) -> Region:
    """The members that leave x + δ in the data range."""
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
    checked: bool = False,
) -> Tensor:
    """x̃ = x + argmax_{δ ∈ 𝒰(x)} loss(model(x + δ), y), as far as the attack finds it; detached.

    The model comes back as it was: parameters, their ``.grad``, buffers and training flags.

    Args:
        model: logits (batch, classes) of x (batch, *shape); a module is frozen meanwhile (see `frozen`).
        bounds: the data range, which x̃ keeps; None where there is none.
        generator: the source of all randomness; without one, a fresh one with seed 0.
        mode: "eval", or "train" for batch norm and dropout as in training during the ascent.
        passes: counts the work done.
        checked: x is known to be within bounds; to look costs a wait for the device.

    Raises:
        DataError: x is not floating point, or not within bounds.
        PluginError: the attack returned something of another shape or type.
    """
    x = x.detach()
    region = region_at(x, uncertainty, bounds, checked=checked)
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
