"""What people see: progress, tables, results. The only file that imports rich; plain lines when not a terminal."""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from robustfw.records import Epoch, Record, Step

if TYPE_CHECKING:
    from robustfw.analysis.lipschitz import Layers, Slopes
    from robustfw.evaluation import Comparison, Evaluation, Sweep, Verdicts
    from robustfw.evaluation.audit import Audit
    from robustfw.evaluation.transfer import Transfer
    from robustfw.reproduction.running import Progress as Progress_

_out = Console(highlight=False)
_err = Console(highlight=False, stderr=True)
Thing = TypeVar("Thing")
LOOK_EVERY = 0.2
"""Seconds between two readings of the loss, each of which waits for the device."""
SAY_EVERY = 15.0
"""Seconds between two lines of progress where no bar can be drawn."""
MARKS = {"passed": "✓ passed", "failed": "✗ FAILED", "not checked": "- not checked"}


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


def evaluation(result: Evaluation, uncertainty: str, attacks: Sequence[str]) -> None:
    """Accuracies with their denominators and intervals, and what they were measured with."""
    for name, count, interval in (
        ("clean accuracy", result.correct, result.clean_interval),
        ("robust accuracy", result.robust, result.interval),
    ):
        _share(name, count, result.n, interval)
    line(f"{'uncertainty':<16} {uncertainty}")
    line(f"{'attack':<16} {', '.join(attacks)}")
    line(
        f"{'cost':<16} {result.forward_passes / max(result.n, 1):.1f} forward and "
        f"{result.backward_passes / max(result.n, 1):.1f} backward passes per example, {result.seconds:.1f} s"
    )


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
    _share("accuracy", result.correct, result.n, result.interval)
    for part in result.sets:
        _share(f"  {part.uncertainty}", part.correct, part.n, part.interval)
    line(f"{'8 bits':<16} {result.accuracy_8bit:7.2%}   the same examples, rounded as image files are")
    line(f"{'collection':<16} {path}, crafted against {source}")


def sweep(result: Sweep, radii: Sequence[float], unit: float, uncertainty: str, attack: str) -> None:
    """Accuracy at each radius, and the smallest radii that fool the net."""
    rows = [
        [f"{radius:.4g}", f"{share:.2%}", f"{count} of {result.n}", f"{low:.2%} to {high:.2%}"]
        for radius, share, count, (low, high) in zip(
            radii, result.accuracy, result.correct, result.intervals, strict=True
        )
    ]
    table("radius", ["", "accuracy", "", "95 % interval"], rows)
    low, median, high = ("beyond" if math.isinf(q) else f"{unit * q:.4g}" for q in result.quartiles)
    line(f"{'smallest radius':<16} median {median}, quartiles {low} and {high}; {result.beyond} of {result.n} beyond")
    line(f"{'uncertainty':<16} {uncertainty}")
    line(f"{'attack':<16} {attack}")


def comparison(results: Mapping[str, Comparison], n: int, runs: tuple[str, str]) -> None:
    """Which net has which examples right, on clean examples and under attack."""
    rows = [
        [
            name, f"{(r.both + r.only_first) / n:.2%}", f"{(r.both + r.only_second) / n:.2%}",
            f"{r.only_first}", f"{r.only_second}", f"{100 * r.difference:+.2f}",
            f"{100 * r.interval[0]:+.2f} to {100 * r.interval[1]:+.2f}", f"{r.p:.2g}",
        ]
        for name, r in results.items()
    ]  # fmt: skip
    heads = ["", "first", "second", "only first", "only second", "difference", "95 % interval", "p (McNemar)"]
    table("accuracy", heads, rows)
    line(f"first: {runs[0]}, second: {runs[1]}; {n} examples; differences in points")


def distinguishability(spaces: Sequence[Mapping[str, Any]], n: int, labels: Sequence[str] | None) -> None:
    """The bounds of each space: the closest pair of classes, the median, the one farthest apart."""
    rows = []
    for space in spaces:
        for kind in ("linear", "quadratic", "measured"):
            pairs = sorted((pair for pair in space["pairs"] if pair[kind] is not None), key=lambda pair: pair[kind])
            if pairs:
                ends = [
                    f"{p[kind]:.4g}  {_class(p['first'], labels)}, {_class(p['second'], labels)}"
                    for p in pairs[:: len(pairs) - 1 or 1]
                ]
                rows.append([space["name"], kind, ends[0], f"{pairs[len(pairs) // 2][kind]:.4g}", ends[-1]])
    table("robustness of pairs", ["", "classifier", "least, classes", "median", "most, classes"], rows)
    line(f"{'examples':<16} {n}; mean distances to a boundary, in ℓ2")
    line(f"{'linear':<16} no linear classifier without mistakes has more, on these examples")
    line(f"{'quadratic':<16} no quadratic one, times √κ; κ is the ratio of its extreme eigenvalues")


def _class(label: int, labels: Sequence[str] | None) -> str:
    return labels[label] if labels and label < len(labels) else str(label)


def fooling(searches: Sequence[Mapping[str, Any]], target: float, path: str, labels: Sequence[str] | None) -> None:
    """Which classes' images reached the target, with what effort."""
    rows = [
        [_class(label, labels), *(f"{s['confidence'][label]:.2%} after {s['rounds'][label]}" for s in searches)]
        for label in range(len(searches[0]["confidence"]))
    ]
    table("fooling images", ["", *(search["name"] for search in searches)], rows)
    for each in searches:
        line(
            f"{each['name']:<16} {each['reached']} of {len(each['confidence'])} classes at {target:.0%} confidence "
            f"within {each['budget']} rounds"
        )
    line(f"{'images':<16} {path}")


def lipschitz(found: Layers, slopes: Slopes, levels: Sequence[float]) -> None:
    """Each layer's constant, and the bounds on the net's."""
    rows = [
        [each.name, each.kind, "none known" if each.bound is None else f"{each.bound:.4g}", each.how]
        for each in found.layers
        if each.how != "known" or each.bound != 1
    ]
    table("layer", ["", "", "Lipschitz constant", ""], rows)
    if found.upper is None:
        line(
            f"{'upper bound':<16} none: the product of the layers is no bound, because of {', '.join(found.unbounded)}"
        )
    else:
        line(f"{'upper bound':<16} {found.upper:.4g}, the product of the layers")
    line(f"{'lower bound':<16} {slopes.quantiles[-1]:.4g}, the steepest slope at {slopes.n} examples")
    median = slopes.quantiles[list(levels).index(0.5)]
    line(f"{'median slope':<16} {median:.4g}")


def _share(name: str, count: int, n: int, interval: tuple[float, float]) -> None:
    low, high = interval
    share = f"{count / n:7.2%}" if n else "      -"
    line(f"{name:<16} {share}   {count} of {n}, 95 % interval {low:.2%} to {high:.2%}")
