"""What an experiment has measured, read from the results beside its runs: numbers by net and seed, and a table."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import attrs

from robustfw import results
from robustfw.errors import RunError
from robustfw.reproduction._judge import Judge
from robustfw.reproduction._plan import Plan
from robustfw.results._seed_means import Mean


@attrs.frozen
class Measurements:
    """What an experiment has measured in one of its modes; shares in per cent, one value for each seed."""

    plan: Plan
    mode: str
    folder: Path

    def nets(self) -> list[str]:
        """The nets of this mode, the baseline among them."""
        return self.plan.experiment.nets_of(self.mode)

    def robust_nets(self) -> list[str]:
        """The nets that all modes have, without the baseline."""
        return self.plan.experiment.robust_nets()

    def label(self, net: str) -> str:
        """The name of a net in tables."""
        return self.plan.experiment.labels.get(net, net)

    def clean(self, net: str) -> list[float]:
        """Accuracy on the test examples, of the evaluation with the most of them."""
        accuracies = []
        for seed in range(self.plan.seeds):
            evaluations = self._results(net, seed, "evaluation")
            accuracies.append(
                100 * max(evaluations, key=lambda each: each["n"])["clean_accuracy"]
            )
        return accuracies

    def robust(self, net: str) -> list[float]:
        """Accuracy under the last of the recipe's evaluations."""
        examples = self.plan.examples(self.plan.experiment.evaluations[-1].examples)
        return [
            100
            * min(
                each["robust_accuracy"]
                for each in self._results(net, seed, "evaluation")
                if _is(each, examples)
            )
            for seed in range(self.plan.seeds)
        ]

    def transfer(self, net: str) -> list[float]:
        """Accuracy on the collection of each seed's baseline, of the net of another seed; of its own if there is one.

        Nets of one seed begin at the same weights and see the same batches, so that they share more mistakes than
        nets that were trained apart.
        """
        return [
            100 * self._transfer_result(net, self.plan.another(seed), seed)["accuracy"]
            for seed in range(self.plan.seeds)
        ]

    def transfer_within_a_seed(self, net: str) -> list[float]:
        """Accuracy on the collection of each seed's baseline, of the net of the same seed."""
        return [
            100 * self._transfer_result(net, seed, seed)["accuracy"]
            for seed in range(self.plan.seeds)
        ]

    def count_collected(self) -> list[int]:
        """How many adversarial examples each seed's collection has."""
        source = self.plan.experiment.transfer.source
        paths = []
        for seed in range(self.plan.seeds):
            paths.append(self.plan.collection(self.mode, source, seed))
        return [
            json.loads((self.folder / path / "manifest.json").read_bytes())["n"]
            for path in paths
        ]

    def under_new_attacks(self, net: str) -> list[float]:
        """The mean accuracy over the radii of the sweep by which the claim is decided."""
        return [
            100 * statistics.fmean(self._deciding_sweep(net, seed)["accuracy"][1:])
            for seed in range(self.plan.seeds)
        ]

    def seconds(self, net: str) -> list[float]:
        """The median time of an epoch."""
        times = []
        for seed in range(self.plan.seeds):
            lines = (
                (self.folder / self.plan.run(self.mode, net, seed) / "metrics.jsonl")
                .read_text()
                .splitlines()
            )
            times.append(
                statistics.median(json.loads(line)["seconds"] for line in lines)
            )
        return times

    def _deciding_sweep(self, net: str, seed: int) -> dict[str, Any]:
        sweep = next(each for each in self.plan.experiment.sweeps if each.claim)
        for each in self._results(net, seed, "sweep"):
            if (
                each["radii"] == list(sweep.radii)
                and each["independent"] == sweep.independent
            ):
                return each
        raise self._missing_error(net, seed, "sweep")

    def _transfer_result(self, net: str, seed: int, crafted: int) -> dict[str, Any]:
        source = self.plan.collection(
            self.mode, self.plan.experiment.transfer.source, crafted
        )
        for each in self._results(net, seed, "transfer"):
            if each["collection"] == source:
                return each
        raise self._missing_error(net, seed, "transfer")

    def _results(self, net: str, seed: int, kind: str) -> list[dict[str, Any]]:
        kept = results.load_results(
            self.folder / self.plan.run(self.mode, net, seed), [kind]
        )
        if not kept:
            raise self._missing_error(net, seed, kind)
        return kept

    def _missing_error(self, net: str, seed: int, kind: str) -> RunError:
        run = self.folder / self.plan.run(self.mode, net, seed)
        return RunError(
            f"there is no {kind} result beside {run}: run robustfw reproduce again to make it"
        )

    def table(self, judge: Judge | None = None) -> dict[str, Any]:
        """A row for each net: mean ± interval over the seeds, beside what the judge's source reports.

        Args:
            judge: gives figures that were reported elsewhere; None: there are none.

        Returns:
            Title, columns, rows and note, as JSON takes them.
        """
        experiment = self.plan.experiment
        asked = experiment.evaluations[-1]
        several_seeds = self.plan.seeds > 1
        quantities = {"clean": self.clean, "transfer": self.transfer}
        columns = ["net"]
        rows = [[self.label(net)] for net in self.nets()]

        # 1. the quantities that may have been reported elsewhere
        for quantity, measure in quantities.items():
            if judge is None:
                columns.append(quantity)
            else:
                columns.append(f"{quantity}, {judge.source}")
                columns.append(f"{quantity}, ours")
                reported = judge.source_figures(quantity)
            for net, row in zip(self.nets(), rows, strict=True):
                if judge is not None:
                    row.append(_per_cent(reported.get(net)))
                row.append(_mean(measure(net)))

        # 2. what is measured here alone
        if several_seeds:
            columns.append("transfer, same seed")
        columns.append(f"under {', '.join(asked.attacks)}, {asked.uncertainty}")
        columns.append("seconds per epoch")
        for net, row in zip(self.nets(), rows, strict=True):
            if several_seeds:
                row.append(_mean(self.transfer_within_a_seed(net)))
            row.append(_mean(self.robust(net), digits=1))
            row.append(_mean(self.seconds(net), " s", 1))

        about = experiment.modes[self.mode].about
        return {
            "title": f"{self.mode}: {about}",
            "columns": columns,
            "rows": rows,
            "note": self._note(),
        }

    def summary(self) -> list[str]:
        """Accuracies of all nets of the mode, in two sentences."""
        whose = "a baseline of another seed" if self.plan.seeds > 1 else "the baseline"
        sentences = []
        for where, measure in (
            ("the test set", self.clean),
            (f"adversarial examples of {whose}", self.transfer),
        ):
            accuracies = []
            for net in self.nets():
                accuracies.append(f"{self.label(net)} {_mean(measure(net))}")
            sentences.append(
                f"{self.mode}, accuracy on {where}: {', '.join(accuracies)}."
            )
        return sentences

    def _note(self) -> str:
        counts = self.count_collected()
        if len(counts) == 1:
            return (
                f"One seed, budget {self.plan.budget}. Transfer: accuracy on {counts[0]:,} adversarial examples, of "
                "nets of the same seed, which began at the same weights as the baseline: ask for more --seeds."
            )
        return (
            f"{len(counts)} seeds, mean ± 95 % interval (Student's t); budget {self.plan.budget}. Transfer: accuracy "
            f"on {min(counts):,} to {max(counts):,} adversarial examples for each seed, of nets of another seed than "
            "the baseline that they were crafted against; nets of the same seed, which began at the same weights, on "
            "their own."
        )


def _mean(values: list[float], unit: str = " %", digits: int = 2) -> str:
    return Mean(tuple(values)).spell(unit, digits)


def _is(result: dict[str, Any], examples: int | None) -> bool:
    return examples is None or result["n"] == examples


def _per_cent(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.2f} %"
