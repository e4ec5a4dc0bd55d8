"""What people see: progress, tables, results. The only file that imports rich; plain lines when not a terminal."""

from __future__ import annotations

import inspect
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table as RichTable

from robustfw.errors import PluginError
from robustfw.records import Epoch, Record, Step
from robustfw.results import Caution, Table
from robustfw.results._words import printable
from robustfw.storage.files import plain

if TYPE_CHECKING:
    from robustfw.analysis._lipschitz import NetBound, Slopes
    from robustfw.evaluation import Comparison, Sweep, Verdicts
    from robustfw.evaluation._audit import Audit
    from robustfw.evaluation._transfer import Transfer
    from robustfw.plugin.registry import Registry
    from robustfw.reproduction._running import Progress as Progress_

_out = Console(highlight=False)
_err = Console(highlight=False, stderr=True)
Thing = TypeVar("Thing")
LOOK_EVERY = 0.2
"""Seconds between two readings of the loss, each of which waits for the device."""
SAY_EVERY = 15.0
"""Seconds between two lines of progress where no bar can be drawn."""


def line(text: str) -> None:
    """One line as it is, but for characters that command a terminal, which are replaced."""
    _out.print(escape(printable(text)), soft_wrap=True)


def paragraph(title: str, text: str) -> None:
    """A title and a docstring; a terminal folds its paragraphs, elsewhere lines stay as they are."""
    _out.print(f"[bold]{escape(printable(title))}[/]", soft_wrap=True)
    for part in inspect.cleandoc(text).split("\n\n"):
        prose = not any(each.startswith(" ") for each in part.splitlines())
        if _out.is_terminal and prose:
            _out.print(escape(printable(" ".join(part.splitlines()))))
        else:
            line(part)
        line("")


def problem(text: str) -> None:
    """Something that is wrong but does not stop the command."""
    _err.print(f"[yellow]Warning:[/] {escape(printable(text))}", soft_wrap=True)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table; on anything but a terminal, one line per row, however long."""
    if not _out.is_terminal:
        for each in _aligned([title, *columns[1:]], rows):
            line(each)
        line("")
        return
    drawn = RichTable(
        title=escape(printable(title)), title_justify="left", title_style="bold", header_style="dim", box=None
    )
    for i, column in enumerate(columns):
        drawn.add_column(escape(printable(column)), overflow="fold", no_wrap=i == 0)
    for row in rows:
        drawn.add_row(*(escape(printable(cell)) for cell in row))
    _out.print(drawn)
    _out.print()


def _aligned(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as their widest cell; the first is indented below its head."""
    cells = [[printable(cell) for cell in row] for row in (heads, *([f"  {first}", *rest] for first, *rest in rows))]
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
    """Pass verdicts on while drawing a bar over the examples; where there is no terminal, a line now and then."""
    told = time.monotonic()
    with _progress(quiet=quiet) as progress:
        task, robust, seen = progress.add_task(f"attacking {name} examples", total=n), 0, 0
        for part in parts:
            robust, seen = robust + int(part.robust.sum()), seen + len(part.y)
            progress.update(task, completed=seen, description=f"attacking {name} examples  robust {robust / seen:.1%}")
            if not quiet and not _out.is_terminal and seen < n and time.monotonic() - told > SAY_EVERY:
                told = time.monotonic()
                _err.print(f"{seen} of {n} {name} examples attacked, {robust / seen:.1%} robust so far", soft_wrap=True)
            yield part


def counted(things: Iterable[Thing], n: int, text: str, *, quiet: bool = False) -> Iterator[Thing]:
    """Pass things on while drawing a bar."""
    with _progress(quiet=quiet) as progress:
        yield from progress.track(things, total=n, description=text)


def progress(steps: Iterable[Progress_], end: str) -> Iterator[Progress_]:
    """Pass the progress of a plan on while drawing a bar with the commands under way; elsewhere, lines."""
    with _progress() as bar:
        task, told = bar.add_task("", total=None), set[str]()
        for step in steps:
            names = [_brief(command) for command in step.running]
            bar.update(task, description="  ".join(names), completed=step.done, total=step.total)
            if not _out.is_terminal:
                for command in [command for command in step.running if command not in told]:
                    told.add(command)
                    line(f"{step.done / step.total:4.0%}  {_brief(command)}")
            yield step
    line(end)


def _brief(command: str) -> str:
    """The name of a command, and the run that it is about."""
    words = command.split()
    return f"{words[1]} {words[-1] if words[1] == 'train' else words[2]}"


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


def show(
    kind: str, result: Mapping[str, Any], labels: Sequence[str] | None = None, *, known: Registry | None = None
) -> None:
    """Print a result of any kind, as its file in the folder ``results`` of a run holds it.

    Args:
        kind: The name of a registered `robustfw.results.ResultKind`.
        result: The numbers with their circumstances: what `robustfw.results.keep` was given.
        labels: Names of the classes, where the data has them.
        known: The registry that knows the kind; the installed plugins' without it.

    Raises:
        PluginError: there is no such kind, or the result has not its fields.
    """
    from robustfw.results._reading import Misfit, structure
    from robustfw.results._registered_kinds import kinds_by_name

    kinds = kinds_by_name(known)
    if kind not in kinds:
        raise PluginError(f"no kind of result is called {kind!r}: register it by add({kind!r}, …)")
    try:
        fields: Any = structure(plain(dict(result)), kinds[kind].fields)
    except Misfit as error:
        raise PluginError(f"what was measured is no result of the kind {kind!r}: {error}") from error
    for said in kinds[kind].lines(fields, labels):
        if isinstance(said, Table):
            table(said.title, said.columns, said.rows)
        elif isinstance(said, Caution):
            problem(said.text)
        else:
            line(said)


def audit(result: Audit, uncertainty: str, attack: str, split: str) -> None:
    """The masking checklist: each line with its numbers, advice below those that failed, and the verdict."""
    show("audit", result.describe() | {"uncertainty": uncertainty, "attack": attack, "split": split})


def collection(manifest: Mapping[str, Any], path: str) -> None:
    """What a collection of adversarial examples holds."""
    rows = [[part["uncertainty"], str(part["n"])] for part in manifest["sets"]]
    table("uncertainty set", ["", "examples that fool the net"], rows)
    tried = manifest["data"]["tried"]
    line(f"{manifest['n']} adversarial examples by {manifest['attack']}, of {tried} examples tried with each set")
    line(f"{manifest['fooling_8bit']} of them still fool the net after rounding to 8 bits")
    line(f"collection: {path}")


def transfer(result: Transfer, path: str, source: str) -> None:
    """A net's accuracy on adversarial examples that were crafted against another."""
    show("transfer", attrs.asdict(result) | {"collection": path, "source": source})


def sweep(result: Sweep, radii: Sequence[float], unit: float, uncertainty: str, attack: str) -> None:
    """Accuracy at each radius, and the smallest radii that fool the net."""
    low, median, high = (unit * quartile for quartile in result.quartiles)
    minimal = {"median": median, "quartiles": [low, high], "beyond": result.beyond}
    circumstances = {"uncertainty": uncertainty, "attack": attack, "radii": list(radii)}
    show("sweep", attrs.asdict(result) | circumstances | {"minimal_radius": minimal})


def comparison(results: Mapping[str, Comparison], n: int, runs: tuple[str, str]) -> None:
    """Which net has which examples right, on clean examples and under attack."""
    pairs = {name: attrs.asdict(result) for name, result in results.items()}
    show("comparison", pairs | {"n": n, "runs": list(runs), "uncertainty": "", "attacks": []})


def distinguishability(spaces: Sequence[Mapping[str, Any]], n: int, labels: Sequence[str] | None) -> None:
    """The bounds of each space: the closest pair of classes, the median, the one farthest apart."""
    show("distinguishability", {"spaces": list(spaces), "examples": n, "split": ""}, labels)


def fooling(searches: Sequence[Mapping[str, Any]], target: float, path: str, labels: Sequence[str] | None) -> None:
    """Which classes' images reached the target, with what effort."""
    facts = {"range": [0.0, 1.0], "shape": [], "images": path}
    show("fooling", facts | {"searches": list(searches), "target": target}, labels)


def lipschitz(found: NetBound, slopes: Slopes, levels: Sequence[float]) -> None:
    """Each layer's constant, and the bounds on the net's."""
    show("lipschitz", attrs.asdict(found) | {"upper": found.upper, "levels": list(levels)} | attrs.asdict(slopes))
