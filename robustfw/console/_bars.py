"""Bars that show how far a training, an attack or a plan is; lines once in a while where there is no terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from robustfw.console import _output
from robustfw.console._output import line, problem
from robustfw.records import Epoch, Record, Step

if TYPE_CHECKING:
    from robustfw.evaluation import Verdicts
    from robustfw.reproduction._running import Progress as Progress_

Item = TypeVar("Item")
"""Whatever `track` counts."""
LOOK_EVERY = 0.2
"""Seconds between two readings of the loss, each of which waits for the device."""
SAY_EVERY = 15.0
"""Seconds between two lines of progress where no bar can be drawn."""


def training(
    records: Iterator[Record], epochs: int, run: str, *, quiet: bool
) -> Iterator[Record]:
    """Yield the records of a training while drawing a bar, and print a line for each epoch and its warnings.

    Args:
        records: the training's records.
        epochs: epochs of the whole training.
        run: the name of the run directory.
        quiet: print warnings only.
    """
    if not quiet:
        line(f"training in {run}")
    with _progress(quiet=quiet) as bar:
        task = bar.add_task("", total=None)
        last_look = 0.0
        for record in records:
            if isinstance(record, Step) and time.monotonic() - last_look > LOOK_EVERY:
                last_look = time.monotonic()
                updates = (record.epoch - 1) * record.batches + record.batch
                text = f"epoch {record.epoch}/{epochs}  loss {float(record.loss):.4f}"
                bar.update(
                    task,
                    description=text,
                    completed=updates,
                    total=epochs * record.batches,
                )
            elif isinstance(record, Epoch):
                if not quiet:
                    line(epoch_line(record))
                for warning in record.warnings:
                    problem(warning)
            yield record


def epoch_line(record: Epoch) -> str:
    """An epoch's number, loss, accuracies and duration in one line."""
    accuracies = "no examples"
    mark = ""
    if record.attacked:
        accuracies = (
            f"clean {record.clean_accuracy:.1%}  robust {record.robust_accuracy:.1%}"
        )
        mark = "  best so far" if record.best else ""
    digits = len(str(record.epochs))
    return (
        f"epoch {record.epoch:>{digits}}/{record.epochs}  loss {record.loss:.4f}  "
        f"validation: {accuracies}  {record.seconds:.1f} s{mark}"
    )


def batches(
    parts: Iterable[Verdicts], n: int, name: str, *, quiet: bool
) -> Iterator[Verdicts]:
    """Yield verdicts while drawing a bar over the examples; without a terminal, print a line once in a while.

    Args:
        parts: the verdicts of one batch after the other.
        n: how many examples there are.
        name: the name of the split.
        quiet: draw and print nothing.
    """
    last_line = time.monotonic()
    robust = 0
    attacked = 0
    seconds = 0.0
    with _progress(quiet=quiet) as bar:
        task = bar.add_task(f"attacking {name} examples", total=n)
        for part in parts:
            robust += int(part.robust.sum())
            attacked += len(part.y)
            # the time that a part took, which an earlier command may have measured
            seconds += part.seconds
            share = f"{robust / attacked:.1%}"
            bar.update(
                task,
                completed=attacked,
                description=f"attacking {name} examples  robust {share}",
            )
            if attacked < n and _is_due(last_line, quiet=quiet):
                last_line = time.monotonic()
                left = _time_left(seconds, attacked, n)
                _output.progress_line(
                    f"{attacked} of {n} {name} examples attacked, {share} robust so far, {left}"
                )
            yield part


def batches_until(
    parts: Iterable[Verdicts], deadline: float, name: str, *, quiet: bool
) -> Iterator[Verdicts]:
    """Yield verdicts while drawing a bar over the time; without a terminal, print a line once in a while.

    Args:
        parts: the verdicts of one batch after the other.
        deadline: the end of the time, as `time.perf_counter` has it.
        name: the name of the split.
        quiet: draw and print nothing.
    """
    start = time.perf_counter()
    last_line = time.monotonic()
    robust = 0
    attacked = 0
    with _progress(quiet=quiet) as bar:
        task = bar.add_task(
            f"attacking {name} examples", total=max(1, round(deadline - start))
        )
        for part in parts:
            robust += int(part.robust.sum())
            attacked += len(part.y)
            words = f"{attacked} {name} examples attacked, {robust / attacked:.1%} robust so far"
            passed = time.perf_counter() - start
            bar.update(task, completed=round(passed), description=words)
            left = deadline - time.perf_counter()
            if left > 0 and _is_due(last_line, quiet=quiet):
                last_line = time.monotonic()
                _output.progress_line(f"{words}, {left:.0f} s left")
            yield part


def track(
    items: Iterable[Item],
    n: int,
    text: str,
    *,
    size: Callable[[Item], int] | None = None,
    quiet: bool = False,
) -> Iterator[Item]:
    """Yield items while drawing a bar; without a terminal, print a line once in a while.

    Args:
        items: what is gone through.
        n: how much there is in all: items, or what ``size`` counts.
        text: stands before the bar.
        size: how much of n an item is, a batch's examples for instance; None: 1.
        quiet: draw and print nothing.
    """
    start = time.monotonic()
    last_line = start
    done = 0
    with _progress(quiet=quiet) as bar:
        task = bar.add_task(text, total=n)
        for item in items:
            done += 1 if size is None else size(item)
            bar.update(task, completed=done)
            if done < n and _is_due(last_line, quiet=quiet):
                last_line = time.monotonic()
                left = _time_left(last_line - start, done, n)
                _output.progress_line(f"{text}: {done} of {n}, {left}")
            yield item


def _is_due(last_line: float, *, quiet: bool) -> bool:
    """Whether a line of progress is to be printed: no bar is drawn, and the last line was a while ago."""
    if quiet or _output._out.is_terminal:
        return False
    return time.monotonic() - last_line > SAY_EVERY


def _time_left(seconds: float, done: int, n: int) -> str:
    """About how long the rest takes, at the rate so far.

    Args:
        seconds: time that the finished part took.
        done: how much is finished.
        n: how much there is.
    """
    left = seconds / max(done, 1) * (n - done)
    if left < 60:
        return f"about {max(left, 1):.0f} s left"
    if left < 5400:
        return f"about {left / 60:.0f} min left"
    return f"about {left / 3600:.1f} h left"


def progress(steps: Iterable[Progress_], end: str) -> Iterator[Progress_]:
    """Yield the progress of a plan while drawing a bar with the commands under way; without a terminal, print lines.

    ``end`` is the last line.
    """
    printed: set[str] = set()
    with _progress() as bar:
        task = bar.add_task("", total=None)
        for step in steps:
            names = map(_shorten_command, step.running)
            bar.update(
                task,
                description="  ".join(names),
                completed=step.done,
                total=step.total,
            )
            for command in step.running:
                if not _output._out.is_terminal and command not in printed:
                    printed.add(command)
                    line(f"{step.done / step.total:4.0%}  {_shorten_command(command)}")
            yield step
    line(end)


def _shorten_command(command: str) -> str:
    """The name of a command, and the run that it is about."""
    words = command.split()
    run = words[-1] if words[1] == "train" else words[2]
    return f"{words[1]} {run}"


def _progress(*, quiet: bool = False) -> Progress:
    """A bar that is drawn on a terminal only, and removed at its end."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=_output._out,
        transient=True,
        disable=quiet or not _output._out.is_terminal,
    )
