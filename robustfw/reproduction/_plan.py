"""The plan of an experiment: commands, what each needs, and how to tell that it is done."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import attrs

from robustfw import results
from robustfw.reproduction._experiment import KINDS, Experiment
from robustfw.storage.files import read_json


@attrs.frozen
class Job:
    """One command of robustfw, run in the folder of the experiment."""

    arguments: tuple[str, ...]
    makes: Literal["run", "collection", "result"]
    at: str
    """The directory that it makes, or beside which it leaves its result."""
    needs: tuple[str, ...] = ()
    """Directories that other jobs make."""
    cost: float = 1.0
    """Relative to a measurement, for the bar."""

    @property
    def command(self) -> str:
        """As one would type it there."""
        return shlex.join(["robustfw", *self.arguments])

    def done(self, folder: Path) -> bool:
        """Whether what it makes is there."""
        if self.makes == "run":
            return is_finished(folder / self.at)
        if self.makes == "collection":
            return (folder / self.at / "manifest.json").exists()
        return any(
            result["command"] == self.command
            for result in results.load_results(folder / self.at)
        )


def is_finished(run: Path) -> bool:
    """Whether a training came to its end and was evaluated."""
    try:
        manifest = read_json(run / "manifest.json")
    except (OSError, ValueError):
        return False
    return isinstance(manifest, dict) and "result" in manifest


@attrs.frozen
class Plan:
    """Which modes, seeds and budget of an experiment."""

    experiment: Experiment
    modes: tuple[str, ...]
    budget: str
    seeds: int
    data_dir: str | None = None

    @staticmethod
    def run(mode: str, net: str, seed: int) -> str:
        """The directory of a training."""
        return f"runs/{mode}-{net}-{seed}"

    @staticmethod
    def collection(mode: str, net: str, seed: int) -> str:
        """The directory of a collection crafted against a net."""
        return f"transfer/{mode}-{net}-{seed}"

    def examples(self, stated: int | None) -> int | None:
        """The number of examples of a measurement that states ``stated`` (None: all), within the plan's budget."""
        return self.experiment.budgets[self.budget].examples(stated)

    def another(self, seed: int) -> int:
        """The seed whose nets are shown a collection of this one: they began at other weights than its victim."""
        return (seed + 1) % self.seeds

    def jobs(self) -> list[Job]:
        """All of them; what a job needs comes before it."""
        return [
            *self._each(self._trainings),
            *self._each(self._collections),
            *self._each(self._measurements),
        ]

    def _each(self, jobs: Callable[[str, int], Iterator[Job]]) -> Iterator[Job]:
        for seed in range(self.seeds):
            for mode in self.modes:
                yield from jobs(mode, seed)

    def _trainings(self, mode: str, seed: int) -> Iterator[Job]:
        for net in self.experiment.nets_of(mode):
            parts, out = (
                self.experiment.parts(mode, net, self.budget),
                self.run(mode, net, seed),
            )
            specs = [
                (kind, spec)
                for kind in KINDS
                if kind in parts
                for spec in _to_list(parts[kind])
            ]
            flags = [f for kind, spec in specs for f in (f"--{kind}", str(spec))]
            train = parts["train"] | {"seed": seed}
            flags += [
                f
                for key, value in train.items()
                for f in ("--" + key.replace("_", "-"), str(value))
            ]
            arguments = ["train", *flags, *self._data(), "--resume", "--out", out]
            yield Job(
                arguments=tuple(arguments),
                makes="run",
                at=out,
                cost=3.0 * float(train.get("epochs", 20)),
            )

    def _collections(self, mode: str, seed: int) -> Iterator[Job]:
        transfer = self.experiment.transfer
        for net in self.experiment.nets_of(mode) if seed == 0 else [transfer.source]:
            source, out = self.run(mode, net, seed), self.collection(mode, net, seed)
            sets = [
                flag
                for spec in transfer.uncertainties
                for flag in ("--uncertainty", spec)
            ]
            first = [] if net == transfer.source else self._first(transfer.others)
            arguments = [
                "craft",
                source,
                *sets,
                "--attack",
                transfer.attack,
                *first,
                *self._subject(),
                "--out",
                out,
            ]
            yield Job(tuple(arguments), "collection", out, needs=(source,))

    def _measurements(self, mode: str, seed: int) -> Iterator[Job]:
        experiment = self.experiment
        baseline = self.run(mode, experiment.baseline, seed)
        for net in experiment.nets_of(mode):
            run = self.run(mode, net, seed)
            yield from self._evaluations(run)
            yield from self._sweeps(run)
            collection = self.collection(mode, experiment.transfer.source, seed)
            yield self._transfer_job(run, collection)
            if self.seeds > 1:
                yield self._transfer_job(
                    self.run(mode, net, self.another(seed)), collection
                )
            if net != experiment.baseline and seed == 0:
                yield self._comparison_job(baseline, run)
        if seed == 0:
            yield from self._matrix(mode)
            yield from self._audits(mode)

    def _evaluations(self, run: str) -> Iterator[Job]:
        for each in self.experiment.evaluations:
            attacks = [flag for spec in each.attacks for flag in ("--attack", spec)]
            arguments = [
                "evaluate",
                run,
                "--uncertainty",
                each.uncertainty,
                *attacks,
                *self._first(each.examples),
            ]
            yield Job(
                arguments=(*arguments, *self._subject()),
                makes="result",
                at=run,
                needs=(run,),
                cost=2.0,
            )

    def _sweeps(self, run: str) -> Iterator[Job]:
        for each in self.experiment.sweeps:
            radii = ",".join(f"{radius:g}" for radius in each.radii)
            flags = ["--independent"] if each.independent else []
            arguments = [
                "sweep",
                run,
                "--uncertainty",
                each.uncertainty,
                "--attack",
                each.attack,
                "--radii",
                radii,
            ]
            arguments += [*flags, *self._first(each.examples), *self._subject()]
            yield Job(tuple(arguments), "result", run, needs=(run,), cost=3.0)

    def _comparison_job(self, baseline: str, run: str) -> Job:
        how = self.experiment.comparison
        arguments = (
            "compare",
            baseline,
            run,
            "--attack",
            how.attack,
            *self._first(how.examples),
            *self._subject(),
        )
        return Job(arguments, "result", baseline, needs=(baseline, run), cost=2.0)

    def _matrix(self, mode: str) -> Iterator[Job]:
        nets = self.experiment.nets_of(mode)
        for source in nets:
            for net in nets:
                if (
                    source != self.experiment.transfer.source
                ):  # that column is measured for every seed
                    yield self._transfer_job(
                        self.run(mode, net, 0), self.collection(mode, source, 0)
                    )

    def _audits(self, mode: str) -> Iterator[Job]:
        options = self.experiment.audit
        flags = [
            f
            for key, value in options.items()
            if key != "examples"
            for f in (f"--{key}", str(value))
        ]
        flags += self._first(options.get("examples"))
        for net in self.experiment.nets_of(mode) if options else ():
            run = self.run(mode, net, 0)
            yield Job(
                arguments=("audit", run, *flags, *self._subject()),
                makes="result",
                at=run,
                needs=(run,),
                cost=3.0,
            )

    def _transfer_job(self, run: str, collection: str) -> Job:
        arguments = ("evaluate", run, "--on", collection, *self._subject())
        return Job(arguments, "result", run, needs=(run, collection))

    def _subject(self) -> list[str]:
        return [
            *(
                []
                if self.experiment.weights == "best"
                else ["--weights", self.experiment.weights]
            ),
            *self._data(),
        ]

    def _data(self) -> list[str]:
        if self.data_dir is None:
            return []
        return ["--data-dir", self.data_dir]

    def _first(self, examples: int | None) -> list[str]:
        examples = self.examples(examples)
        if examples is None:
            return []
        return ["--examples", str(examples)]


def _to_list(part: Any) -> list[Any]:
    """The specs of a part: one, or several where they are a sum."""
    return part if isinstance(part, list) else [part]
