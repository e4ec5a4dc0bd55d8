"""The claims of the paper: for each net what was measured, against what the paper says, with a verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs

from robustfw.reproduction._findings import Findings
from robustfw.reproduction._verdicts import UNDECIDED, above, all_of, within
from robustfw.results._seed_means import Mean, paired_differences

POINTS = " points"
"""The unit of differences."""
ABOUT_TWICE = (1.5, 2.5)
"""What counts as "about 2 times" the baseline's time."""


@attrs.frozen
class Part:
    """One quantity that a claim is about."""

    of: str
    """Of which net, or of which pair."""
    paper: str
    ours: Mean
    verdict: str


@attrs.frozen
class Claim:
    """What must be so for each of its parts."""

    text: str
    parts: tuple[Part, ...]
    unit: str

    @property
    def verdict(self) -> str:
        """One part that fails refutes it, one that is open leaves it open; so does having no part."""
        return all_of([part.verdict for part in self.parts]) if self.parts else UNDECIDED

    def rows(self, mode: str) -> list[dict[str, str]]:
        """The claim, then its parts."""
        parts = [
            {
                "net": part.of,
                "paper": part.paper,
                "ours": part.ours.spelled(self.unit, sign=self.unit == POINTS),
                "verdict": part.verdict,
            }
            for part in self.parts
        ]
        whole = {"net": "", "paper": "", "ours": "", "verdict": self.verdict}
        return [{"mode": mode, "claim": self.text} | row for row in [whole, *parts]]


def claims(found: Findings) -> list[Claim]:
    """All of them, in the order of the paper."""
    return [claim(found) for claim in (_improves, _reaches, _transfers, _harder, _best, _costs)]


def controls(found: Findings) -> list[str]:
    """What nets of this mode alone show: a part of the robust nets' gain that robust training has no part in."""
    experiment, base = found.plan.experiment, found.plan.experiment.baseline
    sentences = []
    for net in found.nets():
        if net not in experiment.nets:
            clean = paired_differences(found.clean(net), found.clean(base)).spelled(POINTS, sign=True)
            shown = paired_differences(found.transfer(net), found.transfer(base)).spelled(POINTS, sign=True)
            sentences.append(
                f"{found.mode}: {found.label(net)}, less the baseline: {clean} on the test set, {shown} on the "
                "transfer set."
            )
    return sentences


def summary(found: Findings) -> list[str]:
    """The numbers and the verdicts of a mode in a few sentences."""
    clean, transfer = (
        ", ".join(f"{found.label(net)} {Mean(tuple(measured(net))).spelled()}" for net in found.nets())
        for measured in (found.clean, found.transfer)
    )
    whose = "a baseline of another seed" if found.plan.seeds > 1 else "the baseline"
    return [
        f"{found.mode}, accuracy on the test set: {clean}.",
        f"{found.mode}, accuracy on adversarial examples of {whose}: {transfer}.",
        f"{found.mode}, {_verdicts(found)}.",
        *controls(found),
    ]


def _verdicts(found: Findings) -> str:
    if found.plan.seeds == 1:
        return "no claim is decided by one seed: ask for --seeds 3 or more"
    decided: dict[str, list[str]] = {}
    for claim in claims(found):
        decided.setdefault(claim.verdict, []).append(claim.text)
    return "; ".join(f"{verdict}: {', '.join(texts)}" for verdict, texts in sorted(decided.items()))


def _improves(found: Findings) -> Claim:
    base, paper = found.plan.experiment.baseline, found.plan.experiment.paper.clean
    gains = {net: paired_differences(found.clean(net), found.clean(base)) for net in found.robust_nets()}
    said = {net: paper[net] - paper[base] for net in gains if {net, base} <= paper.keys()}
    return _of_nets(found, "clean accuracy above the baseline's", gains, _signed(said), POINTS, above)


def _reaches(found: Findings) -> Claim:
    paper = found.plan.experiment.paper.transfer
    shares = {net: Mean(tuple(found.transfer(net))) for net in found.robust_nets() if net in paper}
    parts = tuple(
        Part(found.label(net), f"{paper[net]:.2f} %", share, above(share, paper[net])) for net, share in shares.items()
    )
    return Claim("transfer accuracy at or above the paper's", parts, " %")


def _transfers(found: Findings) -> Claim:
    base = found.transfer(found.plan.experiment.baseline)
    gains = {net: paired_differences(found.transfer(net), base) for net in found.robust_nets()}
    return _of_nets(found, "transfer accuracy above the baseline's", gains, {}, POINTS, above)


def _harder(found: Findings) -> Claim:
    base = found.under_new_attacks(found.plan.experiment.baseline)
    gains = {net: paired_differences(found.under_new_attacks(net), base) for net in found.robust_nets()}
    text = "accuracy under the fast method, mean over the radii, above the baseline's"
    return _of_nets(found, text, gains, {}, POINTS, above)


def _best(found: Findings) -> Claim:
    paper = found.plan.experiment.paper
    parts = []
    for where, measured, said in (
        ("transfer set", found.transfer, paper.transfer),
        ("test set", found.clean, paper.clean),
    ):
        for net in found.robust_nets():
            if net != paper.best:
                lead = paired_differences(measured(paper.best), measured(net))
                words = _signed({net: said[paper.best] - said[net]} if {net, paper.best} <= said.keys() else {})
                of = f"{where}, ahead of {found.label(net)}"
                parts.append(Part(of, words.get(net, ""), lead, above(lead)))
    return Claim(f"{found.label(paper.best)} the best", tuple(parts), POINTS)


def _costs(found: Findings) -> Claim:
    base = found.seconds(found.plan.experiment.baseline)
    ratios = {
        net: Mean(tuple(a / b for a, b in zip(found.seconds(net), base, strict=True))) for net in found.robust_nets()
    }
    said = dict.fromkeys(ratios, "about 2 times")
    text = "training takes about twice the baseline's time"
    return _of_nets(found, text, ratios, said, " times", lambda ratio: within(ratio, *ABOUT_TWICE))


def _of_nets(
    found: Findings,
    text: str,
    means: Mapping[str, Mean],
    paper: Mapping[str, str],
    unit: str,
    judged: Callable[[Mean], str],
) -> Claim:
    parts = (Part(found.label(net), paper.get(net, ""), mean, judged(mean)) for net, mean in means.items())
    return Claim(text, tuple(parts), unit)


def _signed(points: Mapping[str, float]) -> dict[str, str]:
    return {net: f"{value:+.2f}{POINTS}" for net, value in points.items()}
