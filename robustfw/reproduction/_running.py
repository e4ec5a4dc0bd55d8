"""Running a plan: several processes, each of which keeps its imports; what is done already is not done again."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import attrs

from robustfw.errors import RunError
from robustfw.reproduction._plan import Job
from robustfw.training import hardware

LOG = "log.txt"
"""The file of what all commands printed."""
UNDER_WAY = "log-"
"""Beginning of the name of the file that a running command prints to."""
ERROR = "Error: "
"""How the line begins by which a command says why it failed."""
TIME_TO_SAVE = 60.0
"""Seconds for a training to finish its step and write, when nobody is left to wait for it."""


@attrs.frozen
class Progress:
    """Where a plan stands."""

    done: float
    """Cost of what is done."""
    total: float
    running: tuple[str, ...]
    """Commands under way."""


@attrs.frozen
class Runner:
    """Runs jobs in a folder, by a function that carries out one command and ends with `SystemExit`."""

    main: Callable[[list[str]], object]
    folder: Path
    processes: int
    threads: int
    """Threads of each process."""

    def carry_out(self, jobs: Sequence[Job]) -> Generator[Progress, None, None]:
        """Run what is not done, each job once what it needs is there.

        Raises:
            RunError: a command failed; those that were under way are finished first.
        """
        total = sum(job.cost for job in jobs)
        waiting = [job for job in jobs if not job.done(self.folder)]
        made = {job.at for job in jobs if job.makes != "result" and job not in waiting}
        yield Progress(total - sum(job.cost for job in waiting), total, ())
        if not waiting:
            return
        for left in sorted(
            self.folder.glob(f"{UNDER_WAY}*.txt")
        ):  # of processes that were killed
            _append_to_log(left)
        spawn = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(self.processes, spawn, _prepare, (self.threads,))
        try:
            yield from self._run(waiting, made, pool, total)
        except KeyboardInterrupt:
            _interrupt_all()
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def _run(
        self,
        waiting: list[Job],
        made: set[str],
        pool: ProcessPoolExecutor,
        total: float,
    ) -> Generator[Progress, None, None]:
        running: dict[Future[tuple[int, str]], Job] = {}
        while waiting or running:
            for job in [job for job in waiting if made.issuperset(job.needs)][
                : self.processes - len(running)
            ]:
                waiting.remove(job)
                running[
                    pool.submit(
                        _work, self.main, job.arguments, str(self.folder.resolve())
                    )
                ] = job
            left = sum(job.cost for job in [*waiting, *running.values()])
            yield Progress(
                done=total - left,
                total=total,
                running=tuple(job.command for job in running.values()),
            )
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                try:
                    status, error = future.result()
                except BrokenProcessPool:
                    raise _killed_error(
                        [job.command for job in running.values()]
                    ) from None
                job = running.pop(future)
                if status or not job.done(self.folder):
                    saying = f" ({error})" if error else ""
                    raise RunError(
                        f"a command failed{saying}: {job.command} (see the end of {self.folder / LOG})"
                    )
                made.add(job.at)
        yield Progress(total, total, ())


def _killed_error(commands: Sequence[str]) -> RunError:
    """The error where the system has killed a process of the pool, which ends the pool."""
    return RunError(
        "a process was killed, as the system does where memory runs out; the commands under way were "
        f"{' and '.join(commands)}. Nothing that was saved is lost: the same command goes on, and needs less memory "
        "with --processes 1"
    )


def _interrupt_all() -> None:
    """SIGINT to the processes of the pool: a terminal sends it to all of them, anybody else to the first one only.

    A training takes one that follows at once for the same.
    """
    if os.name == "posix":
        for process in multiprocessing.active_children():
            if process.pid is not None:
                with contextlib.suppress(ProcessLookupError):  # it has just ended
                    os.kill(process.pid, signal.SIGINT)


def _prepare(threads: int) -> None:
    """Ctrl-C: trainings see to it themselves, and save; measurements are short; a process that waits is told to end.

    It is blocked and not ignored, so that it reaches a training that is about to begin.
    """
    signal.signal(signal.SIGINT, _forward_signal)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    threading.Thread(target=_end_with_parent, daemon=True).start()
    hardware.use_threads(threads)


def _forward_signal(signum: int, frame: object) -> None:
    """Send a SIGINT that another thread was given (numpy's do not block it) on to this one, where it waits."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.get_ident(), signum)


def _end_with_parent() -> None:
    """End this process once the one that runs the plan is gone: a training saves first."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(TIME_TO_SAVE)
        os._exit(1)


def _work(
    main: Callable[[list[str]], object], arguments: Sequence[str], folder: str
) -> tuple[int, str]:
    """One command, in a process that is kept for others. Its exit status and error.

    What it prints goes to a file of its own, line by line, and from there to the log, in one piece: commands that run
    side by side would mix their lines.
    """
    os.chdir(folder)
    output = Path(f"{UNDER_WAY}{os.getpid()}.txt")
    with (
        output.open("w", encoding="utf-8", buffering=1) as log,
        contextlib.redirect_stdout(log),
        contextlib.redirect_stderr(log),
    ):
        log.write(f"$ robustfw {' '.join(arguments)}\n")
        status = _status(main, list(arguments))
    error = _last_error(output)
    _append_to_log(output)
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        os._exit(status)
    return status, error


def _append_to_log(output: Path) -> None:
    """Append what a command has printed to the log, by one write, and remove its file."""
    with output.with_name(LOG).open("ab", buffering=0) as log:
        log.write(output.read_bytes())
    output.unlink()


def _last_error(output: Path) -> str:
    lines = output.read_text(encoding="utf-8", errors="replace").splitlines()
    errors = [line for line in lines if line.startswith(ERROR)]
    if errors:
        return errors[-1].removeprefix(ERROR)
    return ""


def _status(main: Callable[[list[str]], object], arguments: list[str]) -> int:
    try:
        main(arguments)
    except SystemExit as ended:
        if isinstance(ended.code, int):
            return ended.code
        return int(ended.code is not None)
    return 0
