"""From the results beside the runs to the tables and verdicts of an experiment."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import attrs

from robustfw import results
from robustfw.errors import RunError
from robustfw.reproduction.plan import Plan
from robustfw.reproduction.verdicts import CONFIRMED, above, all_of, within
from robustfw.seeds import Mean, minus

ABOUT_TWICE = (1.5, 2.5)
"""What counts as "about 2 times" the baseline's time."""


@attrs.frozen
class Findings:
    """What a plan has measured in one of its modes; shares in per cent, one value for each seed."""

    plan: Plan
    mode: str
    folder: Path

    def clean(self, net: str) -> list[float]:
        """Accuracy on the test examples, of the evaluation with the most of them."""
        found = []
        for seed in range(self.plan.seeds):
            evaluations = self._results(net, seed, "evaluation")
            found.append(100 * max(evaluations, key=lambda each: each["n"])["clean_accuracy"])
        return found

    def robust(self, net: str) -> list[float]:
        """Accuracy under the last of the recipe's evaluations."""
        examples = self.plan.examples(self.plan.experiment.evaluations[-1].examples)
        return [
            100 * min(each["robust_accuracy"] for each in self._results(net, seed, "evaluation") if _is(each, examples))
            for seed in range(self.plan.seeds)
        ]

    def transfer(self, net: str) -> list[float]:
        """Accuracy on the collection that was crafted against the source of the same seed."""
        return [100 * self._shown(net, seed, seed)["accuracy"] for seed in range(self.plan.seeds)]

    def transfer_of_another_baseline(self) -> list[float]:
        """Of the baseline of the next seed, on the collection of each seed; what no robust training brings."""
        seeds, baseline = self.plan.seeds, self.plan.experiment.baseline
        if seeds < 2:
            return []
        return [100 * self._shown(baseline, (seed + 1) % seeds, seed)["accuracy"] for seed in range(seeds)]

    def collected(self) -> list[int]:
        """How many adversarial examples each seed's collection has."""
        source = self.plan.experiment.transfer.source
        paths = [self.plan.collection(self.mode, source, seed) for seed in range(self.plan.seeds)]
        return [json.loads((self.folder / path / "manifest.json").read_bytes())["n"] for path in paths]

    def under_new_attacks(self, net: str) -> list[float]:
        """The mean accuracy over the radii of the sweep by which the claim is decided."""
        return [100 * statistics.fmean(self._claimed(net, seed)["accuracy"][1:]) for seed in range(self.plan.seeds)]

    def seconds(self, net: str) -> list[float]:
        """The median time of an epoch."""
        times = []
        for seed in range(self.plan.seeds):
            lines = (self.folder / self.plan.run(self.mode, net, seed) / "metrics.jsonl").read_text().splitlines()
            times.append(statistics.median(json.loads(line)["seconds"] for line in lines))
        return times

    def _claimed(self, net: str, seed: int) -> dict[str, Any]:
        sweep = next(each for each in self.plan.experiment.sweeps if each.claim)
        for each in self._results(net, seed, "sweep"):
            if each["radii"] == list(sweep.radii) and each["independent"] == sweep.independent:
                return each
        raise self._missing(net, seed, "sweep")

    def _shown(self, net: str, seed: int, crafted: int) -> dict[str, Any]:
        source = self.plan.collection(self.mode, self.plan.experiment.transfer.source, crafted)
        for each in self._results(net, seed, "transfer"):
            if each["collection"] == source:
                return each
        raise self._missing(net, seed, "transfer")

    def _results(self, net: str, seed: int, kind: str) -> list[dict[str, Any]]:
        found = results.kept(self.folder / self.plan.run(self.mode, net, seed), [kind])
        if not found:
            raise self._missing(net, seed, kind)
        return found

    def _missing(self, net: str, seed: int, kind: str) -> RunError:
        run = self.folder / self.plan.run(self.mode, net, seed)
        return RunError(f"there is no {kind} result beside {run}: run robustfw reproduce again to make it")

    def table(self) -> dict[str, Any]:
        """Table 1: the paper's numbers, and ours as mean ± interval over the seeds."""
        experiment, paper = self.plan.experiment, self.plan.experiment.paper
        rows = [
            [
                experiment.labels.get(net, net),
                _per_cent(paper.clean.get(net)), Mean(tuple(self.clean(net))).spelled(),
                _per_cent(paper.transfer.get(net)), Mean(tuple(self.transfer(net))).spelled(),
                Mean(tuple(self.robust(net))).spelled(digits=1), Mean(tuple(self.seconds(net))).spelled(" s", 1),
            ]
            for net in experiment.nets_of(self.mode)
        ]  # fmt: skip
        if self.plan.seeds > 1:
            other = Mean(tuple(self.transfer_of_another_baseline())).spelled()
            rows.append([f"{experiment.labels.get(experiment.baseline)} of another seed", "", "", "", other, "", ""])
        counts = self.collected()
        asked = experiment.evaluations[-1]
        columns = ["net", "clean, paper", "clean, ours", "transfer, paper", "transfer, ours"]
        columns += [f"under {', '.join(asked.attacks)}, {asked.uncertainty}", "seconds per epoch"]
        return {
            "title": f"{self.mode}: {experiment.modes[self.mode].about}",
            "columns": columns,
            "rows": rows,
            "note": f"{self.plan.seeds} seeds, mean ± 95 % interval (Student's t); transfer: "
            f"{min(counts)} to {max(counts)} adversarial examples for each seed, crafted against its baseline; "
            f"budget {self.plan.budget}",
        }

    def claims(self) -> list[dict[str, str]]:
        """The claims of the paper, each with its verdict."""
        return [self._improves(), self._transfers(), self._harder(), self._best(), self._costs()]

    def controls(self) -> list[str]:
        """What nets of this mode alone show: a part of the robust nets' gain that robust training has no part in."""
        experiment, base = self.plan.experiment, self.plan.experiment.baseline
        sentences = []
        for net in experiment.nets_of(self.mode):
            if net not in experiment.nets:
                clean = minus(self.clean(net), self.clean(base)).spelled(" points")
                other = self.transfer_of_another_baseline()
                shown = minus(self.transfer(net), other).spelled(" points") if other else "one seed cannot say"
                sentences.append(
                    f"{self.mode}: {experiment.labels.get(net, net)}, less the baseline: {clean} on the test set; on "
                    f"the transfer set, less a baseline of another seed: {shown}."
                )
        return sentences

    def _improves(self) -> dict[str, str]:
        base = self.clean(self.plan.experiment.baseline)
        gains = {net: minus(self.clean(net), base) for net in self.plan.experiment.robust_nets()}
        return self._claim(
            "each robust net is more accurate than the baseline on the test set",
            self._told(gains, " points"), all_of([above(gain) for gain in gains.values()]),
        )  # fmt: skip

    def _transfers(self) -> dict[str, str]:
        other, nets = self.transfer_of_another_baseline(), self.plan.experiment.robust_nets()
        if not other:
            shares = {net: Mean(tuple(self.transfer(net))) for net in nets}
            return self._claim(
                "robust nets withstand adversarial examples of the baseline", self._told(shares, " %"), "undecided"
            )
        gains = {net: minus(self.transfer(net), other) for net in nets}
        return self._claim(
            "robust nets withstand adversarial examples of the baseline, better than a baseline of another seed",
            self._told(gains, " points more"), all_of([above(gain) for gain in gains.values()]),
        )  # fmt: skip

    def _harder(self) -> dict[str, str]:
        base = self.under_new_attacks(self.plan.experiment.baseline)
        gains = {net: minus(self.under_new_attacks(net), base) for net in self.plan.experiment.robust_nets()}
        return self._claim(
            "new adversarial examples are harder to craft against robust nets (fast method, mean over the radii)",
            self._told(gains, " points"), all_of([above(gain) for gain in gains.values()]),
        )  # fmt: skip

    def _best(self) -> dict[str, str]:
        best = self.plan.experiment.paper.best
        others = [net for net in self.plan.experiment.robust_nets() if net != best]
        leads = {net: minus(self.transfer(best), self.transfer(net)) for net in others}
        clean = {net: minus(self.clean(best), self.clean(net)) for net in others}
        verdict = all_of([above(lead) for lead in [*leads.values(), *clean.values()]])
        label = self.plan.experiment.labels.get(best, best)
        told = f"lead in transfer {self._told(leads, ' points')}; on the test set {self._told(clean, ' points')}"
        return self._claim(f"{label} is the best, on the test set and on the transfer set", told, verdict)

    def _costs(self) -> dict[str, str]:
        base = self.seconds(self.plan.experiment.baseline)
        ratios = {
            net: Mean(tuple(a / b for a, b in zip(self.seconds(net), base, strict=True)))
            for net in self.plan.experiment.robust_nets()
        }
        verdicts = [within(ratio, *ABOUT_TWICE) for ratio in ratios.values()]
        verdict = all_of(verdicts)
        return self._claim(
            "robust training takes about twice the baseline's time", self._told(ratios, " times"), verdict
        )

    def _told(self, means: dict[str, Mean], unit: str) -> str:
        labels = self.plan.experiment.labels
        return "; ".join(f"{labels.get(net, net)} {mean.spelled(unit)}" for net, mean in means.items())

    def _claim(self, claim: str, ours: str, verdict: str) -> dict[str, str]:
        why = "the intervals decide" if verdict in (CONFIRMED, "not confirmed") else "the intervals leave it open"
        return {"claim": f"{self.mode}: {claim}", "paper": "yes", "ours": ours, "verdict": verdict, "why": why}


def _is(result: dict[str, Any], examples: int | None) -> bool:
    return examples is None or result["n"] == examples


def _per_cent(value: float | None) -> str:
    return "" if value is None else f"{value:.2f} %"
