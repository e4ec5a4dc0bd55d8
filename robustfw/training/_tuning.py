"""What is fastest here, for this net: precision, memory layout and compilation, by a short measurement at the start."""

from __future__ import annotations

import copy
import statistics
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import attrs
import torch
from torch import Tensor, nn

from robustfw.data.splits import Splits, StreamedSplit
from robustfw.errors import RobustfwWarning, RunError
from robustfw.inner._randomness import generator_for, global_randomness
from robustfw.inner.adversary import Adversary
from robustfw.inner.threat import Threat
from robustfw.training import _engine as engine
from robustfw.training import hardware, parallel
from robustfw.training._state import State
from robustfw.training.batch import Batch
from robustfw.training.recipe import Recipe

Precision: TypeAlias = Literal["fp32", "bf16"]
Layout: TypeAlias = Literal["channels_last", "contiguous"]
FORMATS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
TURNS, SECONDS = 5, 3.0
"""Of each candidate: updates that are timed at most, and after how long, were all of a batch timed, no more are."""
ENOUGH = 250
"""Examples of a batch that are timed on a CPU, where larger batches take as long for each of them."""
GAIN = 0.95
"""bf16 is chosen if its updates take less than this share of fp32's: what is no faster should be exact."""
WORTH_COMPILING = 600.0
"""Seconds that a training must take at least before compilation is tried: to try it takes about a minute on a CPU."""


@attrs.frozen
class Tuning:
    """What was chosen, and why: seconds of an update, the median, for each candidate."""

    precision: Precision
    layout: Layout | None
    """None: as the net is."""
    compiled: bool
    seconds: Mapping[str, float] = attrs.field(factory=dict)
    why: str = "as asked for"


def settled(recipe: Recipe, splits: Splits, state: State) -> Tuning:
    """What the options leave open, measured; the state is left as it is.

    Training must be worth it: candidates get a copy of the net, the training's first batch, and its own objective and
    attack. Where several processes train, all of them choose by the mean of their times.
    """
    options, bf16_may_pay = recipe.train, _bf16_may_pay(state)
    precision: Precision = "bf16" if options.precision == "bf16" else "fp32"
    tuning = Tuning(precision, None, compiled=options.compile == "on")
    if options.precision == "bf16" and not bf16_may_pay:
        tuning = _warned(recipe, splits, state, tuning)
    if options.precision == "auto":
        tuning = _precision_and_layout(recipe, splits, state, bf16=bf16_may_pay)
    if options.compile == "auto":
        tuning = _compilation(recipe, splits, state, tuning)
    return tuning


def applied(tuning: Tuning, recipe: Recipe, model: nn.Module) -> Recipe:
    """The recipe with its open options filled in; the net is laid out as was chosen."""
    lay_out(model, tuning.layout)
    train = attrs.evolve(recipe.train, precision=tuning.precision, compile="on" if tuning.compiled else "off")
    return attrs.evolve(recipe, train=train)


def lay_out(model: nn.Module, layout: Layout | None) -> None:
    """Parameters in a memory layout, and so the activations of layers with a ``memory_format``."""
    if layout is None:
        return
    model.to(memory_format=FORMATS[layout])
    for module in model.modules():
        if hasattr(module, "memory_format"):
            module.memory_format = FORMATS[layout]  # type: ignore[assignment]  # torch knows tensors and modules only


def _bf16_may_pay(state: State) -> bool:
    """Whether bf16 is worth a measurement: not on a CPU that is known to have no instructions for it."""
    on_cpu = state.total_loss.device.type == "cpu"
    return parallel.agreed(not on_cpu or hardware.bf16_units() is not False)


def _warned(recipe: Recipe, splits: Splits, state: State, tuning: Tuning) -> Tuning:
    """bf16 as asked for, with a warning of what it costs here."""
    full = attrs.evolve(tuning, precision="fp32", compiled=False)
    half = attrs.evolve(tuning, compiled=False)
    seconds = dict(zip(("fp32", "bf16"), _timed(recipe, splits, state, [full, half]), strict=True))
    factor = seconds["bf16"] / seconds["fp32"]
    if factor > 1 and parallel.rank() == 0:
        warnings.warn(
            f"this processor has no instructions for bf16: an update takes {factor:.1f} times one in fp32 "
            "(--precision auto takes what is faster)",
            RobustfwWarning,
            stacklevel=2,
        )
    return attrs.evolve(tuning, seconds=seconds)


def _precision_and_layout(recipe: Recipe, splits: Splits, state: State, *, bf16: bool) -> Tuning:
    """The fastest precision, and memory layout of convolutions, by measurement; bf16 if it may pay."""
    precisions: tuple[Precision, ...] = ("fp32", "bf16") if bf16 else ("fp32",)
    layouts: list[Layout | None] = [None]
    if any(isinstance(module, nn.Conv2d) for module in state.model.modules()):
        layouts = ["channels_last", "contiguous"]
    candidates = [Tuning(precision, layout, compiled=False) for precision in precisions for layout in layouts]
    names = [_name(each) for each in candidates]
    seconds = dict(zip(names, _timed(recipe, splits, state, candidates), strict=True))
    full, *half = (
        min((t for t in candidates if t.precision == precision), key=lambda t: seconds[_name(t)])
        for precision in precisions
    )
    if not half:
        return attrs.evolve(full, seconds=seconds, why="this processor has no instructions for bf16")
    share = seconds[_name(half[0])] / seconds[_name(full)]
    chosen = half[0] if share < GAIN else full
    why = f"an update in bf16 takes {share:.2f} of one in fp32, each in its better layout"
    return attrs.evolve(chosen, seconds=seconds, why=why)


def _compilation(recipe: Recipe, splits: Splits, state: State, tuning: Tuning) -> Tuning:
    """Compiled where that saves more than it costs over the whole training."""
    eager = tuning.seconds.get(_name(tuning)) or _timed(recipe, splits, state, [tuning])[0]
    updates = recipe.train.epochs * engine.updates_per_epoch(len(splits.train), recipe.train.batch_size)
    whole = updates * eager
    if whole < WORTH_COMPILING:
        why = f"the training takes about {whole:.0f} s, too little for compiling to pay"
        return attrs.evolve(tuning, why=f"{tuning.why}; {why}")
    start = time.perf_counter()
    try:
        (compiled,) = _timed(recipe, splits, state, [attrs.evolve(tuning, compiled=True)])
    except (RuntimeError, ImportError, OSError) as error:  # a net that torch cannot compile, or no compiler
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        return attrs.evolve(tuning, why=f"{tuning.why}; it cannot be compiled here ({reason})")
    took = time.perf_counter() - start
    saved = updates * (eager - compiled)
    seconds = {**tuning.seconds, "eager": eager, "compiled": compiled}
    why = f"{tuning.why}; compiled, the training would save {saved:.0f} s, and compiling takes {took:.0f} s"
    return attrs.evolve(tuning, compiled=saved > took, seconds=seconds, why=why)


def _name(tuning: Tuning) -> str:
    return tuning.precision if tuning.layout is None else f"{tuning.precision} {tuning.layout}"


def _timed(recipe: Recipe, splits: Splits, state: State, candidates: Sequence[Tuning]) -> list[float]:
    """Median seconds of an update for each candidate, in turns, so that all meet the machine in the same states."""
    updates = [_updates(recipe, splits, state, candidate) for candidate in candidates]
    for update in updates:
        next(update)  # warms up
    seconds: list[list[float]] = [[] for _ in candidates]
    for _ in range(TURNS):
        for update, taken in zip(updates, seconds, strict=True):
            if sum(taken) < SECONDS:
                taken.append(next(update))
    medians = torch.tensor([statistics.median(taken) for taken in seconds], dtype=torch.float64)
    on = state.total_loss.device
    return [float(each) for each in parallel.summed(medians.to(torch.float32).to(on)) / parallel.world()]


def _updates(recipe: Recipe, splits: Splits, state: State, candidate: Tuning) -> Iterator[float]:
    """Seconds of one update by a whole batch after the other, of a copy of the net."""
    device = state.total_loss.device
    own = copy.deepcopy(state.model)
    settled = applied(candidate, recipe, own)
    throwaway = State.fresh(lambda: own, settled.train, device, TURNS + 2)
    whole = min(len(splits.train), recipe.train.batch_size // parallel.world())
    timed = whole if device.type != "cpu" or candidate.compiled else min(whole, ENOUGH)
    x, y, meta = _first_batch(splits, timed, device)
    settled = copy.deepcopy(settled)  # parts that remember shall remember nothing of this
    adversary = Adversary(
        Threat(settled.uncertainty, splits.spec.bounds),
        settled.attack,
        generator_for(recipe.train.seed, "tuning"),
        splits.spec.task,
        settled.train.loss,
    )
    forward = engine.forward_of(settled, throwaway)
    batch = Batch(forward, x, y, adversary, splits.spec.task, meta=meta, mode=settled.train.ascent_mode, trusted=True)
    while True:
        _wait(device)
        start = time.perf_counter()
        with global_randomness(device, 0):
            engine.update(settled, throwaway, batch)
        _wait(device)
        yield (time.perf_counter() - start) * whole / timed


def _first_batch(splits: Splits, size: int, device: torch.device) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """The first training examples, their targets, and what else is known of them."""
    split, task = splits.train, splits.spec.task
    if isinstance(split, StreamedSplit):
        x, y = split.first_examples(size)
        return x.to(device), task.targets(y.to(device)), {}
    rows = torch.arange(size)
    x, y = next(iter(split.batches([rows], device)))
    meta = {"index": rows, **split.metadata(rows)}
    return x, task.targets(y), {name: values.to(device) for name, values in meta.items()}


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def recalled(facts: Mapping[str, Any]) -> Tuning:
    """What a run's manifest says, for whoever goes on with it.

    Raises:
        RunError: it says something else.
    """
    precision, layout, compiled = (facts.get(key) for key in ("precision", "layout", "compiled"))
    known = precision in ("fp32", "bf16") and layout in (None, *FORMATS) and isinstance(compiled, bool)
    seconds, why = facts.get("seconds", {}), facts.get("why", "")
    if not (known and isinstance(seconds, dict) and isinstance(why, str)):
        raise RunError("the manifest's table 'tuning' is damaged: train again with another --out")
    return Tuning(precision, layout, compiled, seconds, why)  # type: ignore[arg-type]  # just looked at
