"""From a recipe to a training under way: data loaded, net built, run directory made or taken up again."""

from __future__ import annotations

import contextlib
import datetime
import os
import subprocess
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any, final

import attrs
import torch
from torch import nn

import robustfw
from robustfw import engine, hardware, parallel
from robustfw.dataset import Dataset, DataSpec
from robustfw.engine import Record
from robustfw.errors import RunError, UsageError
from robustfw.model import Model
from robustfw.recipe import Recipe
from robustfw.registry import Registry
from robustfw.runs import Run
from robustfw.splits import Splits
from robustfw.state import State


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
        records = engine.train(self.recipe, self.splits, self.state)
        if self.run is not None:
            records = self.run.keep(records, self.state)
        with contextlib.closing(records):
            for record in records:
                self.registry.hooks.robustfw_record(record=record)
                yield record


def begin(
    recipe: Recipe, registry: Registry, *, data_dir: Path | None = None, out: Path | None = None, resume: bool = False
) -> Session:
    """Load, build, and make or reopen the run directory; nothing is written where ``out`` is None.

    Args:
        resume: go on where the run in ``out`` stopped; where there is none yet, start it.

    Raises:
        RunError: ``out`` holds a run and ``resume`` is false, or its recipe or its data are others.
    """
    options = recipe.train
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    device = parallel.device(options.device)
    parallel.start(device)
    if options.batch_size % parallel.world():
        raise UsageError(f"a batch of {options.batch_size} cannot be shared by {parallel.world()} processes alike")
    splits = recipe.dataset.load(data_root(data_dir))
    splits.check()
    updates = options.epochs * engine.updates_per_epoch(len(splits.train), options.batch_size)
    state = State.fresh(lambda: recipe.model.build(splits.spec), options, device, updates)
    run = None
    if out is not None:
        run = _run(out, recipe, registry, splits, device, state, resume=resume)
    return Session(recipe, splits, state, run if parallel.rank() == 0 else None, registry)


def data_root(given: Path | None) -> Path:
    """Where data sets keep their files: as given, or ROBUSTFW_DATA, or the user's cache."""
    return (given or Path(os.environ.get("ROBUSTFW_DATA") or "~/.cache/robustfw")).expanduser()


def _run(
    out: Path, recipe: Recipe, registry: Registry, splits: Splits, device: torch.device, state: State, *, resume: bool
) -> Run:
    manifest = _manifest(recipe, registry, splits, device)
    if resume and (out / "manifest.json").exists():
        run = Run.open(out)
        _check_same(run.manifest(), manifest, out)
        run.restore(state)
        return run
    return Run.create(out, manifest) if parallel.rank() == 0 else Run(out)


def _check_same(before: dict[str, Any], now: dict[str, Any], out: Path) -> None:
    for part in ("recipe", "data"):
        changed = [key for key in now[part] if before[part].get(key) != now[part][key]]
        if changed:
            raise RunError(
                f"the run in {out} has another {part} ({', '.join(changed)}): resume it with the same one, or choose "
                "another --out"
            )


def _manifest(recipe: Recipe, registry: Registry, splits: Splits, device: torch.device) -> dict[str, Any]:
    record = registry.record(recipe)
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
        | {"spec": _listed(attrs.asdict(splits.spec))},
        "ascent_mode": recipe.train.ascent_mode,
        "bounds": list(splits.spec.bounds),
        "processes": parallel.world(),
        "hardware": hardware.describe(device),
    }


def _listed(value: Any) -> Any:
    """Tuples as lists, as they come back from JSON."""
    if isinstance(value, Mapping):
        return {key: _listed(part) for key, part in value.items()}
    return [_listed(part) for part in value] if isinstance(value, list | tuple) else value


def _origins(record: Mapping[str, Any], registry: Registry) -> dict[str, str]:
    """The distribution behind each part of the recipe."""
    names = {kind: part["use"] for kind, part in record.items() if isinstance(part, Mapping) and "use" in part}
    known = {(entry.kind, entry.name): entry.distribution for entry in registry.entries.values()}
    return {kind: known.get((kind, name), "given as an object") for kind, name in names.items()}


def _commit() -> str | None:
    """The commit of the checkout that robustfw is imported from, if it is one."""
    folder = Path(robustfw.__file__).parents[1]
    if not (folder / ".git").exists():
        return None
    answer = subprocess.run(
        ["git", "-C", str(folder), "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return answer.stdout.strip() or None


def rebuild(run: Run, registry: Registry, model: nn.Module | None = None, *, weights: str = "best") -> nn.Module:
    """The trained net of a run, in evaluation mode; needs no data.

    Args:
        model: a net of the run's architecture to load the weights into; by default a new one, on the CPU.
        weights: ``best``, of highest robust validation accuracy, or ``last``.
    """
    if model is None:
        model = _built(run.manifest(), run, registry)
    try:
        model.load_state_dict(run.weights(weights))
    except RuntimeError as error:
        raise RunError(f"the weights in {run.path} do not fit its model: {str(error).splitlines()[0]}") from error
    return model.eval()


def _built(manifest: dict[str, Any], run: Run, registry: Registry) -> nn.Module:
    if ":" in manifest["recipe"]["model"]["use"]:
        raise RunError(f"the run in {run.path} trained a net given as an object, which only its program can rebuild")
    facts = manifest["data"]["spec"]
    given: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in facts.items()}
    spec = DataSpec(**given)
    return registry.make("model", manifest["recipe"]["model"]).build(spec)
