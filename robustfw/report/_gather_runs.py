"""Reading a run for a report: its manifest, its epochs and its results."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from robustfw.errors import RunError
from robustfw.report._schema import EpochRecord
from robustfw.results._evaluation_fields import EvaluationFields
from robustfw.results._kind import ResultKind
from robustfw.results._material import ReportedRun
from robustfw.results._reading import (
    damage_error,
    parse_json,
    plain_file,
    read_json,
    structure_file,
)
from robustfw.results._words import abbreviate, printable, spell_value

if TYPE_CHECKING:
    pass


PARTS = ("dataset", "model", "uncertainty", "attack", "objective", "train")
"""Parts that the recipe of a training must have."""
ADOPTED_PARTS = ("dataset", "model")
"""Parts that the recipe of a net must have which was trained elsewhere."""


def read_run(
    path: Path,
    kinds: Mapping[str, ResultKind],
    notes: list[str],
    path_in_commands: str | None = None,
) -> ReportedRun:
    """A run directory with all its results, under the name of the directory.

    Args:
        path: the directory.
        kinds: the kinds of results by name.
        notes: is added to, where a result is there that is not shown.
        path_in_commands: how commands call the run, where these are not for the present directory.
    """
    manifest = _read_manifest(path)
    at_the_end: EvaluationFields | None = None
    if manifest.get("result") is not None:
        evaluation = structure_file(
            manifest["result"], cls=EvaluationFields, file=path / "manifest.json"
        )
        command = _evaluation_command(
            path_in_commands or str(path), manifest=manifest, evaluation=evaluation
        )
        at_the_end = attrs.evolve(evaluation, command=command)
    return ReportedRun(
        path=path,
        name=printable(path.resolve().name),
        net=None,
        mode="",
        seed=None,
        manifest=manifest,
        epochs=_read_epochs(path / "metrics.jsonl"),
        results=_read_results(path, kinds, notes),
        at_the_end=at_the_end,
    )


def _read_manifest(path: Path) -> dict[str, Any]:
    """The record of a training, with all that a report needs of it."""
    file = path / "manifest.json"
    if not file.exists() and not file.is_symlink():
        raise RunError(
            f"there is no run in {path}: name a directory that robustfw train, craft or reproduce made"
        )
    manifest = read_json(file)
    recipe = manifest.get("recipe")
    data = manifest.get("data")
    if (
        not isinstance(recipe, dict)
        or not isinstance(data, dict)
        or not isinstance(data.get("spec", {}), dict)
    ):
        raise RunError(
            f"{file} is not the manifest of a run: name a directory that robustfw train made"
        )
    is_adopted = isinstance(manifest.get("adopted"), dict)
    for part in ADOPTED_PARTS if is_adopted else PARTS:
        value = recipe.get(part)
        # an objective may be a list of a loss and penalties
        if part == "objective" and isinstance(value, list) and value:
            entries = value
        else:
            entries = [value]
        if not all(
            isinstance(entry, dict) and (part == "train" or "use" in entry)
            for entry in entries
        ):
            raise damage_error(file, f"the recipe's {part} is missing")
    return manifest


def _evaluation_command(
    path: str, manifest: Mapping[str, Any], evaluation: EvaluationFields
) -> str:
    """The command that measures what the end of the training did, without flags at their defaults.

    Args:
        path: how the command calls the run.
        manifest: the record of the training.
        evaluation: what was measured.
    """
    words = ["robustfw", "evaluate", printable(path)]
    if evaluation.uncertainty != spell_value(manifest["recipe"]["uncertainty"]):
        words += ["--uncertainty", abbreviate(evaluation.uncertainty, "uncertainty")]
    for attack in evaluation.attacks:
        words += ["--attack", abbreviate(attack)]
    if evaluation.split != "test":
        words += ["--split", evaluation.split]
    if evaluation.weights != "best":
        words += ["--weights", evaluation.weights]
    if evaluation.n != manifest["data"].get(evaluation.split):
        words += ["--examples", str(evaluation.n)]
    return shlex.join(words)


def _read_epochs(file: Path) -> tuple[EpochRecord, ...]:
    """The finished epochs; a last line that was cut off is none."""
    if not file.exists() and not file.is_symlink():
        return ()
    try:
        *finished_lines, _ = plain_file(file).read_bytes().split(b"\n")
        return tuple(
            structure_file(parse_json(line), EpochRecord, file)
            for line in finished_lines
        )
    except OSError as error:
        raise RunError(
            f"cannot read {file}: {error.strerror}; mend that, and try again"
        ) from error
    except ValueError as error:
        raise damage_error(file, f"a line is not JSON: {error}") from error


def _read_results(
    path: Path, kinds: Mapping[str, ResultKind], notes: list[str]
) -> tuple[Any, ...]:
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
            notes.append(
                f"{printable(str(file))} is not shown: this version knows no results of the kind {kind!r}."
            )
    return tuple(results)
