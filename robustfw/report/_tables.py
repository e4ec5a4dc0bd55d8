"""The tables of a report: every number with its denominator, its interval, and the command that gives it again."""

from __future__ import annotations

from collections.abc import Sequence

from robustfw.report._schema import ClaimRow, GivenTable, Reproduction
from robustfw.results._evaluation_fields import strongest
from robustfw.results._material import Material, ReportedRun
from robustfw.results._table import Table
from robustfw.results._words import (
    INTERVALS,
    abbreviate,
    commands,
    percent,
    spell_value,
    verdict,
)


def tables(material: Material) -> list[Table]:
    """All tables of which there is something to show: of the reproduction, of the runs, of each kind of result."""
    candidates = []
    if material.reproduction:
        candidates += _claim_tables(material.reproduction)
        candidates += [_copy_table(table) for table in material.reproduction.tables]
    candidates.append(_run_table(material.runs))
    if not material.runs:
        candidates.append(_collection_table(material))
    for kind in material.kinds:
        candidates += kind.tables(material)
    return [table for table in candidates if table.rows]


def _claim_tables(reproduction: Reproduction) -> list[Table]:
    """The claims of a paper with their verdicts: a table for each mode."""
    modes: dict[str, list[ClaimRow]] = {}
    for claim in reproduction.claims:
        modes.setdefault(claim.mode, []).append(claim)
    note = (
        "Decided by 95 % intervals over seeds: confirmed where all of the interval is on the claim's side, not "
        "confirmed where all of it is on the other, undecided where the limit is within. A claim holds if all parts do."
    )
    claim_tables = []
    for mode, claims in modes.items():
        rows = []
        for claim in claims:
            rows.append(
                (
                    claim.claim,
                    claim.net or "all",
                    verdict(claim.verdict),
                    claim.paper,
                    claim.ours,
                )
            )
        table = Table(
            title=f"Claims, {mode}" if mode else "Claims",
            columns=("claim", "of", "verdict", "paper", "here"),
            rows=rows,
            note=note,
            commands=commands([reproduction.command]),
            aligned=False,
            folded=False,
            grouped=True,
        )
        claim_tables.append(table)
    return claim_tables


def _copy_table(table: GivenTable) -> Table:
    """A table of the reproduction as the report shows it."""
    return Table(
        title=table.title,
        columns=table.columns,
        rows=table.rows,
        note=table.note,
        commands=commands([table.command]),
        folded=False,
    )


def _collection_table(material: Material) -> Table:
    """What collections hold, for a report without runs."""
    rows = []
    for collection in material.collections:
        source = material.name_of(collection.manifest.source.run)
        for member in collection.manifest.sets:
            rows.append((collection.name, source, member.uncertainty, str(member.n)))
    columns = ("collection", "crafted against", "set", "examples that fool it")
    again = commands(collection.manifest.command for collection in material.collections)
    return Table("Collections", columns, rows, commands=again)


def _run_table(runs: Sequence[ReportedRun]) -> Table:
    """A row for each run: its accuracies, and the parts of its recipe."""
    columns = (
        "run",
        "clean accuracy",
        "robust accuracy",
        "trained in",
        "attack",
        "objective",
        "model",
        "data",
        "epochs",
    )
    when = "Measured on test examples when the training ended: its best weights, under its validation attack."
    if any(run.is_adopted for run in runs):
        when += " Nets from elsewhere: by the strongest evaluation."
    rows = [_run_row(run) for run in runs]
    again = commands(run.at_the_end.command for run in runs if run.at_the_end)
    return Table(
        title="Runs",
        columns=columns,
        rows=rows,
        note=f"{when} {INTERVALS}",
        commands=again,
    )


def _run_row(run: ReportedRun) -> tuple[str, ...]:
    # a net from elsewhere has no measurement at the end of a training
    measured = strongest(run) if run.is_adopted else run.at_the_end
    if measured:
        clean = measured.clean_share()
        robust = measured.robust_share()
    elif run.epochs:
        last = run.epochs[-1]
        clean = f"{percent(last.clean_accuracy)} of validation"
        robust = f"{percent(last.robust_accuracy)} of validation"
    else:
        clean = "not measured yet"
        robust = "not measured yet"
    recipe = run.manifest["recipe"]
    parts = []
    for kind in ("attack", "objective", "model", "dataset"):
        spec = abbreviate(spell_value(recipe[kind]), kind) if kind in recipe else "–"
        parts.append(spec)
    if run.is_adopted:
        return run.name, clean, robust, "elsewhere", *parts, "–"
    wanted_epochs = recipe["train"].get("epochs", "?")
    epochs = f"{len(run.epochs)} of {wanted_epochs}"
    uncertainty = spell_value(recipe["uncertainty"])
    return run.name, clean, robust, uncertainty, *parts, epochs
