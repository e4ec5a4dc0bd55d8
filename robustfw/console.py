"""What people see: progress, tables, results. The only file that imports rich; plain lines when not a terminal."""

from __future__ import annotations

import inspect
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from robustfw.records import Epoch, Record, Step

if TYPE_CHECKING:
    from robustfw.evaluation import Evaluation, Verdicts
    from robustfw.evaluation.audit import Audit

_out = Console(highlight=False)
_err = Console(highlight=False, stderr=True)
Thing = TypeVar("Thing")
LOOK_EVERY = 0.2
"""Seconds between two readings of the loss, each of which waits for the device."""


def line(text: str) -> None:
    """One line as it is."""
    _out.print(escape(text), soft_wrap=True)


def paragraph(title: str, text: str) -> None:
    """A title and a docstring; a terminal folds its paragraphs, elsewhere lines stay as they are."""
    _out.print(f"[bold]{escape(title)}[/]", soft_wrap=True)
    for part in inspect.cleandoc(text).split("\n\n"):
        prose = not any(each.startswith(" ") for each in part.splitlines())
        if _out.is_terminal and prose:
            _out.print(escape(" ".join(part.splitlines())))
        else:
            line(part)
        line("")


def problem(text: str) -> None:
    """Something that is wrong but does not stop the command."""
    _err.print(f"[yellow]Warning:[/] {escape(text)}", soft_wrap=True)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table; on anything but a terminal, one line per row, however long."""
    if not _out.is_terminal:
        for each in _aligned([title, *columns[1:]], rows):
            line(each)
        line("")
        return
    drawn = Table(title=escape(title), title_justify="left", title_style="bold", header_style="dim", box=None)
    for i, column in enumerate(columns):
        drawn.add_column(column, overflow="fold", no_wrap=i == 0)
    for row in rows:
        drawn.add_row(*(escape(cell) for cell in row))
    _out.print(drawn)
    _out.print()


def _aligned(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as their widest cell; the first is indented below its head."""
    cells = [list(heads), *([f"  {first}", *rest] for first, *rest in rows)]
    widths = [max(cell_len(cell) for cell in column) for column in zip(*cells, strict=True)]
    return ["  ".join(set_cell_size(c, w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells]


def training(records: Iterator[Record], epochs: int, run: str, *, quiet: bool) -> Iterator[Record]:
    """Pass records on while drawing them: a bar, and a line for each epoch finished; if quiet, warnings only."""
    if not quiet:
        line(f"training in {run}")
    with _progress(quiet=quiet) as progress:
        task = progress.add_task("", total=None)
        looked = 0.0
        for record in records:
            if isinstance(record, Step) and time.monotonic() - looked > LOOK_EVERY:
                looked = time.monotonic()
                done = (record.epoch - 1) * record.batches + record.batch
                text = f"epoch {record.epoch}/{epochs}  loss {float(record.loss):.4f}"
                progress.update(task, description=text, completed=done, total=epochs * record.batches)
            elif isinstance(record, Epoch):
                if not quiet:
                    line(epoch_line(record))
                for warning in record.warnings:
                    problem(warning)
            yield record


def epoch_line(record: Epoch) -> str:
    """What an epoch brought, in one line."""
    measured = f"clean {record.clean_accuracy:.1%}  robust {record.robust_accuracy:.1%}"
    mark = "  best so far" if record.best and record.attacked else ""
    return (
        f"epoch {record.epoch:>{len(str(record.epochs))}}/{record.epochs}  loss {record.loss:.4f}  "
        f"validation: {measured if record.attacked else 'no examples'}  {record.seconds:.1f} s{mark}"
    )


def batches(parts: Iterable[Verdicts], n: int, name: str, *, quiet: bool) -> Iterator[Verdicts]:
    """Pass verdicts on while drawing a bar over the examples."""
    with _progress(quiet=quiet) as progress:
        task, robust, seen = progress.add_task(f"attacking {name} examples", total=n), 0, 0
        for part in parts:
            robust, seen = robust + int(part.robust.sum()), seen + len(part.y)
            progress.update(task, completed=seen, description=f"attacking {name} examples  robust {robust / seen:.1%}")
            yield part


def counted(things: Iterable[Thing], n: int, text: str, *, quiet: bool = False) -> Iterator[Thing]:
    """Pass things on while drawing a bar."""
    with _progress(quiet=quiet) as progress:
        yield from progress.track(things, total=n, description=text)


def _progress(*, quiet: bool = False) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=_out,
        transient=True,
        disable=quiet or not _out.is_terminal,
    )


def evaluation(result: Evaluation, uncertainty: str, attacks: Sequence[str]) -> None:
    """Accuracies with their denominators and intervals, and what they were measured with."""
    for name, count, share, interval in (
        ("clean accuracy", result.correct, result.clean_accuracy, result.clean_interval),
        ("robust accuracy", result.robust, result.robust_accuracy, result.interval),
    ):
        low, high = interval
        line(f"{name:<16} {share:7.2%}   {count} of {result.n}, 95 % interval {low:.2%} to {high:.2%}")
    line(f"{'uncertainty':<16} {uncertainty}")
    line(f"{'attack':<16} {', '.join(attacks)}")
    line(
        f"{'cost':<16} {result.forward_passes / max(result.n, 1):.1f} forward and "
        f"{result.backward_passes / max(result.n, 1):.1f} backward passes per example, {result.seconds:.1f} s"
    )
    if result.zero_gradients:
        problem(
            f"at {result.zero_gradients} of {result.correct} correct examples the loss has no gradient: a gradient "
            "attack is blind there, so robust accuracy may be overstated; try --loss margin"
        )


MARKS = {"passed": "✓ passed", "failed": "✗ FAILED", "not checked": "- not checked"}


def audit(result: Audit, uncertainty: str, attack: str, split: str) -> None:
    """The masking checklist: each line with its numbers, advice below those that failed, and the verdict."""
    rows = []
    for each in result.lines:
        rows.append([each.name, MARKS[each.verdict], each.found])
        if each.verdict == "failed":
            rows.append(["", "", f"→ {each.advice}"])
    table("masking checklist", ["line", "verdict", "found"], rows)
    line(f"{'examples':<16} {result.n}, {split}")
    line(f"{'uncertainty':<16} {uncertainty}")
    line(f"{'attack':<16} {attack}")
    checked = [each for each in result.lines if each.verdict != "not checked"]
    if result.failed:
        names = ", ".join(each.name for each in result.failed)
        line(f"{'verdict':<16} ✗ SUSPICIOUS: {len(result.failed)} of {len(checked)} lines checked failed ({names})")
        problem("do not believe the robust accuracy before these are explained")
    else:
        line(f"{'verdict':<16} ✓ sound: none of {len(checked)} lines checked failed, which is no certificate")
