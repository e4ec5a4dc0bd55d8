"""Kind of result `audit`: whether a robust accuracy deserves belief."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, final

import attrs

from robustfw.results._kind import Caution, ConsoleOutput, ResultKind
from robustfw.results._table import Table
from robustfw.results._words import abbreviate, commands, fact, verdict

if TYPE_CHECKING:
    from robustfw.results._material import Material, ReportedRun

MARKS = {"passed": "✓ passed", "failed": "✗ FAILED", "not checked": "- not checked"}
"""Verdicts on the console, where what failed must be found without colours."""


@attrs.frozen
class AuditLine:
    """One question to a robust accuracy, and its answer."""

    name: str
    verdict: str
    found: str = ""
    """The counts behind the verdict, in words."""
    advice: str = ""
    """What to do if the line failed; a file has it for every line."""


@attrs.frozen
class AuditFields:
    """Whether a robust accuracy can be believed."""

    uncertainty: str
    verdict: str
    lines: tuple[AuditLine, ...]
    n: int | None = None
    attack: str = ""
    split: str = ""
    command: str = ""


@final
@attrs.frozen
class AuditKind(ResultKind):
    """The masking checklist; robustfw audit keeps it."""

    fields = AuditFields
    place = 50

    def example(self) -> Mapping[str, Any]:
        failed = {
            "name": "more steps",
            "verdict": "failed",
            "found": "2 of 4 and 1 of 4",
            "advice": "take more",
        }
        return {
            "uncertainty": "linf:radius=0.1",
            "attack": "pgd:steps=40",
            "split": "test",
            "n": 4,
            "verdict": "suspicious",
            "lines": [failed],
        }

    def lines(
        self, result: AuditFields, labels: Sequence[str] | None = None
    ) -> Iterator[ConsoleOutput]:
        rows = []
        for line in result.lines:
            rows.append((line.name, MARKS.get(line.verdict, line.verdict), line.found))
            if line.verdict == "failed":
                rows.append(("", "", f"→ {line.advice}"))
        yield Table("masking checklist", ("line", "verdict", "found"), rows)
        if result.n is not None:
            yield fact("examples", f"{result.n}, {result.split}")
        yield fact("uncertainty", result.uncertainty)
        yield fact("attack", abbreviate(result.attack))
        checked = [line for line in result.lines if line.verdict != "not checked"]
        failed = [line.name for line in result.lines if line.verdict == "failed"]
        if failed:
            count = f"{len(failed)} of {len(checked)} lines checked failed"
            yield fact("verdict", f"✗ SUSPICIOUS: {count} ({', '.join(failed)})")
            yield Caution(
                "do not believe the robust accuracy before these are explained"
            )
        else:
            yield fact(
                "verdict",
                f"✓ sound: none of {len(checked)} lines checked failed, which is no certificate",
            )

    def tables(self, material: Material) -> list[Table]:
        """A table for each audit, folded where there are many and nothing is wrong."""
        audits = material.pairs(AuditFields)
        several = len(audits) > 2
        return [
            _table(run, audit, folded=several and audit.verdict == "sound")
            for run, audit in audits
        ]


def _table(run: ReportedRun, audit: AuditFields, *, folded: bool) -> Table:
    columns = ["check", "verdict", "found"]
    rows = [[line.name, verdict(line.verdict), line.found] for line in audit.lines]
    advice = [line.advice if line.verdict == "failed" else "" for line in audit.lines]
    if any(advice):
        columns.append("advice")
        rows = [[*row, text] for row, text in zip(rows, advice, strict=True)]
    title = f"Audit of {run.name}: {verdict(audit.verdict)}"
    note = f"Whether the robust accuracy in {audit.uncertainty} can be believed."
    return Table(
        title=title,
        columns=columns,
        rows=rows,
        note=note,
        commands=commands([audit.command]),
        folded=folded,
    )
