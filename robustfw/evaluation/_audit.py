"""The masking checklist (Athalye et al. 2018; Carlini et al. 2019): does a robust accuracy deserve belief?

An attack gives an upper bound of robust accuracy, and a blind attack a useless one. Each line is something that is
true of a net whose gradients lead somewhere, and false of most that hide them. To pass is no certificate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

import attrs
from torch import nn

from robustfw import losses
from robustfw.data.splits import Split
from robustfw.errors import DataError
from robustfw.evaluation import _contests as contests
from robustfw.evaluation import _probes as probes
from robustfw.evaluation import _transferred as transferred
from robustfw.evaluation._checklist import (
    ADVICE,
    Attacks,
    AuditCase,
    Line,
    TransferExamples,
)
from robustfw.evaluation._verdicts import Verdicts
from robustfw.evaluation._views import html_table
from robustfw.inner.threat import Threat
from robustfw.task import Classification, Task

__all__ = ["ADVICE", "Attacks", "Audit", "Line", "TransferExamples", "audit", "lines"]

CHECKS: tuple[Callable[[AuditCase, Verdicts], Line], ...] = (
    contests.one_step,
    contests.twice_the_steps,
    contests.restarts,
    contests.large_radius,
    contests.noise,
    transferred.transfer,
    probes.gradients_not_zero,
    probes.deterministic,
    probes.logits,
    probes.true_gradients,
)


@attrs.frozen
class Audit:
    """All lines of the masking checklist, and whether the robust accuracy deserves belief."""

    n: int
    """Examples that were tried."""
    lines: tuple[Line, ...]
    """The lines, in the order of `CHECKS`."""

    @classmethod
    def from_lines(cls, n: int, lines: Iterable[Line]) -> Audit:
        """An audit from its lines, and the number of examples that were tried."""
        return cls(n, tuple(lines))

    @property
    def failed(self) -> tuple[Line, ...]:
        """The lines that speak against the robust accuracy."""
        return tuple(line for line in self.lines if line.verdict == "failed")

    @property
    def verdict(self) -> Literal["sound", "suspicious"]:
        """Sound if nothing failed; lines that were not checked say nothing."""
        return "suspicious" if self.failed else "sound"

    def describe(self) -> dict[str, Any]:
        """The audit as JSON."""
        return {
            "n": self.n,
            "verdict": self.verdict,
            "lines": [line.describe() for line in self.lines],
        }

    def to_row(self) -> dict[str, Any]:
        """A flat dict, for ``pandas.DataFrame([result.to_row(), …])``: the verdict, and that of each line."""
        verdicts = {line.name: line.verdict for line in self.lines}
        return {"n": self.n, "verdict": self.verdict} | verdicts

    def _repr_html_(self) -> str:
        """A table for notebooks, with what to do about lines that failed."""
        rows = [[line.name, line.verdict, line.found] for line in self.lines]
        advice = [f"{line.name}: {line.advice}" for line in self.failed]
        return html_table(
            (f"{self.verdict}, n = {self.n}", "verdict", "found"), rows, advice
        )


def audit(
    model: nn.Module,
    split: Split,
    *,
    threat: Threat,
    attacks: Attacks,
    transfer: Sequence[TransferExamples] = (),
    batch_size: int = 500,
    seed: int = 0,
    task: Task | None = None,
    classes: int | None = None,
    loss: losses.LossFunction | None = None,
) -> Audit:
    """The masking checklist of a model on a split.

    Args:
        model: outputs of x (batch, *shape).
        split: the examples.
        threat: the set and the data range.
        attacks: the attack in question, and those that are held against it.
        transfer: examples that were made on other nets, within the same set.
        batch_size: examples that are attacked together.
        seed: of the attacks' randomness.
        task: what the outputs are for; classification by default.
        classes: how many classes, labels or targets there are; None: as many as the net has outputs.
        loss: what the attacks raise; None: the task's.

    Returns:
        The verdict, and each line with its counts.

    Raises:
        DataError: there is no example, the net gets none right, or a transferred example lies outside the set.
        PluginError: an attack left its set.
    """
    case = AuditCase(
        model=model,
        split=split,
        threat=threat,
        attacks=attacks,
        transfer=transfer,
        batch_size=batch_size,
        seed=seed,
        task=task or Classification(),
        classes=classes,
        loss=loss,
    )
    return Audit.from_lines(len(split), lines(case))


def lines(case: AuditCase) -> Iterator[Line]:
    """The lines one after the other, so that a caller can show progress; as many as there are `CHECKS`.

    Raises:
        DataError: the net gets no example right.
    """
    many = case.attack(case.attacks.many)
    if not many.clean.any():
        raise DataError(
            f"the net gets none of the {len(case)} examples right, so there is nothing to attack: audit a trained net"
        )
    for check in CHECKS:
        yield check(case, many)
