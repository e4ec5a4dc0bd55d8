"""The tables of a report: every number with its denominator, its interval, and the command that gives it again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from robustfw import options
from robustfw.report import distinguishability, fooling, lipschitz
from robustfw.report.gather import Material, Run
from robustfw.report.schema import Audit, Claim, Comparison, GivenTable, Pairs, Reproduction, Sweep, Transfer
from robustfw.report.table import Table
from robustfw.report.words import bare, chance, listed, measured, number, percent, points, short

INTERVALS = "In brackets: 95 % intervals (Wilson's), in per cent."
SYMBOLS = {
    "passed": "✓ passed",
    "failed": "✗ failed",
    "not checked": "– not checked",
    "sound": "✓ sound",
    "suspicious": "✗ suspicious",
    "confirmed": "✓ confirmed",
    "not confirmed": "✗ not confirmed",
    "undecided": "? undecided",
}
"""Verdicts as a word and a sign, so that they need no colour."""


def tables(material: Material) -> list[Table]:
    """All tables of which there is something to show, in their order."""
    made = material.reproduction
    own = [*_claims(made), *(_given(table) for table in made.tables)] if made else []
    several = [
        _runs(material.runs),
        _evaluations(material.runs),
        _transfer(material),
        *_sweeps(material.runs),
        _comparisons(material),
        *_audits(material.runs),
        *distinguishability.tables(material.runs),
        *fooling.tables(material.runs),
        *lipschitz.tables(material.runs),
    ]
    return [table for table in [*own, *several] if table and table.rows]


def _commands(things: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(command for command in things if command))


def verdict(word: str) -> str:
    """A verdict as a word and a sign."""
    return SYMBOLS.get(word, word)


def _claims(made: Reproduction) -> list[Table]:
    """A table for each mode."""
    modes: dict[str, list[Claim]] = {}
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
            _commands([made.command]),
            aligned=False,
            folded=False,
            grouped=True,
        )
        for mode, claims in modes.items()
    ]


def _given(table: GivenTable) -> Table:
    return Table(table.title, table.columns, table.rows, table.note, _commands([table.command]), folded=False)


def _runs(runs: Sequence[Run]) -> Table:
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
    return Table("Runs", columns, [_run(run) for run in runs], f"{when} {INTERVALS}", _commands(ends))


def _run(run: Run) -> tuple[str, ...]:
    recipe, end = run.manifest["recipe"], run.at_the_end
    if end:
        shares = [
            measured(end.clean_accuracy, end.clean_interval, end.correct, end.n),
            measured(end.robust_accuracy, end.interval, end.robust, end.n),
        ]
    elif run.epochs:
        last = run.epochs[-1]
        shares = [f"{percent(share)} of validation" for share in (last.clean_accuracy, last.robust_accuracy)]
    else:
        shares = ["not measured yet"] * 2
    kinds = ("attack", "objective", "model", "dataset")
    parts = [options.spell(recipe["uncertainty"]), *(short(options.spell(recipe[kind]), kind) for kind in kinds)]
    return run.name, *shares, *parts, f"{len(run.epochs)} of {recipe['train'].get('epochs', '?')}"


def _evaluations(runs: Sequence[Run]) -> Table | None:
    """None where there is nothing that the table of runs does not show."""
    rows, commands = [], []
    for run in runs:
        for each in run.evaluations():
            blind = f"{each.zero_gradients} of {each.correct}" if each.zero_gradients else "0"
            rows.append(
                (
                    run.name,
                    each.uncertainty,
                    listed([short(attack) for attack in each.attacks]),
                    measured(each.clean_accuracy, each.clean_interval, each.correct, each.n),
                    measured(each.robust_accuracy, each.interval, each.robust, each.n),
                    f"{each.split}, {each.weights}",
                    blind,
                )
            )
            commands.append(each.command)
    columns = ("run", "set", "attacks", "clean accuracy", "robust accuracy", "split, weights", "without gradient")
    note = (
        f"{INTERVALS} Robust: each example's worst case over all the attacks. An attack finds a lower bound of the "
        "worst case, so that robust accuracy is an upper bound. Without gradient: correct examples at which a gradient "
        "attack is blind."
    )
    if all(not run.evaluations() or run.evaluations() == [run.at_the_end] for run in runs):
        return None
    return Table("Evaluations", columns, rows, note, _commands(commands))


def _transfer(material: Material) -> Table:
    rows, commands = [], []
    for run in material.runs:
        for each in run.of(Transfer):
            total = measured(each.accuracy, each.interval, each.correct, each.n)
            head = run.name, material.named(each.source), material.named(each.collection)
            rows.append((*head, "all", total, percent(each.accuracy_8bit, 2)))
            rows += [
                (*head, part.uncertainty, measured(part.accuracy, part.interval, part.correct, part.n), "–")
                for part in each.sets
                if len(each.sets) > 1
            ]
            commands.append(each.command)
    columns = ("run", "crafted against", "collection", "set", "accuracy", "rounded to 8 bits")
    return Table("Transfer", columns, rows, INTERVALS, _commands(commands))


def _sweeps(runs: Sequence[Run]) -> list[Table]:
    """A table for each set, attack and list of radii."""
    found: dict[tuple[str, str, tuple[float, ...]], list[tuple[Run, Sweep]]] = {}
    for run in runs:
        for sweep in run.of(Sweep):
            found.setdefault((bare(sweep.uncertainty), sweep.attack, sweep.radii), []).append((run, sweep))
    return [_sweep(key, rows) for key, rows in sorted(found.items())]


def _sweep(key: tuple[str, str, tuple[float, ...]], found: list[tuple[Run, Sweep]]) -> Table:
    uncertainty, attack, radii = key
    columns = ("run", "n", *(number(radius) for radius in radii), "median minimal radius", "quartiles", "beyond")
    note = (
        f"Accuracy at each radius of {uncertainty}, under {short(attack)}. Minimal radius: the least at which an "
        "example falls, over all n; beyond: examples that withstand the largest radius."
    )
    rows = [(run.name, str(sweep.n), *map(percent, sweep.accuracy), *_minimal(sweep)) for run, sweep in found]
    title = f"Accuracy against radius: {uncertainty}, {short(attack)}"
    return Table(title, columns, rows, note, _commands(sweep.command for _, sweep in found))


def _minimal(sweep: Sweep) -> tuple[str, str, str]:
    minimal = sweep.minimal_radius
    if minimal is None:
        return "–", "–", "–"
    beyond = f"> {number(max(sweep.radii, default=None))}"
    low, high = minimal.quartiles
    quartiles = f"{number(low, beyond)} to {number(high, beyond)}"
    return number(minimal.median, beyond), quartiles, f"{minimal.beyond} of {sweep.n}"


def _comparisons(material: Material) -> Table:
    rows, commands, seen = [], [], set()
    for run in material.runs:
        for each in run.of(Comparison):
            if each not in seen:
                seen.add(each)
                first, second = (material.named(path) for path in each.runs)
                circumstances = f"robust, {each.uncertainty}, {listed([short(attack) for attack in each.attacks])}"
                rows.append((first, second, "clean", *_pairs(each.clean), str(each.n)))
                rows.append((first, second, circumstances, *_pairs(each.robust), str(each.n)))
                commands.append(each.command)
    columns = (
        "first",
        "second",
        "accuracy",
        "second − first",
        "p",
        "both",
        "only first",
        "only second",
        "neither",
        "n",
    )
    note = "The same examples for both. p: of a difference as great or greater, if the two were equally good."
    return Table("Comparisons", columns, rows, note, _commands(commands))


def _pairs(pairs: Pairs) -> tuple[str, ...]:
    counts = pairs.both, pairs.only_first, pairs.only_second, pairs.neither
    return points(pairs.difference, pairs.interval), chance(pairs.p), *map(str, counts)


def _audits(runs: Sequence[Run]) -> list[Table]:
    """Folded where there are many and nothing is wrong."""
    found = [(run, audit) for run in runs for audit in run.of(Audit)]
    return [_audit(run, audit, folded=len(found) > 2 and audit.verdict == "sound") for run, audit in found]


def _audit(run: Run, audit: Audit, *, folded: bool) -> Table:
    title = f"Audit of {run.name}: {verdict(audit.verdict)}"
    rows = [(line.name, verdict(line.verdict), line.found, line.advice) for line in audit.lines]
    note = f"Whether the robust accuracy in {audit.uncertainty} can be believed."
    return Table(title, ("check", "verdict", "found", "advice"), rows, note, _commands([audit.command]), folded=folded)
