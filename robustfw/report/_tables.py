"""The tables of a report: every number with its denominator, its interval, and the command that gives it again."""

from __future__ import annotations

from collections.abc import Sequence

from robustfw.report._schema import ClaimRow, GivenTable, Reproduction
from robustfw.results._material import Material, ReportedRun
from robustfw.results._table import Table
from robustfw.results._words import INTERVALS, abbreviate, commands, percent, spell_value, verdict


def tables(material: Material) -> list[Table]:
    """All tables of which there is something to show: of the reproduction, of the runs, of each kind of result."""
    made = material.reproduction
    of_reproduction = [*_claims(made), *(_given(table) for table in made.tables)] if made else []
    of_collections = [] if material.runs else [_collections(material)]
    of_results = [table for kind in material.kinds for table in kind.tables(material)]
    return [t for t in [*of_reproduction, _runs(material.runs), *of_collections, *of_results] if t.rows]


def _claims(made: Reproduction) -> list[Table]:
    """A table for each mode."""
    modes: dict[str, list[ClaimRow]] = {}
    for claim in made.claims:
        modes.setdefault(claim.mode, []).append(claim)
    columns = "claim", "of", "verdict", "paper", "here"
    note = (
        "Decided by 95 % intervals over seeds: confirmed where all of the interval is on the claim's side, not "
        "confirmed where all of it is on the other, undecided where the limit is within. A claim holds if all parts do."
    )
    return [
        Table(
            f"Claims, {mode}" if mode else "Claims",
            columns,
            [(c.claim, c.net or "all", verdict(c.verdict), c.paper, c.ours) for c in claims],
            note,
            commands([made.command]),
            aligned=False,
            folded=False,
            grouped=True,
        )
        for mode, claims in modes.items()
    ]


def _given(table: GivenTable) -> Table:
    return Table(table.title, table.columns, table.rows, table.note, commands([table.command]), folded=False)


def _collections(material: Material) -> Table:
    """What collections hold, for a report without runs."""
    rows = [
        (collection.name, material.name_of(collection.manifest.source.run), part.uncertainty, str(part.n))
        for collection in material.collections
        for part in collection.manifest.sets
    ]
    columns = ("collection", "crafted against", "set", "examples that fool it")
    again = commands(collection.manifest.command for collection in material.collections)
    return Table("Collections", columns, rows, commands=again)


def _runs(runs: Sequence[ReportedRun]) -> Table:
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
    ends = [run.at_the_end.command for run in runs if run.at_the_end]
    return Table("Runs", columns, [_run(run) for run in runs], f"{when} {INTERVALS}", commands(ends))


def _run(run: ReportedRun) -> tuple[str, ...]:
    recipe, end = run.manifest["recipe"], run.at_the_end
    if end:
        shares = [end.clean_share(), end.robust_share()]
    elif run.epochs:
        last = run.epochs[-1]
        shares = [f"{percent(share)} of validation" for share in (last.clean_accuracy, last.robust_accuracy)]
    else:
        shares = ["not measured yet"] * 2
    kinds = ("attack", "objective", "model", "dataset")
    parts = [spell_value(recipe["uncertainty"]), *(abbreviate(spell_value(recipe[kind]), kind) for kind in kinds)]
    return run.name, *shares, *parts, f"{len(run.epochs)} of {recipe['train'].get('epochs', '?')}"
