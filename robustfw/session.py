"""From a recipe to a training under way: data loaded, net built, run directory made or taken up again."""

from __future__ import annotations

import contextlib
import datetime
import subprocess
import warnings
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any, final

import attrs
import torch
from torch import nn

import robustfw
from robustfw import engine, failures, hardware, parallel, tuning
from robustfw import registry as registry_
from robustfw.adversary import Adversary
from robustfw.checkpoints import check_storable
from robustfw.dataset import Dataset, data_root
from robustfw.dataspec import DataSpec
from robustfw.errors import DataError, RobustfwWarning, RunError, UsageError
from robustfw.evaluation import check_width
from robustfw.inner import check_type
from robustfw.locks import DirectoryLock, NewDirectory, claim
from robustfw.loggers import Loggers
from robustfw.model import Model
from robustfw.modes import evaluating
from robustfw.options import same, spell
from robustfw.recipe import Recipe, TrainOptions
from robustfw.records import Record
from robustfw.registry import Registry
from robustfw.runs import Run
from robustfw.splits import Splits
from robustfw.state import State
from robustfw.stateful import forgetful_parts, stateful_parts
from robustfw.threat import Threat

MACHINE = ("threads", "device")
"""Options of a training that say where it runs: a run may be gone on with elsewhere."""


@final
class GivenModel(Model):
    """A net that already is one; trained in place."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def build(self, spec: DataSpec) -> nn.Module:
        """The net itself."""
        return self.module


@final
class GivenDataset(Dataset):
    """Splits that are already there."""

    def __init__(self, splits: Splits) -> None:
        self.splits = splits

    def load(self, root: Path) -> Splits:
        """The splits themselves."""
        return self.splits


@attrs.frozen(eq=False)
class Session:
    """All that a training needs; `records` is the training."""

    recipe: Recipe
    splits: Splits
    state: State
    run: Run | None
    registry: Registry

    def records(self) -> Generator[Record, None, None]:
        """Train; each record goes to the run directory and to the plugins that want to see it."""
        if self.state.epoch >= self.recipe.train.epochs:  # the first process may have gone on to measure the net
            if self.run is not None:
                self.run.release()
            return
        records = engine.train(self.recipe, self.splits, self.state)
        if self.run is not None:
            records = self.run.keep(records, self.state)
        path = None if self.run is None else self.run.path
        loggers = Loggers(self.registry, path, first_process=parallel.rank() == 0)
        recorded = _described(self.registry.record(self.recipe), self.registry)
        with failures.explained(), contextlib.closing(records), loggers.training(recorded):
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
    """Load, build, and make or reopen the run directory; nothing is written where ``out`` is None.

    Args:
        out: the run directory, or where to make a new one; this training alone has it until its records have ended.
        resume: go on where the run in ``out`` stopped; where there is none yet, start it.

    Raises:
        RunError: ``out`` holds a run and ``resume`` is false, or its recipe or its data are others.
    """
    options = recipe.train
    hardware.use_threads(options.threads)
    device = usable_device(options.device)
    parallel.start(device)
    if options.batch_size % parallel.world():
        raise UsageError(f"a batch of {options.batch_size} cannot be shared by {parallel.world()} processes alike")
    with failures.explained(), _claimed(out) as lock:
        return _begin(recipe, registry, data_dir, device, out if lock is None else lock.path, lock, resume=resume)


@contextlib.contextmanager
def _claimed(out: Path | NewDirectory | None) -> Iterator[DirectoryLock | None]:
    """The right to write in the run directory, on the first process; given back where the training cannot begin."""
    lock = None if out is None else parallel.on_first(lambda: claim(out, "trained"))
    try:
        yield lock
    except BaseException:
        if lock is not None:
            lock.abandon()
        raise


def _begin(
    recipe: Recipe,
    registry: Registry,
    data_dir: Path | None,
    device: torch.device,
    out: Path | NewDirectory | None,
    lock: DirectoryLock | None,
    *,
    resume: bool,
) -> Session:
    options, path = recipe.train, out if isinstance(out, Path) else None
    resumed = parallel.agreed(resume and path is not None and (path / "manifest.json").exists())
    before = Run.open(path).manifest() if resumed and path is not None else None
    root = data_root(data_dir, before)
    splits = recipe.dataset.load(root)
    splits.check()
    if not len(splits.train):
        raise DataError("there is not one training example: take a smaller share for validation, or other data")
    _check_measuring(recipe)
    updates = options.epochs * engine.updates_per_epoch(len(splits.train), options.batch_size)
    goes_on = resumed and path is not None and Run(path).checkpoint_path("last").exists()
    state = State.fresh(lambda: _built_for(recipe.model, splits, goes_on=goes_on), options, device, updates)
    check_net(state.model, splits, device)
    fitted = _fitted(recipe, splits)
    Threat(fitted.uncertainty, splits.spec.bounds).warn_of_unit(splits.first_examples(8)[0])
    tuned = _tuned_before(path) if resumed and path is not None else None
    tuned = tuned or tuning.settled(fitted, splits, state)
    settled = tuning.applied(tuned, fitted, state.model)
    state.parts = dict(stateful_parts(settled))
    run = None
    if path is not None:
        manifest = _manifest(recipe, registry, splits, device) | {"tuning": attrs.asdict(tuned)}
        if data_dir is not None:
            manifest["data"]["folder"] = str(root.resolve())
        run = _run(path, lock, manifest, state, resume=resumed)
        if resumed and state.epoch + state.batch:
            _warn_of_what_is_forgotten(settled)
    return Session(settled, splits, state, run if parallel.rank() == 0 else None, registry)


def _tuned_before(out: Path) -> tuning.Tuning | None:
    """What was chosen when the run in ``out`` began; None where its manifest says nothing of it."""
    facts = Run.open(out).manifest().get("tuning")
    return None if facts is None else tuning.recalled(facts)


def _built_for(model: Model, splits: Splits, *, goes_on: bool) -> nn.Module:
    """The net, with layers that take their sizes from the first batch (``nn.LazyLinear``) given theirs.

    ``goes_on``: a checkpoint has its weights, so that none need be downloaded or learnt from data.
    """
    fitted = model.fitted(splits.learnable())
    net = fitted.build_untrained(splits.spec) if goes_on else fitted.build(splits.spec)
    if any(isinstance(p, nn.parameter.UninitializedParameter) for p in net.parameters()):
        x, _ = splits.first_examples(2)
        with evaluating(net), torch.no_grad():
            net(x)
    check_storable(net.state_dict())
    return net


def check_net(model: nn.Module, splits: Splits, device: torch.device) -> None:
    """Raise a `DataError` where the net does not take the examples, or gives nothing that the task can read.

    Two examples go through it in evaluation mode.
    """
    x, _ = splits.first_examples(2)
    x = x.to(device)
    check_type(model, x)
    try:
        with evaluating(model), torch.no_grad():
            outputs = model(x.clone())
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"the net does not take examples of shape {tuple(x.shape[1:])}: {reason}") from error
    check_width(splits.spec.task.read(outputs, len(x)), splits.spec.classes)


def _check_measuring(recipe: Recipe) -> None:
    """Raise where the recipe could not be validated, before anything is trained."""
    options = recipe.train
    Adversary.check_honest_attack(options.validation_attack or recipe.attack)
    _ = options.averages


def _fitted(recipe: Recipe, splits: Splits) -> Recipe:
    """The recipe with whatever learns from data having seen the training examples, and no others."""
    train = splits.learnable()
    uncertainty, objective = recipe.uncertainty.fitted(train), recipe.objective.fitted(train)
    return attrs.evolve(recipe, uncertainty=uncertainty, objective=objective)


def usable_device(name: str) -> torch.device:
    """A device by name, tried out."""
    try:
        device = parallel.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:  # an AssertionError is how torch says that it has no CUDA
        reason = str(error).splitlines()[0]
        raise UsageError(f"the device {name!r} cannot be used here ({reason}): give cpu, or auto") from error
    return device


def _run(out: Path, lock: DirectoryLock | None, manifest: dict[str, Any], state: State, *, resume: bool) -> Run:
    if resume:
        run = Run.open(out, lock)
        _check_same(run.manifest(), manifest, out)
        run.restore(state)
        if run.checkpoint_path("best").exists():
            state.best = run.weights("best")
        return run
    return parallel.on_first(lambda: Run.create(out, manifest, lock)) or Run(out)


def _warn_of_what_is_forgotten(recipe: Recipe) -> None:
    """Warn of parts whose past no checkpoint holds: the resumed training is not the uninterrupted one."""
    lost = list(forgetful_parts(recipe))
    if parallel.world() > 1:
        lost += [way for way, _ in stateful_parts(recipe)]  # only the first process saves
    if lost:
        warnings.warn(
            f"{' and '.join(lost)} of the recipe remember what they have seen, and the checkpoint does not hold all of "
            "it: the resumed training is not bit for bit the uninterrupted one",
            RobustfwWarning,
            stacklevel=3,
        )


def _check_same(before: dict[str, Any], now: dict[str, Any], out: Path) -> None:
    then, here = ({**each["recipe"], "train": _deciding(each["recipe"]["train"])} for each in (before, now))
    changed = "; ".join(_differences(then, here))
    if changed:
        raise RunError(
            f"the run in {out} has another recipe ({changed}): leave that option out to go on with it, or choose "
            "another --out"
        )
    if before.get("processes") != now["processes"]:
        raise RunError(
            f"the run in {out} was trained by {before.get('processes')} processes, not {now['processes']}, each with "
            "random numbers of its own: go on with as many, or choose another --out"
        )
    if before["data"]["hash"] != now["data"]["hash"]:
        raise RunError(
            f"the run in {out} was trained on other data: give the folder of its own by --data-dir, or choose "
            "another --out"
        )


def _deciding(train: Mapping[str, Any]) -> dict[str, Any]:
    """The training's options that decide its numbers; those that a run says nothing of, as it is older, by default."""
    whole = registry_.installed().record(TrainOptions()) | dict(train)
    return {name: value for name, value in whole.items() if name not in MACHINE}


def _differences(before: Mapping[str, Any], now: Mapping[str, Any], owner: str = "") -> Iterator[str]:
    """What of ``now`` is otherwise in ``before``, in words; of another plugin, its name only."""
    keys = ["use"] if now.get("use") != before.get("use") else list(now)
    for key in keys:
        there, here = before.get(key), now[key]
        if isinstance(there, Mapping) and isinstance(here, Mapping):
            yield from _differences(there, here, f"{owner}{key}.")
        elif not same(there, here):
            yield f"{owner}{key} is {_told(there)} there and {_told(here)} here"


def _told(value: Any) -> str:
    """A recorded value in a sentence: plugins as specs."""
    plugins = value if isinstance(value, list) else [value]
    return spell(value) if all(isinstance(each, Mapping) and "use" in each for each in plugins) else str(value)


def _manifest(recipe: Recipe, registry: Registry, splits: Splits, device: torch.device) -> dict[str, Any]:
    record = _described(registry.record(recipe), registry)
    return {
        "robustfw": robustfw.__version__,
        "commit": _commit(),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "recipe": record,
        "plugins": _origins(record, registry),
        "data": {
            "hash": splits.fingerprint(),
            "train": len(splits.train),
            "validation": len(splits.validation),
            "test": len(splits.test),
        }
        | {
            "spec": _described(
                attrs.asdict(splits.spec, recurse=False) | {"task": registry.record(splits.spec.task)}, registry
            )
        },
        "ascent_mode": recipe.train.ascent_mode,
        "bounds": _described(splits.spec.bounds, registry),
        "processes": parallel.world(),
        "hardware": hardware.describe(device),
    }


def _spec(spec: DataSpec, registry: Registry) -> dict[str, Any]:
    return attrs.asdict(spec, recurse=False) | {"task": registry.record(spec.task)}


def _described(value: Any, registry: Registry) -> Any:
    """A value as it comes back from JSON; of an object that a program has given, the name of its class."""
    if isinstance(value, Mapping):
        return {key: _described(part, registry) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_described(part, registry) for part in value]
    return value if isinstance(value, str | int | float | None) else {"use": registry.name_of(value)}


def _origins(record: Mapping[str, Any], registry: Registry) -> dict[str, str]:
    """The distribution behind each part of the recipe."""
    known = {(entry.kind, entry.name): entry.distribution for entry in registry.entries.values()}
    origins = {
        kind: [known.get((kind, name), "given as an object") for name in _names(part)] for kind, part in record.items()
    }
    return {kind: ", ".join(dict.fromkeys(found)) for kind, found in origins.items() if found}


def _names(part: Any) -> list[str]:
    """The names of the plugins that a part of a recorded recipe is made of: one, or several where they are a sum."""
    listed = part if isinstance(part, list) else [part]
    return [str(each["use"]) for each in listed if isinstance(each, Mapping) and "use" in each]


def _commit() -> str | None:
    """The commit of the checkout that robustfw is imported from, if it is one."""
    folder = Path(robustfw.__file__).parents[1]
    if not (folder / ".git").exists():
        return None
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:  # no git on this machine
        return None
    return answer.stdout.strip() or None


def named_parts(run: Run, *kinds: str) -> dict[str, Any]:
    """The recipe in a run's manifest; its parts of these kinds must have names, by which they can be made again."""
    recipe: dict[str, Any] = run.manifest()["recipe"]
    for kind in kinds:
        named_part(recipe, kind, str(run.path))
    return recipe


def named_part(recipe: Mapping[str, Any], kind: str, run: str) -> Any:
    """A part of a recorded recipe, which must have a name by which it can be made again.

    Raises:
        RunError: it was given as an object.
    """
    if any(":" in name for name in _names(recipe[kind])):
        by = {"model": "robustfw.load(run, model=net)", "uncertainty": "--uncertainty"}.get(kind, "its program")
        raise RunError(
            f"the {kind} of the run in {run} was given as an object, which only the program that made the run has: use "
            f"{by}"
        )
    return recipe[kind]


def rebuild(run: Run, registry: Registry, model: nn.Module | None = None, *, weights: str = "best") -> nn.Module:
    """The trained net of a run, in evaluation mode; needs no data.

    Args:
        model: a net of the run's architecture to load the weights into; by default a new one, on the CPU.
        weights: ``best``, of highest robust validation accuracy, or ``last``.
    """
    if model is None:
        model = _built(run, registry)
    try:
        model.load_state_dict(run.weights(weights))
    except RuntimeError as error:
        raise RunError(
            f"the weights in {run.path} do not fit its model: {str(error).splitlines()[-1].strip()}"
        ) from error
    return model.eval()


def spec_of(run: Run, registry: Registry) -> DataSpec:
    """The data spec in a run's manifest."""
    facts = run.manifest()["data"]["spec"]
    given: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in facts.items()}
    if "task" in given:
        given["task"] = registry.make("task", given["task"])
    try:
        return DataSpec(**given)
    except (TypeError, ValueError) as error:
        raise RunError(f"the manifest of {run.path} does not describe its data ({error}); train again") from error


def _built(run: Run, registry: Registry) -> nn.Module:
    return registry.make("model", named_parts(run, "model")["model"]).build_untrained(spec_of(run, registry))
