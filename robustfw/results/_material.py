"""What a report is made of: runs with their results, transfer collections, a reproduction."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from robustfw.results._evaluation_fields import EvaluationFields
from robustfw.results._kind import ResultKind

if TYPE_CHECKING:
    from robustfw.report._schema import CollectionManifest, EpochRecord, Reproduction

Fields = TypeVar("Fields")


@attrs.frozen(eq=False)
class ReportedRun:
    """A run directory, read."""

    path: Path
    """The run directory."""
    name: str
    """What the run is called in the report; no two runs have the same name."""
    net: str | None
    """The label of its net, where a reproduction gives one: the runs of a net differ in their seeds."""
    mode: str
    """The mode of the reproduction that the net was trained in, where there are several; each has its own figures."""
    seed: int | None
    """The seed of its net, where a reproduction tells."""
    manifest: Mapping[str, Any]
    """The record of the training, ``manifest.json``."""
    epochs: tuple[EpochRecord, ...]
    results: tuple[Any, ...]
    """Objects of the classes that the kinds of results have as their ``fields``."""
    at_the_end: EvaluationFields | None
    """What the training itself measured when it was done."""

    @property
    def is_adopted(self) -> bool:
        """Whether the net was trained elsewhere, so that there is no training to report."""
        return isinstance(self.manifest.get("adopted"), dict)

    @property
    def group(self) -> str:
        """The name of its net with the mode; its own name where it has no net."""
        return ", ".join(part for part in (self.line, self.mode) if part)

    @property
    def line(self) -> str:
        """The name of its net, which several seeds share in a figure; its own name where it has no net."""
        return self.net or self.name

    @property
    def labels(self) -> tuple[str, ...] | None:
        """Names of the classes; None where the data has none."""
        labels = self.manifest.get("data", {}).get("spec", {}).get("labels")
        if isinstance(labels, list):
            return tuple(str(label) for label in labels)
        return None

    def label(self, number: int) -> str:
        """The name of a class; its number where it has no name."""
        if self.labels and 0 <= number < len(self.labels):
            return self.labels[number]
        return str(number)

    def results_of(self, fields: type[Fields]) -> list[Fields]:
        """The results of the run that are objects of a class."""
        return [result for result in self.results if isinstance(result, fields)]

    def evaluations(self) -> list[EvaluationFields]:
        """All evaluations of the run; first the one at the end of the training, if there is one."""
        later = self.results_of(EvaluationFields)
        if self.at_the_end:
            return [self.at_the_end, *later]
        return later


@attrs.frozen(eq=False)
class ReportedCollection:
    """A transfer collection; its tensors are read when they are drawn."""

    path: Path
    """The directory of the collection."""
    name: str
    """What the collection is called in the report."""
    manifest: CollectionManifest
    """The record of how it was crafted, ``manifest.json``."""
    labels: tuple[str, ...] | None
    """Names of the classes."""

    @property
    def tensors(self) -> Path:
        """The file of the adversarial examples."""
        return self.path / "examples.safetensors"


@attrs.frozen(eq=False)
class Material:
    """All that a report is made of."""

    runs: tuple[ReportedRun, ...]
    collections: tuple[ReportedCollection, ...]
    reproduction: Reproduction | None
    notes: tuple[str, ...]
    """Sentences on what is there and is not shown."""
    kinds: tuple[ResultKind, ...] = ()
    """The kinds of results that are known, by their places."""

    def pairs(self, fields: type[Fields]) -> list[tuple[ReportedRun, Fields]]:
        """Each result of a class, with the run that it lies beside."""
        return [(run, result) for run in self.runs for result in run.results_of(fields)]

    def group_by_mode(self) -> dict[str, list[ReportedRun]]:
        """The runs of each mode, which are drawn together; those without a mode under the empty text."""
        modes: dict[str, list[ReportedRun]] = {}
        for run in self.runs:
            modes.setdefault(run.mode, []).append(run)
        return modes

    def name_of(self, path: str) -> str:
        """The name of the run at a path that a result gives; its last part where it is none of ours."""
        run_at = {run.path.resolve(): run for run in self.runs}
        folders = [Path()]
        for run in self.runs:
            folders += bases(run.path)
        for folder in folders:
            place = (folder / path).resolve()
            if place in run_at:
                return run_at[place].name
        last = Path(path).name
        namesakes = [run for run in self.runs if run.path.name == last]
        if len(namesakes) == 1:
            return namesakes[0].name
        return last or path


def bases(run: Path) -> list[Path]:
    """Folders that a path in a run's result may be relative to: the results, the run, or what the run lies in."""
    return [run / "results", run, *run.resolve().parents[:2]]
