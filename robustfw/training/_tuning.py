"""Chooses the fastest precision and memory layout for a net, by a short measurement at the start."""

from __future__ import annotations

import warnings

import attrs
from torch import nn

from robustfw.data.splits import Splits
from robustfw.errors import RobustfwWarning
from robustfw.training import hardware, parallel
from robustfw.training._settings import Layout, Precision, Tuning
from robustfw.training._state import State
from robustfw.training._timing import time_updates
from robustfw.training.recipe import Recipe

GAIN = 0.95
"""bf16 is chosen if its updates take less than this share of fp32's time: what is no faster should be exact."""


def choose(recipe: Recipe, splits: Splits, state: State) -> Tuning:
    """Choose precision and memory layout, by measurement where the option is ``auto``.

    Candidates train a copy of the net on the training's first batch, with its own objective and attack. Where several
    processes train, all of them choose by the mean of their times.

    Args:
        recipe: the recipe, with its option for the precision.
        splits: the data.
        state: the net, which is left as it is.
    """
    options = recipe.train
    bf16_may_pay = _bf16_may_pay(state)
    precision: Precision = "bf16" if options.precision == "bf16" else "fp32"
    tuning = Tuning(precision, None)
    if options.precision == "bf16" and not bf16_may_pay:
        tuning = _warn_of_slow_bf16(recipe, splits, state, tuning)
    if options.precision == "auto":
        tuning = _choose_precision_and_layout(recipe, splits, state, bf16=bf16_may_pay)
    return tuning


def _bf16_may_pay(state: State) -> bool:
    """Whether bf16 is worth a measurement: not on a CPU that is known to have no instructions for it."""
    on_cpu = state.total_loss.device.type == "cpu"
    return parallel.broadcast(not on_cpu or hardware.bf16_units() is not False)


def _warn_of_slow_bf16(
    recipe: Recipe, splits: Splits, state: State, tuning: Tuning
) -> Tuning:
    """Time bf16, which was asked for, and warn if it is slower than fp32 here; the tuning with its times."""
    fp32 = attrs.evolve(tuning, precision="fp32")
    fp32_seconds, bf16_seconds = time_updates(
        recipe, splits=splits, state=state, candidates=[fp32, tuning]
    )
    seconds = {"fp32": fp32_seconds, "bf16": bf16_seconds}
    factor = seconds["bf16"] / seconds["fp32"]
    if factor > 1 and parallel.rank() == 0:
        warnings.warn(
            f"this processor has no instructions for bf16: an update takes {factor:.1f} times one in fp32 "
            "(--precision auto takes what is faster)",
            RobustfwWarning,
            stacklevel=2,
        )
    return attrs.evolve(tuning, seconds=seconds)


def _choose_precision_and_layout(
    recipe: Recipe, splits: Splits, state: State, *, bf16: bool
) -> Tuning:
    """The fastest precision, and memory layout of convolutions, by measurement; bf16 if it may pay."""
    # 1. time each precision in each layout
    precisions: tuple[Precision, ...] = ("fp32", "bf16") if bf16 else ("fp32",)
    layouts: list[Layout | None] = [None]
    if any(isinstance(module, nn.Conv2d) for module in state.model.modules()):
        layouts = ["channels_last", "contiguous"]
    candidates = [
        Tuning(precision, layout) for precision in precisions for layout in layouts
    ]
    names = [_name(candidate) for candidate in candidates]
    seconds = dict(
        zip(names, time_updates(recipe, splits, state, candidates), strict=True)
    )

    # 2. take the better layout for each precision
    fastest: dict[Precision, Tuning] = {}
    for precision in precisions:
        of_precision = [
            candidate for candidate in candidates if candidate.precision == precision
        ]
        fastest[precision] = min(
            of_precision, key=lambda candidate: seconds[_name(candidate)]
        )
    if not bf16:
        return attrs.evolve(
            fastest["fp32"],
            seconds=seconds,
            why="this processor has no instructions for bf16",
        )

    # 3. take bf16 only where it saves time
    share = seconds[_name(fastest["bf16"])] / seconds[_name(fastest["fp32"])]
    chosen = fastest["bf16"] if share < GAIN else fastest["fp32"]
    why = (
        f"an update in bf16 takes {share:.2f} of one in fp32, each in its better layout"
    )
    return attrs.evolve(chosen, seconds=seconds, why=why)


def _name(tuning: Tuning) -> str:
    """The name of a candidate, by its precision and its layout."""
    if tuning.layout is None:
        return tuning.precision
    return f"{tuning.precision} {tuning.layout}"
