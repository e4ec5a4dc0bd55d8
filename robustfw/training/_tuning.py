"""Chooses the fastest precision, memory layout and compilation for a net, by a short measurement at the start."""

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
"""torch's memory format for each name of a layout."""
TURNS = 5
"""At most so many updates are timed for each candidate."""
SECONDS = 3.0
"""A candidate is timed no further once its updates, scaled to whole batches, have taken so many seconds."""
ENOUGH = 250
"""Largest number of examples per timed update on a CPU, where larger batches take as long for each example."""
GAIN = 0.95
"""bf16 is chosen if its updates take less than this share of fp32's time: what is no faster should be exact."""
WORTH_COMPILING = 600.0
"""Shortest training, in seconds, for which compilation is tried: trying takes about a minute on a CPU."""


@attrs.frozen
class Tuning:
    """The precision, memory layout and compilation that were chosen, and why."""

    precision: Precision
    layout: Layout | None
    """Memory layout of convolutions; None: the net's own."""
    compiled: bool
    """Whether the net is run by torch.compile."""
    seconds: Mapping[str, float] = attrs.field(factory=dict)
    """Median seconds of an update, for each candidate by its name."""
    why: str = "as asked for"
    """The reason for the choice, in a sentence."""


def choose(recipe: Recipe, splits: Splits, state: State) -> Tuning:
    """Choose by measurement what the options leave open (``auto``).

    Candidates train a copy of the net on the training's first batch, with its own objective and attack. Where several
    processes train, all of them choose by the mean of their times.

    Args:
        recipe: the recipe, with its options for precision and compilation.
        splits: the data.
        state: the net, which is left as it is.
    """
    options = recipe.train
    bf16_may_pay = _bf16_may_pay(state)
    precision: Precision = "bf16" if options.precision == "bf16" else "fp32"
    tuning = Tuning(precision, None, compiled=options.compile == "on")
    if options.precision == "bf16" and not bf16_may_pay:
        tuning = _warn_of_slow_bf16(recipe, splits, state, tuning)
    if options.precision == "auto":
        tuning = _choose_precision_and_layout(recipe, splits, state, bf16=bf16_may_pay)
    if options.compile == "auto":
        tuning = _choose_compilation(recipe, splits, state, tuning)
    return tuning


def apply(tuning: Tuning, recipe: Recipe, model: nn.Module) -> Recipe:
    """Fill in what the options of a recipe leave open, and lay out the net as was chosen.

    Args:
        tuning: what was chosen.
        recipe: the recipe, which is left as it is.
        model: the net, which is changed in place.

    Returns:
        The recipe with a precision and a decision about compilation.
    """
    lay_out(model, tuning.layout)
    train = attrs.evolve(
        recipe.train,
        precision=tuning.precision,
        compile="on" if tuning.compiled else "off",
    )
    return attrs.evolve(recipe, train=train)


def lay_out(model: nn.Module, layout: Layout | None) -> None:
    """Bring a net's parameters into a memory layout, and the activations of layers that have a ``memory_format``."""
    if layout is None:
        return
    model.to(memory_format=FORMATS[layout])
    for module in model.modules():
        if hasattr(module, "memory_format"):
            module.memory_format = FORMATS[layout]  # type: ignore[assignment]  # torch knows tensors and modules only


def _bf16_may_pay(state: State) -> bool:
    """Whether bf16 is worth a measurement: not on a CPU that is known to have no instructions for it."""
    on_cpu = state.total_loss.device.type == "cpu"
    return parallel.broadcast(not on_cpu or hardware.bf16_units() is not False)


def _warn_of_slow_bf16(
    recipe: Recipe, splits: Splits, state: State, tuning: Tuning
) -> Tuning:
    """Time bf16, which was asked for, and warn if it is slower than fp32 here; the tuning with its times."""
    fp32 = attrs.evolve(tuning, precision="fp32", compiled=False)
    bf16 = attrs.evolve(tuning, compiled=False)
    fp32_seconds, bf16_seconds = _time_updates(
        recipe, splits=splits, state=state, candidates=[fp32, bf16]
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
        Tuning(precision, layout, compiled=False)
        for precision in precisions
        for layout in layouts
    ]
    names = [_name(candidate) for candidate in candidates]
    seconds = dict(
        zip(names, _time_updates(recipe, splits, state, candidates), strict=True)
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


def _choose_compilation(
    recipe: Recipe, splits: Splits, state: State, tuning: Tuning
) -> Tuning:
    """Compile the net if that saves more time than it takes, over the whole training."""
    # 1. a short training is not worth the attempt
    eager = tuning.seconds.get(_name(tuning))
    if not eager:
        (eager,) = _time_updates(
            recipe, splits=splits, state=state, candidates=[tuning]
        )
    updates = recipe.train.epochs * engine.updates_per_epoch(
        len(splits.train), recipe.train.batch_size
    )
    duration = updates * eager
    if duration < WORTH_COMPILING:
        why = f"the training takes about {duration:.0f} s, too little for compiling to pay"
        return attrs.evolve(tuning, why=f"{tuning.why}; {why}")
    # 2. compile, and time the updates
    start = time.perf_counter()
    try:
        (compiled,) = _time_updates(
            recipe,
            splits=splits,
            state=state,
            candidates=[attrs.evolve(tuning, compiled=True)],
        )
    except (
        RuntimeError,
        ImportError,
        OSError,
    ) as error:  # a net that torch cannot compile, or no compiler
        message = str(error).strip()
        reason = message.splitlines()[0] if message else type(error).__name__
        return attrs.evolve(
            tuning, why=f"{tuning.why}; it cannot be compiled here ({reason})"
        )
    cost = time.perf_counter() - start
    # 3. compare what it saves with what it takes
    saving = updates * (eager - compiled)
    seconds = {**tuning.seconds, "eager": eager, "compiled": compiled}
    why = f"{tuning.why}; compiled, the training would save {saving:.0f} s, and compiling takes {cost:.0f} s"
    return attrs.evolve(tuning, compiled=saving > cost, seconds=seconds, why=why)


def _name(tuning: Tuning) -> str:
    """The name of a candidate, by its precision and its layout."""
    if tuning.layout is None:
        return tuning.precision
    return f"{tuning.precision} {tuning.layout}"


def _time_updates(
    recipe: Recipe, splits: Splits, state: State, candidates: Sequence[Tuning]
) -> list[float]:
    """Median seconds of an update for each candidate, in turns, so that all meet the machine in the same states."""
    updates = [
        _run_updates(recipe, splits, state, candidate) for candidate in candidates
    ]
    # the first update of each warms up, and is not counted
    for update in updates:
        next(update)
    seconds: list[list[float]] = [[] for _ in candidates]
    for _ in range(TURNS):
        for update, times in zip(updates, seconds, strict=True):
            if sum(times) < SECONDS:
                times.append(next(update))
    medians = torch.tensor(
        [statistics.median(times) for times in seconds], dtype=torch.float64
    )
    # float32, since some devices have no float64
    on_device = medians.to(torch.float32).to(state.total_loss.device)
    means = parallel.sum_over_processes(on_device) / parallel.world()
    return [float(mean) for mean in means]


def _run_updates(
    recipe: Recipe, splits: Splits, state: State, candidate: Tuning
) -> Iterator[float]:
    """Make updates of a copy of the net, one for each ``next``, and yield the seconds that a full batch takes."""
    # 1. a copy of the net, and a recipe whose parts that remember will remember nothing of this
    device = state.total_loss.device
    model = copy.deepcopy(state.model)
    tuned = apply(candidate, recipe, model)
    trial = State.fresh(
        lambda: model, options=tuned.train, device=device, updates=TURNS + 2
    )
    tuned = copy.deepcopy(tuned)

    # 2. the first batch; on a CPU a part of it is enough
    batch_size = min(len(splits.train), recipe.train.batch_size // parallel.world())
    needs_full_batch = device.type != "cpu" or candidate.compiled
    size = batch_size if needs_full_batch else min(batch_size, ENOUGH)
    x, y, meta = _first_batch(splits, size, device)
    adversary = Adversary(
        threat=Threat(tuned.uncertainty, splits.spec.bounds),
        attack=tuned.attack,
        generator=generator_for(recipe.train.seed, "tuning"),
        task=splits.spec.task,
        loss=tuned.train.loss,
    )
    net = engine.compile_if_asked(tuned, trial)
    batch = Batch(
        net=net,
        x=x,
        y=y,
        adversary=adversary,
        task=splits.spec.task,
        meta=meta,
        mode=tuned.train.ascent_mode,
        trusted=True,
    )

    # 3. updates, each timed from an idle device to an idle device
    while True:
        _wait(device)
        start = time.perf_counter()
        with global_randomness(device, 0):
            engine.update(tuned, trial, batch)
        _wait(device)
        yield (time.perf_counter() - start) * batch_size / size


def _first_batch(
    splits: Splits, size: int, device: torch.device
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """The first training examples, their targets in the form of the task, and their metadata by name."""
    split = splits.train
    task = splits.spec.task
    if isinstance(split, StreamedSplit):
        x, y = split.first_examples(size)
        return x.to(device), task.targets(y.to(device)), {}
    rows = torch.arange(size)
    x, y = next(iter(split.batches([rows], device)))
    meta = {"index": rows, **split.metadata(rows)}
    meta_on_device = {name: values.to(device) for name, values in meta.items()}
    return x, task.targets(y), meta_on_device


def _wait(device: torch.device) -> None:
    """Wait until the device has finished what it was told to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def read(facts: Mapping[str, Any]) -> Tuning:
    """The tuning in a run's manifest, with which a resumed training goes on.

    Raises:
        RunError: what is there is none.
    """
    precision = facts.get("precision")
    layout = facts.get("layout")
    compiled = facts.get("compiled")
    seconds = facts.get("seconds", {})
    why = facts.get("why", "")
    is_choice = (
        precision in ("fp32", "bf16")
        and layout in (None, *FORMATS)
        and isinstance(compiled, bool)
    )
    is_reason = isinstance(seconds, dict) and isinstance(why, str)
    if not (is_choice and is_reason):
        raise RunError(
            "the manifest's table 'tuning' is damaged: train again with another --out"
        )
    return Tuning(precision, layout, compiled, seconds, why)  # type: ignore[arg-type]  # just looked at
