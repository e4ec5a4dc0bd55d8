"""Sets up a training: loads the data, builds the net, and makes or reopens the run directory."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import torch

from robustfw.data.splits import Splits
from robustfw.dataset import data_root
from robustfw.errors import DataError, UsageError
from robustfw.inner.adversary import Adversary
from robustfw.inner.threat import Threat
from robustfw.plugin.registry import Registry
from robustfw.records import Record
from robustfw.stateful import stateful_parts
from robustfw.storage._locks import DirectoryLock, NewDirectory, claim
from robustfw.storage.runs import Run
from robustfw.training import _engine as engine
from robustfw.training import _failures as failures
from robustfw.training import _settings as settings
from robustfw.training import _tuning as tuning
from robustfw.training import hardware, parallel
from robustfw.training._loggers import Loggers
from robustfw.training._manifest import compose_manifest, describe
from robustfw.training._net import build_net, check_net
from robustfw.training._resuming import (
    check_same_training,
    describe_extension,
    extend_manifest,
    warn_of_lost_state,
)
from robustfw.training._state import State
from robustfw.training._subset import take_examples
from robustfw.training.recipe import Recipe


@attrs.frozen(eq=False)
class Session:
    """A training that is set up; `records` carries it out."""

    recipe: Recipe
    """The recipe, with its parts fitted to the data and its options as measured."""
    splits: Splits
    state: State
    run: Run | None
    """The run directory; None where nothing is written, and on all processes but the first."""
    registry: Registry
    note: str = ""
    """What is to be said of a training that goes on for more epochs than it had."""

    def records(self) -> Generator[Record, None, None]:
        """Train, and yield the records, each of which goes to the run directory and to the loggers first."""
        # a finished training only releases its directory: the first process may have gone on to measure the net
        if self.state.epoch >= self.recipe.train.epochs:
            if self.run is not None:
                self.run.release()
            return
        records = engine.train(self.recipe, self.splits, self.state)
        if self.run is not None:
            records = self.run.keep(records, self.state)
        path = None if self.run is None else self.run.path
        loggers = Loggers(self.registry, path, first_process=parallel.rank() == 0)
        recipe_record = describe(self.registry.record(self.recipe), self.registry)
        with (
            failures.explain(),
            contextlib.closing(records),
            loggers.training(recipe_record),
        ):
            for record in records:
                loggers.record(record)
                yield record


def begin(
    recipe: Recipe,
    registry: Registry,
    *,
    data_dir: Path | None = None,
    out: Path | NewDirectory | None = None,
    resume: bool = False,
) -> Session:
    """Load the data, build the net, and make or reopen the run directory.

    Args:
        recipe: what to train on what, and how.
        registry: the plugins, which the manifest and the loggers need.
        data_dir: where data files are; by default that of the run that is resumed, else ROBUSTFW_DATA, else
            ~/.cache/robustfw.
        out: the run directory, or where to make a new one; this training alone has it until its records have ended.
            With None nothing is written.
        resume: go on where the run in ``out`` stopped; where there is none yet, start it.

    Raises:
        RunError: ``out`` holds a run and ``resume`` is false, or its recipe or its data are others.
        UsageError: the device cannot be used, or the processes cannot share a batch alike.
        DataError: there are no training examples, or the net does not take them.
    """
    options = recipe.train
    hardware.use_threads(options.threads)
    device = parallel.usable_device(options.device)
    parallel.start(device)
    if options.batch_size % parallel.world():
        raise UsageError(
            f"a batch of {options.batch_size} cannot be shared by {parallel.world()} processes alike"
        )
    with failures.explain(), _claim_directory(out) as lock:
        place = out if lock is None else lock.path
        return _set_up(
            recipe,
            registry=registry,
            data_dir=data_dir,
            device=device,
            out=place,
            lock=lock,
            resume=resume,
        )


@contextlib.contextmanager
def _claim_directory(out: Path | NewDirectory | None) -> Iterator[DirectoryLock | None]:
    """Lock the run directory on the first process; if the training cannot begin, give it up again."""
    lock = None if out is None else parallel.run_on_first(lambda: claim(out, "trained"))
    try:
        yield lock
    except BaseException:
        if lock is not None:
            lock.abandon()
        raise


def _set_up(
    recipe: Recipe,
    registry: Registry,
    data_dir: Path | None,
    device: torch.device,
    out: Path | NewDirectory | None,
    lock: DirectoryLock | None,
    *,
    resume: bool,
) -> Session:
    """Make the session of `begin`, with the run directory claimed; ``out`` is None where nothing is written."""
    options = recipe.train
    path = out if isinstance(out, Path) else None

    # 1. the run that is resumed: the first process says whether there is one
    earlier = None
    has_run = parallel.broadcast(
        resume and path is not None and (path / "manifest.json").exists()
    )
    if has_run and path is not None:
        earlier = Run.open(path)
    manifest_before = None if earlier is None else earlier.manifest()

    # 2. the data
    root = data_root(data_dir, manifest_before)
    all_data = recipe.dataset.load(root)
    all_data.check()
    splits = take_examples(all_data, options.examples, options.seed)
    if not len(splits.train):
        raise DataError(
            "there is not one training example: take a smaller share for validation, or other data"
        )
    _check_measuring(recipe)

    # 3. the net, and all that changes in a training
    has_weights = earlier is not None and earlier.checkpoint_path("last").exists()
    updates = options.epochs * engine.updates_per_epoch(
        len(splits.train), options.batch_size
    )
    state = State.fresh(
        lambda: build_net(recipe.model, splits, has_weights=has_weights),
        options=options,
        device=device,
        updates=updates,
    )
    check_net(state.model, splits, device)

    # 4. what learns from the data, and what is chosen by measuring
    fitted = _fit_to_data(recipe, splits)
    Threat.on(fitted.uncertainty, splits.spec).warn_of_unit(splits.first_examples(8)[0])
    chosen = _read_tuning(manifest_before) or tuning.choose(fitted, splits, state)
    tuned = settings.apply(chosen, fitted, state.model)
    state.parts = dict(stateful_parts(tuned))

    # 5. the run directory
    run = None
    note = ""
    if path is not None:
        manifest = compose_manifest(recipe, registry, all_data, splits, device) | {
            "tuning": attrs.asdict(chosen)
        }
        if data_dir is not None:
            manifest["data"]["folder"] = str(root.resolve())
        run = _open_run(path, lock, manifest, state, resume=earlier is not None)
        if earlier is not None and state.epoch + state.batch:
            warn_of_lost_state(tuned)
        if manifest_before is not None:
            extended = extend_manifest(manifest_before, manifest, state)
            if extended is not None:
                parallel.run_on_first(lambda: run.write_manifest(extended))
                schedule = registry.spell(options.schedule, brief=True)
                note = describe_extension(extended["extensions"][-1], schedule)
    return Session(
        recipe=tuned,
        splits=splits,
        state=state,
        run=run if parallel.rank() == 0 else None,
        registry=registry,
        note=note,
    )


def _read_tuning(manifest: Mapping[str, Any] | None) -> settings.Tuning | None:
    """The tuning that was chosen when a run began; None where its manifest has none."""
    facts = None if manifest is None else manifest.get("tuning")
    if facts is None:
        return None
    return settings.read(facts)


def _check_measuring(recipe: Recipe) -> None:
    """Raise a `UsageError` before anything is trained if the trained net could not be validated."""
    options = recipe.train
    Adversary.check_honest_attack(options.validation_attack or recipe.attack)
    _ = options.averages  # an error where two averages are given


def _fit_to_data(recipe: Recipe, splits: Splits) -> Recipe:
    """Let the set and the objective learn from the training examples, and from no others."""
    train = splits.learning_split()
    uncertainty = recipe.uncertainty.lay_out(splits.spec).fit(train)
    objective = recipe.objective.fit(train)
    return attrs.evolve(recipe, uncertainty=uncertainty, objective=objective)


def _open_run(
    out: Path,
    lock: DirectoryLock | None,
    manifest: dict[str, Any],
    state: State,
    *,
    resume: bool,
) -> Run:
    """Make the run directory; or, to resume, open it and restore its state into ``state``."""
    if resume:
        run = Run.open(out, lock)
        check_same_training(run.manifest(), manifest, out)
        run.restore(state)
        if run.checkpoint_path("best").exists():
            state.best = run.weights("best")
        return run
    return parallel.run_on_first(lambda: Run.create(out, manifest, lock)) or Run(out)
