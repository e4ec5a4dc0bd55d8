"""The claims of Shaham, Yamada and Negahban (2015), section 5: what they report, and whether it is so here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self, final

import attrs

from robustfw import UsageError
from robustfw.reproduction import (
    POINTS,
    Claim,
    Judge,
    Judgement,
    Mean,
    Measurements,
    Part,
    paired_differences,
)
from robustfw_paper.verdicts import judge_above, judge_within

ABOUT_TWICE = (1.5, 2.5)
"""Ratios of training times that count as "about 2 times"."""

Figures = dict[str, float]
"""Accuracies in per cent by net."""


@final
@attrs.frozen
class PaperJudge(Judge):
    """The six claims of the paper, with its figures as the recipe's table ``claims`` gives them."""

    best: str
    """The net that the paper finds the best."""
    clean: Figures = attrs.field(factory=dict)
    """Accuracies that it reports on the test set."""
    transfer: Figures = attrs.field(factory=dict)
    """Accuracies that it reports on adversarial examples of the baseline."""
    table: str = ""
    """Where in the paper the figures stand."""

    source: ClassVar[str] = "paper"

    @classmethod
    def read(cls, claims: Mapping[str, Any]) -> Self:
        """The judge of a recipe.

        Args:
            claims: the recipe's table: ``best``, and by net ``clean`` and ``transfer``.

        Raises:
            UsageError: ``best`` is missing, or a key is unknown.
        """
        given = {key: value for key, value in claims.items() if key != "use"}
        known = [field.name for field in attrs.fields(cls)]
        unknown = [key for key in given if key not in known]
        if unknown:
            raise UsageError(
                f"claims has an unknown key {unknown[0]!r}; known: {', '.join(known)}"
            )
        if "best" not in given:
            raise UsageError(
                "claims lacks best: the name of the net that is said to be the best"
            )
        return cls(**given)

    def source_figures(self, quantity: str) -> Mapping[str, float]:
        """The paper's accuracies on the test set ("clean") or the transfer set ("transfer")."""
        return {"clean": self.clean, "transfer": self.transfer}[quantity]

    def judge(self, measurements: Measurements) -> Judgement:
        """All claims, in the order of the paper."""
        claims = (
            self._improves_clean_accuracy(measurements),
            self._reaches_transfer_accuracy(measurements),
            _improves_transfer_accuracy(measurements),
            _resists_new_attacks(measurements),
            self._ranks_best(measurements),
            _takes_twice_as_long(measurements),
        )
        verdicts = f"{measurements.mode}, {_sum_up(measurements, claims)}."
        return Judgement(claims, (verdicts, *_compare_controls(measurements)))

    def _improves_clean_accuracy(self, measured: Measurements) -> Claim:
        baseline = measured.plan.experiment.baseline
        gains, reported = {}, {}
        for net in measured.robust_nets():
            gains[net] = paired_differences(
                measured.clean(net), measured.clean(baseline)
            )
            if net in self.clean and baseline in self.clean:
                reported[net] = _format_signed(self.clean[net] - self.clean[baseline])
        return _claim(
            measured,
            "clean accuracy above the baseline's",
            gains,
            POINTS,
            judge_above,
            reported,
        )

    def _reaches_transfer_accuracy(self, measured: Measurements) -> Claim:
        parts = []
        for net in measured.robust_nets():
            if net in self.transfer:
                share, reported = (
                    Mean(tuple(measured.transfer(net))),
                    self.transfer[net],
                )
                parts.append(
                    Part(
                        measured.label(net),
                        f"{reported:.2f} %",
                        share,
                        judge_above(share, reported),
                    )
                )
        return Claim("transfer accuracy at or above the paper's", tuple(parts), " %")

    def _ranks_best(self, measured: Measurements) -> Claim:
        parts = []
        for where, accuracies, reported in (
            ("transfer set", measured.transfer, self.transfer),
            ("test set", measured.clean, self.clean),
        ):
            for net in measured.robust_nets():
                if net == self.best:
                    continue
                lead = paired_differences(accuracies(self.best), accuracies(net))
                known = net in reported and self.best in reported
                words = (
                    _format_signed(reported[self.best] - reported[net]) if known else ""
                )
                parts.append(
                    Part(
                        f"{where}, ahead of {measured.label(net)}",
                        words,
                        lead,
                        judge_above(lead),
                    )
                )
        return Claim(f"{measured.label(self.best)} the best", tuple(parts), POINTS)


def _improves_transfer_accuracy(measured: Measurements) -> Claim:
    baseline = measured.transfer(measured.plan.experiment.baseline)
    gains = {
        net: paired_differences(measured.transfer(net), baseline)
        for net in measured.robust_nets()
    }
    return _claim(
        measured, "transfer accuracy above the baseline's", gains, POINTS, judge_above
    )


def _resists_new_attacks(measured: Measurements) -> Claim:
    baseline = measured.under_new_attacks(measured.plan.experiment.baseline)
    gains = {
        net: paired_differences(measured.under_new_attacks(net), baseline)
        for net in measured.robust_nets()
    }
    text = "accuracy under the fast method, mean over the radii, above the baseline's"
    return _claim(measured, text, gains, POINTS, judge_above)


def _takes_twice_as_long(measured: Measurements) -> Claim:
    baseline = measured.seconds(measured.plan.experiment.baseline)
    ratios = {}
    for net in measured.robust_nets():
        ratios[net] = Mean(
            tuple(
                robust / plain
                for robust, plain in zip(measured.seconds(net), baseline, strict=True)
            )
        )
    reported = dict.fromkeys(ratios, "about 2 times")
    text = "training takes about twice the baseline's time"
    return _claim(
        measured,
        text,
        ratios,
        " times",
        lambda ratio: judge_within(ratio, *ABOUT_TWICE),
        reported,
    )


def _claim(
    measured: Measurements,
    text: str,
    means: Mapping[str, Mean],
    unit: str,
    decide: Callable[[Mean], str],
    reported: Mapping[str, str] | None = None,
) -> Claim:
    """A claim with a part for each net: its mean over the seeds, what the paper reports, and the verdict."""
    parts = []
    for net, mean in means.items():
        parts.append(
            Part(measured.label(net), (reported or {}).get(net, ""), mean, decide(mean))
        )
    return Claim(text, tuple(parts), unit)


def _format_signed(points: float) -> str:
    return f"{points:+.2f}{POINTS}"


def _sum_up(measured: Measurements, claims: tuple[Claim, ...]) -> str:
    """Which claims have which verdict, in a sentence."""
    if measured.plan.seeds == 1:
        return "no claim is decided by one seed: ask for --seeds 3 or more"
    decided: dict[str, list[str]] = {}
    for claim in claims:
        decided.setdefault(claim.verdict, []).append(claim.text)
    return "; ".join(
        f"{verdict}: {', '.join(texts)}" for verdict, texts in sorted(decided.items())
    )


def _compare_controls(measured: Measurements) -> list[str]:
    """What nets of this mode alone show: a part of the robust nets' gain in which robust training has no part."""
    experiment = measured.plan.experiment
    sentences = []
    for net in measured.nets():
        if net in experiment.nets:
            continue
        gains = []
        for accuracies in (measured.clean, measured.transfer):
            gain = paired_differences(accuracies(net), accuracies(experiment.baseline))
            gains.append(gain.spell(POINTS, sign=True))
        sentences.append(
            f"{measured.mode}: {measured.label(net)}, less the baseline: {gains[0]} on the test set, {gains[1]} on the "
            "transfer set."
        )
    return sentences
