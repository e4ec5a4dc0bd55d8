"""Reads what there is to report: runs with their results, transfer collections, a reproduction. Needs no torch.

Directories may come from anywhere, so what lies in them is read strictly, no link in them is followed, and no path in
them leads out of them.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import attrs

from robustfw.errors import RunError, UsageError
from robustfw.report._schema import CollectionManifest, EpochRecord, Reproduction
from robustfw.results._evaluation import EvaluationFields
from robustfw.results._kind import ResultKind
from robustfw.results._material import Material, ReportedCollection, ReportedRun, bases
from robustfw.results._reading import damage_error, parse_json, plain_file, read_json, structure_file
from robustfw.results._registered_kinds import kinds_by_name
from robustfw.results._transfer import TransferFields
from robustfw.results._words import abbreviate, printable, spell_value

if TYPE_CHECKING:
    from robustfw.plugin.registry import Registry

REPRODUCTION = "reproduction.json"
PARTS = ("dataset", "model", "uncertainty", "attack", "objective", "train")


def gather(paths: Sequence[Path], known: Registry | None = None) -> Material:
    """Read run directories, transfer collections and at most one reproduction.

    Args:
        paths: Directories, in any order.
        known: The registry whose kinds of results are read; the installed plugins' without it.

    Raises:
        RunError: a path is none of these, or a file in it is damaged or leads elsewhere.
        UsageError: there are two reproductions.
    """
    reproductions = [path for path in paths if (path / REPRODUCTION).exists()]
    if len(reproductions) > 1:
        raise UsageError("a report is of one reproduction: make one report for each of them")
    others = [path for path in paths if path not in reproductions]
    made = _reproduction(reproductions[0]) if reproductions else None
    folders = [path for path in others if _is_collection(path)]
    kinds = kinds_by_name(known)
    notes: list[str] = []
    runs = _members(reproductions[0], made, kinds, notes) if made else []
    runs += [_run(path, kinds, notes) for path in others if path not in folders]
    if not runs and not folders:
        raise RunError(f"there is no run in {paths[0]}: name directories that robustfw train, craft or reproduce made")
    runs = _distinctly_named(runs)
    folders += [_beneath(reproductions[0], path) for path in made.collections] if made else []
    for run in runs:
        folders += [] if run.net else _mentioned(run, notes)  # a reproduction lists its own
    collections = [_collection(folder, runs) for folder in _once(folders)]
    return Material(tuple(runs), tuple(collections), made, tuple(dict.fromkeys(notes)), tuple(kinds.values()))


def _reproduction(path: Path) -> Reproduction:
    file = path / REPRODUCTION
    return structure_file(read_json(file), Reproduction, file)


def _members(base: Path, made: Reproduction, kinds: Mapping[str, ResultKind], notes: list[str]) -> list[ReportedRun]:
    """The runs of a reproduction, called by net and seed, and by mode where there are several."""
    labels = {net.name: net.label for net in made.nets}
    several = len({member.mode for member in made.runs}) > 1
    runs = []
    for member in made.runs:
        net, mode = labels.get(member.net, member.net), member.mode if several and member.mode else ""
        name = ", ".join(part for part in (net, mode, "" if member.seed is None else f"seed {member.seed}") if part)
        read = _run(_beneath(base, member.path), kinds, notes, called=member.path)
        runs.append(attrs.evolve(read, name=name, net=net, mode=mode, seed=member.seed))
    return runs


def _beneath(base: Path, inner: str) -> Path:
    """A path that a reproduction gives, which must lead to something within it."""
    parts = PurePath(inner).parts
    steps = [base.joinpath(*parts[: i + 1]) for i in range(len(parts))]
    if PurePath(inner).is_absolute() or ".." in parts or any(step.is_symlink() for step in steps):
        raise RunError(
            f"{printable(str(base / REPRODUCTION))} names {printable(inner)}, which leads out of it: put it inside, "
            "or name it on the command line"
        )
    return base / inner


def _is_collection(path: Path) -> bool:
    return (path / "examples.safetensors").exists()


def _run(path: Path, kinds: Mapping[str, ResultKind], notes: list[str], called: str | None = None) -> ReportedRun:
    """``called``: the run in commands, where these are not for the present directory."""
    manifest = _manifest(path)
    end = manifest.get("result")
    measured = None if end is None else structure_file(end, EvaluationFields, path / "manifest.json")
    if measured:
        measured = attrs.evolve(measured, command=_evaluation_command(called or str(path), manifest, measured))
    name = printable(path.resolve().name)
    results = _results(path, kinds, notes)
    return ReportedRun(path, name, None, "", None, manifest, _epochs(path / "metrics.jsonl"), results, measured)


def _manifest(path: Path) -> dict[str, Any]:
    """The record of a training, with all that a report needs of it."""
    file = path / "manifest.json"
    if not file.exists() and not file.is_symlink():
        raise RunError(f"there is no run in {path}: name a directory that robustfw train, craft or reproduce made")
    manifest = read_json(file)
    recipe, data = manifest.get("recipe"), manifest.get("data")
    if not isinstance(recipe, dict) or not isinstance(data, dict) or not isinstance(data.get("spec", {}), dict):
        raise RunError(f"{file} is not the manifest of a run: name a directory that robustfw train made")
    for part in PARTS:
        given = recipe.get(part)
        listed = given if part == "objective" and isinstance(given, list) and given else [given]
        if not all(isinstance(each, dict) and (part == "train" or "use" in each) for each in listed):
            raise damage_error(file, f"the recipe's {part} is missing")
    return manifest


def _evaluation_command(path: str, manifest: Mapping[str, Any], measured: EvaluationFields) -> str:
    """What measures the same as the end of the training did, without what the command takes anyway."""
    words = ["robustfw", "evaluate", printable(path)]
    if measured.uncertainty != spell_value(manifest["recipe"]["uncertainty"]):
        words += ["--uncertainty", abbreviate(measured.uncertainty, "uncertainty")]
    words += [word for attack in measured.attacks for word in ("--attack", abbreviate(attack))]
    words += ["--split", measured.split] if measured.split != "test" else []
    words += ["--weights", measured.weights] if measured.weights != "best" else []
    words += ["--examples", str(measured.n)] if measured.n != manifest["data"].get(measured.split) else []
    return shlex.join(words)


def _epochs(file: Path) -> tuple[EpochRecord, ...]:
    """The finished epochs; a last line that was cut off is none."""
    if not file.exists() and not file.is_symlink():
        return ()
    try:
        *whole, _ = plain_file(file).read_bytes().split(b"\n")
        return tuple(structure_file(parse_json(line), EpochRecord, file) for line in whole)
    except OSError as error:
        raise RunError(f"cannot read {file}: {error.strerror}; mend that, and try again") from error
    except ValueError as error:
        raise damage_error(file, f"a line is not JSON: {error}") from error


def _results(path: Path, kinds: Mapping[str, ResultKind], notes: list[str]) -> tuple[Any, ...]:
    """What other commands wrote into the run, in the order of the files' names."""
    results: list[Any] = []
    for file in sorted((path / "results").glob("*.json")):
        value = read_json(file)
        kind = value.get("kind")
        if not isinstance(kind, str):
            raise damage_error(file, "it does not say of which kind it is")
        if kind in kinds:
            results.append(structure_file(value, kinds[kind].fields, file))
        else:
            notes.append(f"{printable(str(file))} is not shown: this version knows no results of the kind {kind!r}.")
    return tuple(results)


def _distinctly_named(runs: Iterable[ReportedRun]) -> list[ReportedRun]:
    """The same runs; those of the same name are called by their paths."""
    listed = _once_by_path(runs)
    names = [run.name for run in listed]
    return [attrs.evolve(r, name=printable(str(r.path))) if names.count(r.name) > 1 else r for r in listed]


def _once_by_path(runs: Iterable[ReportedRun]) -> list[ReportedRun]:
    return list({run.path.resolve(): run for run in reversed(list(runs))}.values())[::-1]


def _once(paths: Iterable[Path]) -> list[Path]:
    return list({path.resolve(): path for path in paths}.values())


def _mentioned(run: ReportedRun, notes: list[str]) -> list[Path]:
    """Collections that the run's results name, where they can be found, and those within its directory.

    A result may name any path of its reader's machine; one that leads up is followed beneath the present directory
    only, and one that is a link within the run not at all.
    """
    folders = []
    here = Path().resolve()
    for result in run.results_of(TransferFields):
        steps_up = PurePath(result.collection).is_absolute() or ".." in PurePath(result.collection).parts
        for base in (*bases(run.path), Path()):
            folder = base / result.collection
            if not _is_collection(folder):
                continue
            if steps_up and not folder.resolve().is_relative_to(here):
                shown = printable(result.collection)
                notes.append(f"The examples of {shown} are not shown: to have them drawn, name it on the command line.")
            else:
                folders.append(folder)
    for file in sorted(run.path.glob("transfer/*/examples.safetensors")):
        if any(step.is_symlink() for step in (file.parents[1], file.parent)):
            notes.append(f"{printable(str(file.parent))} is not shown: it is a link.")
        else:
            folders.append(file.parent)
    return folders


def _collection(path: Path, runs: Sequence[ReportedRun]) -> ReportedCollection:
    file = path / "manifest.json"
    if not file.exists() or not _is_collection(path):
        raise RunError(f"there is no transfer collection in {path}: make it by robustfw craft, or leave it out")
    manifest = structure_file(read_json(file), CollectionManifest, file)
    labels = manifest.labels or next((run.labels for run in runs if run.labels), None)
    return ReportedCollection(path, printable(path.resolve().name), manifest, labels)
