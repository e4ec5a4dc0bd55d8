"""Reads what there is to report: runs with their results, transfer collections, a reproduction. Needs no torch.

Directories may come from anywhere, so what lies in them is read strictly, no link in them is followed, and no path in
them leads out of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import attrs

from robustfw.errors import RunError, UsageError
from robustfw.report._gather_runs import read_run
from robustfw.report._schema import CollectionManifest, Reproduction
from robustfw.results._kind import ResultKind
from robustfw.results._material import Material, ReportedCollection, ReportedRun, bases
from robustfw.results._reading import (
    read_json,
    structure_file,
)
from robustfw.results._registered_kinds import kinds_by_name
from robustfw.results._transfer import TransferFields
from robustfw.results._words import printable

if TYPE_CHECKING:
    from robustfw.plugin.registry import Registry

REPRODUCTION = "reproduction.json"
"""The file by which the directory of a reproduction is known."""


def gather(paths: Sequence[Path], known: Registry | None = None) -> Material:
    """Read run directories, transfer collections and at most one reproduction.

    Args:
        paths: Directories, in any order.
        known: The registry whose kinds of results are read; the installed plugins' without it.

    Raises:
        RunError: a path is none of these, or a file in it is damaged or leads elsewhere.
        UsageError: there are two reproductions.
    """
    # 1. tell the directories apart
    reproductions = [path for path in paths if (path / REPRODUCTION).exists()]
    if len(reproductions) > 1:
        raise UsageError(
            "a report is of one reproduction: make one report for each of them"
        )
    others = [path for path in paths if path not in reproductions]
    collection_folders = [path for path in others if _is_collection(path)]
    run_folders = [path for path in others if path not in collection_folders]

    # 2. runs, those of the reproduction first
    kinds = kinds_by_name(known)
    notes: list[str] = []
    reproduction: Reproduction | None = None
    runs: list[ReportedRun] = []
    if reproductions:
        file = reproductions[0] / REPRODUCTION
        reproduction = structure_file(read_json(file), Reproduction, file)
        runs += _read_members(reproductions[0], reproduction, kinds, notes)
    runs += [read_run(path, kinds, notes) for path in run_folders]
    if not runs and not collection_folders:
        raise RunError(
            f"there is no run in {paths[0]}: name directories that robustfw train, craft or reproduce made"
        )
    runs = _name_distinctly(runs)

    # 3. collections: those that are named, those of the reproduction, and those that other runs' results name
    if reproduction:
        collection_folders += [
            _path_within(reproductions[0], path) for path in reproduction.collections
        ]
    for run in runs:
        if not run.net:
            collection_folders += _find_collections(run, notes)
    unique_folders = {folder.resolve(): folder for folder in collection_folders}
    collections = []
    for folder in unique_folders.values():
        collections.append(_read_collection(folder, runs))
    return Material(
        runs=tuple(runs),
        collections=tuple(collections),
        reproduction=reproduction,
        notes=tuple(dict.fromkeys(notes)),
        kinds=tuple(kinds.values()),
    )


def _read_members(
    folder: Path,
    reproduction: Reproduction,
    kinds: Mapping[str, ResultKind],
    notes: list[str],
) -> list[ReportedRun]:
    """The runs of a reproduction, called by net and seed, and by mode where there are several.

    Args:
        folder: the directory of the reproduction.
        reproduction: what it holds.
        kinds: the kinds of results by name.
        notes: is added to, where something is there that is not shown.
    """
    labels = {net.name: net.label for net in reproduction.nets}
    several_modes = len({member.mode for member in reproduction.runs}) > 1
    runs = []
    for member in reproduction.runs:
        net = labels.get(member.net, member.net)
        mode = member.mode if several_modes and member.mode else ""
        seed = "" if member.seed is None else f"seed {member.seed}"
        name = ", ".join(part for part in (net, mode, seed) if part)
        run = read_run(
            _path_within(folder, member.path),
            kinds=kinds,
            notes=notes,
            path_in_commands=member.path,
        )
        runs.append(attrs.evolve(run, name=name, net=net, mode=mode, seed=member.seed))
    return runs


def _path_within(base: Path, inner: str) -> Path:
    """A path that a reproduction gives; a `RunError` where it leads out of the reproduction."""
    parts = PurePath(inner).parts
    steps = [base.joinpath(*parts[: i + 1]) for i in range(len(parts))]
    if (
        PurePath(inner).is_absolute()
        or ".." in parts
        or any(step.is_symlink() for step in steps)
    ):
        raise RunError(
            f"{printable(str(base / REPRODUCTION))} names {printable(inner)}, which leads out of it: put it inside, "
            "or name it on the command line"
        )
    return base / inner


def _is_collection(path: Path) -> bool:
    return (path / "examples.safetensors").exists()


def _name_distinctly(runs: Iterable[ReportedRun]) -> list[ReportedRun]:
    """Each run once; runs that share a name are called by their paths."""
    run_at: dict[Path, ReportedRun] = {}
    for run in runs:
        # one that is named twice is as it was read first, and stands where it was named last
        place = run.path.resolve()
        run_at[place] = run_at.pop(place, run)
    counts = Counter(run.name for run in run_at.values())
    distinct = []
    for run in run_at.values():
        if counts[run.name] > 1:
            run = attrs.evolve(run, name=printable(str(run.path)))
        distinct.append(run)
    return distinct


def _find_collections(run: ReportedRun, notes: list[str]) -> list[Path]:
    """Collections that the run's results name, where they can be found, and those within its directory.

    A result may name any path of its reader's machine; one that leads up is followed beneath the present directory
    only, and one that is a link within the run not at all.
    """
    folders = []
    here = Path().resolve()
    for result in run.results_of(TransferFields):
        steps_up = (
            PurePath(result.collection).is_absolute()
            or ".." in PurePath(result.collection).parts
        )
        for base in (*bases(run.path), Path()):
            folder = base / result.collection
            if not _is_collection(folder):
                continue
            if steps_up and not folder.resolve().is_relative_to(here):
                name = printable(result.collection)
                notes.append(
                    f"The examples of {name} are not shown: to have them drawn, name it on the command line."
                )
            else:
                folders.append(folder)
    for file in sorted(run.path.glob("transfer/*/examples.safetensors")):
        if any(step.is_symlink() for step in (file.parents[1], file.parent)):
            notes.append(f"{printable(str(file.parent))} is not shown: it is a link.")
        else:
            folders.append(file.parent)
    return folders


def _read_collection(path: Path, runs: Sequence[ReportedRun]) -> ReportedCollection:
    file = path / "manifest.json"
    if not file.exists() or not _is_collection(path):
        raise RunError(
            f"there is no transfer collection in {path}: make it by robustfw craft, or leave it out"
        )
    manifest = structure_file(read_json(file), CollectionManifest, file)
    labels_of_runs = next((run.labels for run in runs if run.labels), None)
    labels = manifest.labels or labels_of_runs
    return ReportedCollection(
        path=path, name=printable(path.resolve().name), manifest=manifest, labels=labels
    )
