"""What there is to report: runs with their results, transfer collections, a reproduction. Reads files, and no torch."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import attrs

from robustfw.errors import RunError, UsageError
from robustfw.report.reading import damaged, printable, read_json, structured
from robustfw.report.schema import (
    KINDS,
    CollectionManifest,
    Epoch,
    Evaluation,
    Reproduction,
    Result,
    Transfer,
)

REPRODUCTION = "reproduction.json"
PARTS = ("dataset", "model", "uncertainty", "attack", "objective", "train")
Kind = TypeVar("Kind", bound=Result)


@attrs.frozen(eq=False)
class Run:
    """A run directory, read."""

    path: Path
    name: str
    """As it is called in the report; no two runs have the same."""
    net: str | None
    """The label of its net, where a reproduction gives one: the runs of a net differ in their seeds."""
    mode: str
    """In which way of doing it the net was trained, where a reproduction has several; each has figures of its own."""
    seed: int | None
    """The seed of its net, where a reproduction tells."""
    manifest: dict[str, Any]
    epochs: tuple[Epoch, ...]
    results: tuple[Result, ...]
    at_the_end: Evaluation | None
    """What the training itself measured when it was done."""

    @property
    def group(self) -> str:
        """What it is called with others of its kind: its net and mode, or itself."""
        return ", ".join(part for part in (self.line, self.mode) if part)

    @property
    def line(self) -> str:
        """The same, in a figure of one mode."""
        return self.net or self.name

    @property
    def labels(self) -> tuple[str, ...] | None:
        """Names of the classes."""
        labels = self.manifest["data"].get("spec", {}).get("labels")
        return tuple(str(label) for label in labels) if isinstance(labels, list) else None

    def of(self, kind: type[Kind]) -> list[Kind]:
        """Its results of one kind."""
        return [result for result in self.results if isinstance(result, kind)]

    def evaluations(self) -> list[Evaluation]:
        """All its evaluations, that of the training first."""
        own = [self.at_the_end] if self.at_the_end else []
        return own + self.of(Evaluation)


@attrs.frozen(eq=False)
class Collection:
    """A transfer collection; its tensors are read when they are drawn."""

    path: Path
    name: str
    manifest: CollectionManifest
    labels: tuple[str, ...] | None

    @property
    def tensors(self) -> Path:
        """Where its examples are."""
        return self.path / "examples.safetensors"


@attrs.frozen(eq=False)
class Material:
    """All that a report is made of."""

    runs: tuple[Run, ...]
    collections: tuple[Collection, ...]
    reproduction: Reproduction | None
    notes: tuple[str, ...]
    """What was found and is not shown."""

    def by_mode(self) -> dict[str, list[Run]]:
        """The runs that are drawn together."""
        found: dict[str, list[Run]] = {}
        for run in self.runs:
            found.setdefault(run.mode, []).append(run)
        return found

    def named(self, path: str) -> str:
        """The name of the run at a path that a result gives; its last part where it is none of ours."""
        known = {run.path.resolve(): run for run in self.runs}
        for base in (Path(), *(base for run in self.runs for base in _bases(run.path))):
            if run := known.get((base / path).resolve()):
                return run.name
        last = Path(path).name
        same = [run for run in self.runs if run.path.name == last]
        return same[0].name if len(same) == 1 else last or path


def gather(paths: Sequence[Path]) -> Material:
    """Read run directories, transfer collections and at most one reproduction.

    Raises:
        RunError: a path is none of these, or a file in it is damaged.
        UsageError: there are two reproductions.
    """
    reproductions = [path for path in paths if (path / REPRODUCTION).exists()]
    if len(reproductions) > 1:
        raise UsageError("a report is of one reproduction: make one report for each of them")
    others = [path for path in paths if path not in reproductions]
    made = _reproduction(reproductions[0]) if reproductions else None
    folders = [path for path in others if _is_collection(path)]
    notes: list[str] = []
    runs = _members(reproductions[0], made, notes) if made else []
    runs += [_run(path, notes) for path in others if path not in folders]
    if not runs:
        raise RunError(f"there is no run in {paths[0]}: name directories that robustfw train or reproduce made")
    runs = _distinctly_named(runs)
    folders += [reproductions[0] / path for path in made.collections] if made else []
    folders += [folder for run in runs if not run.net for folder in _mentioned(run)]  # a reproduction lists its own
    collections = [_collection(folder, runs) for folder in _once(folders)]
    return Material(tuple(runs), tuple(collections), made, tuple(notes))


def _reproduction(path: Path) -> Reproduction:
    file = path / REPRODUCTION
    return structured(read_json(file), Reproduction, file)


def _members(base: Path, made: Reproduction, notes: list[str]) -> list[Run]:
    """The runs of a reproduction, called by net and seed, and by mode where there are several."""
    labels = {net.name: net.label for net in made.nets}
    several = len({member.mode for member in made.runs}) > 1
    runs = []
    for member in made.runs:
        net, mode = labels.get(member.net, member.net), member.mode if several and member.mode else ""
        name = ", ".join(part for part in (net, mode, "" if member.seed is None else f"seed {member.seed}") if part)
        read = _run(base / member.path, notes, called=member.path)
        runs.append(attrs.evolve(read, name=name, net=net, mode=mode, seed=member.seed))
    return runs


def _is_collection(path: Path) -> bool:
    return (path / "examples.safetensors").exists()


def _run(path: Path, notes: list[str], called: str | None = None) -> Run:
    """``called``: the run in commands, where these are not for the present directory."""
    manifest = _manifest(path)
    end = manifest.get("result")
    ended = None if end is None else structured(end, Evaluation, path / "manifest.json")
    if ended:
        ended = attrs.evolve(ended, command=_evaluation_command(called or str(path), ended))
    name = printable(path.resolve().name)
    return Run(path, name, None, "", None, manifest, _epochs(path / "metrics.jsonl"), _results(path, notes), ended)


def _manifest(path: Path) -> dict[str, Any]:
    """The record of a training, with all that a report needs of it."""
    file = path / "manifest.json"
    if not file.exists():
        raise RunError(f"there is no run in {path}: name a directory that robustfw train or reproduce made")
    manifest = read_json(file)
    recipe, data = manifest.get("recipe"), manifest.get("data")
    if not isinstance(recipe, dict) or not isinstance(data, dict) or not isinstance(data.get("spec", {}), dict):
        raise RunError(f"{file} is not the manifest of a run: name a directory that robustfw train made")
    for part in PARTS:
        given = recipe.get(part)
        listed = given if part == "objective" and isinstance(given, list) and given else [given]
        if not all(isinstance(each, dict) and (part == "train" or "use" in each) for each in listed):
            raise damaged(file, f"the recipe's {part} is missing")
    return manifest


def _evaluation_command(path: str, ended: Evaluation) -> str:
    """What measures the same as the end of the training did."""
    attacks = [word for attack in ended.attacks for word in ("--attack", attack)]
    chosen = ["--split", ended.split, "--weights", ended.weights, "--examples", str(ended.n)]
    return shlex.join(["robustfw", "evaluate", printable(path), "--uncertainty", ended.uncertainty, *attacks, *chosen])


def _epochs(file: Path) -> tuple[Epoch, ...]:
    """The finished epochs; a last line that was cut off is none."""
    if not file.exists():
        return ()
    *whole, _ = file.read_bytes().split(b"\n")
    try:
        return tuple(structured(json.loads(line), Epoch, file) for line in whole)
    except ValueError as error:
        raise damaged(file, f"a line is not JSON: {error}") from error


def _results(path: Path, notes: list[str]) -> tuple[Result, ...]:
    """What other commands wrote into the run, in the order of the files' names."""
    found: list[Result] = []
    for file in sorted((path / "results").glob("*.json")):
        value = read_json(file)
        kind = value.get("kind")
        if kind in KINDS:
            found.append(structured(value, KINDS[kind], file))
        elif isinstance(kind, str):
            notes.append(f"{printable(str(file))} is not shown: this version knows no results of the kind {kind!r}.")
        else:
            raise damaged(file, "it does not say of which kind it is")
    return tuple(found)


def _distinctly_named(runs: Iterable[Run]) -> list[Run]:
    """The same runs; those of the same name are called by their paths."""
    listed = _once_by_path(runs)
    names = [run.name for run in listed]
    return [attrs.evolve(r, name=printable(str(r.path))) if names.count(r.name) > 1 else r for r in listed]


def _once_by_path(runs: Iterable[Run]) -> list[Run]:
    return list({run.path.resolve(): run for run in reversed(list(runs))}.values())[::-1]


def _once(paths: Iterable[Path]) -> list[Path]:
    return list({path.resolve(): path for path in paths}.values())


def _mentioned(run: Run) -> list[Path]:
    """Collections that the run's results name, where they can be found, and those within its directory."""
    named = [base / result.collection for result in run.of(Transfer) for base in (*_bases(run.path), Path())]
    inside = sorted(file.parent for file in run.path.glob("transfer/*/examples.safetensors"))
    return [path for path in [*named, *inside] if _is_collection(path)]


def _bases(run: Path) -> list[Path]:
    """What a path in a result may be relative to: the results, the run, or what it lies in."""
    return [run / "results", run, *run.resolve().parents[:2]]


def _collection(path: Path, runs: Sequence[Run]) -> Collection:
    file = path / "manifest.json"
    if not file.exists() or not _is_collection(path):
        raise RunError(f"there is no transfer collection in {path}: make it by robustfw craft, or leave it out")
    manifest = structured(read_json(file), CollectionManifest, file)
    labels = manifest.labels or next((run.labels for run in runs if run.labels), None)
    return Collection(path, printable(path.resolve().name), manifest, labels)
