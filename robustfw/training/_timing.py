"""The time of training updates, by which the engine's settings are chosen."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from robustfw.data.splits import Splits, StreamedSplit
from robustfw.inner._randomness import generator_for, global_randomness
from robustfw.inner.adversary import Adversary
from robustfw.inner.threat import Threat
from robustfw.training import _engine as engine
from robustfw.training import parallel
from robustfw.training._settings import Tuning, apply
from robustfw.training._state import State
from robustfw.training.batch import Batch
from robustfw.training.recipe import Recipe

TURNS = 5
"""At most so many updates are timed for each candidate."""
SECONDS = 3.0
"""A candidate is timed no further once its updates, scaled to whole batches, have taken so many seconds."""
ENOUGH = 250
"""Largest number of examples per timed update on a CPU, where larger batches take as long for each example."""


def time_updates(
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
    size = min(batch_size, ENOUGH) if device.type == "cpu" else batch_size
    x, y, meta = _first_batch(splits, size, device)
    adversary = Adversary(
        threat=Threat.on(tuned.uncertainty, splits.spec),
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
