"""Run directories: a manifest, metrics, and checkpoints without pickle, each written whole or not at all."""

from __future__ import annotations

import contextlib
import math
import shlex
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import attrs

from robustfw.errors import RunError, UsageError
from robustfw.records import Epoch, Record
from robustfw.storage._checkpoints import (
    encode,
    weights_to_evaluate,
)
from robustfw.storage._locks import DirectoryLock, claim
from robustfw.storage._manifests import read_manifest, read_metrics
from robustfw.storage._run_checkpoints import (
    checkpoint_path,
    read_checkpoint,
    restore_last,
    warn_of_nan,
)
from robustfw.storage._run_errors import (
    missing_manifest,
    unwritable,
)
from robustfw.storage.files import (
    append_line,
    json_bytes,
    json_line,
    remove_leftovers,
    write_whole,
)

if TYPE_CHECKING:
    from robustfw.training._state import State

SAVE_EVERY = 60.0
"""Seconds between two checkpoints within an epoch."""


@final
@attrs.frozen
class Run:
    """A directory with ``manifest.json``, ``metrics.jsonl`` and ``checkpoints/last.safetensors`` and ``…/best…``."""

    path: Path
    lock: DirectoryLock | None = attrs.field(default=None, eq=False, repr=False)
    """The lock on the directory, if this object may train the run."""

    @classmethod
    def create(
        cls, path: Path, manifest: dict[str, Any], lock: DirectoryLock | None = None
    ) -> Run:
        """Make a run in a new directory, or in one that holds nothing of a run.

        Args:
            path: the directory.
            manifest: the record of the run.
            lock: the lock on the directory (see `claim`); without one, nobody else may write there.

        Raises:
            RunError: there is a run, or a part of one, or the directory cannot be written.
        """
        run = cls(path, lock)
        try:
            existing = [file for file in run._files() if file.exists()]
            if run.manifest_path in existing:
                raise RunError(
                    f"{path} holds a run already: go on with it by --resume, or choose another --out"
                )
            if existing:
                raise missing_manifest(run.manifest_path)
            (path / "checkpoints").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(
                f"cannot make the run directory {path}: {error.strerror}; choose another --out"
            ) from error
        run._write(run.manifest_path, json_bytes(manifest), new=True)
        return run

    @classmethod
    def open(cls, path: Path, lock: DirectoryLock | None = None) -> Run:
        """An existing run, whose manifest is read as a check.

        Raises:
            RunError: there is none, or its manifest cannot be read.
        """
        run = cls(path, lock)
        run.manifest()
        return run

    def release(self) -> None:
        """Release the lock on the directory; training does so by itself at its end."""
        if self.lock is not None:
            self.lock.release()

    @property
    def manifest_path(self) -> Path:
        """The file that makes a directory a run."""
        return self.path / "manifest.json"

    @property
    def metrics_path(self) -> Path:
        """The file with one JSON object per finished epoch."""
        return self.path / "metrics.jsonl"

    def _files(self) -> tuple[Path, ...]:
        """All files that a run may have."""
        return (
            self.manifest_path,
            self.metrics_path,
            self.checkpoint_path("last"),
            self.checkpoint_path("best"),
        )

    def checkpoint_path(self, name: str) -> Path:
        """The file of ``last``, a whole `State`, or of ``best``, the weights of highest robust validation accuracy."""
        return checkpoint_path(self.path, name)

    def resume_command(self) -> str:
        """The command that goes on with this run."""
        return shlex.join(["robustfw", "train", "--resume", "--out", str(self.path)])

    def manifest(self) -> dict[str, Any]:
        """Read the manifest.

        Raises:
            RunError: it is missing, cannot be read, or is none.
        """
        if not self.manifest_path.exists() and any(
            file.exists() for file in self._files()
        ):
            raise missing_manifest(self.manifest_path)
        return read_manifest(self.manifest_path)

    def write_manifest(self, manifest: dict[str, Any]) -> None:
        """Replace the manifest."""
        self._write(self.manifest_path, json_bytes(manifest))

    def metrics(self) -> list[dict[str, Any]]:
        """Read the finished epochs; a last line that was cut off by a kill or a full disk is left out."""
        return read_metrics(self.metrics_path)

    def keep(
        self, records: Iterator[Record], state: State
    ) -> Generator[Record, None, None]:
        """Yield records, and save what they say: a line per epoch, the best weights, the state to resume from.

        The state is saved before the first record, after each epoch, once in a while within one, and when the caller
        stops early. It is whole at each of these moments, and a crash between two of them loses only the work between.
        The run's lock is handed over and released at the end; without one a new one is taken.

        Raises:
            RunError: another process (or another generator in this one) is training the run, or it cannot be written.
        """
        own_lock = self.lock if self.lock is not None and self.lock.held else None
        lock = claim(self.path, "trained") if own_lock is None else own_lock.hand_over()
        run = attrs.evolve(self, lock=lock)
        try:
            for file in run._files():
                remove_leftovers(file.parent, file.name, older=0)
            run._keep_metrics_until(state.epoch)
            run.save(state)
            yield from run._save_records(records, state)
        finally:
            lock.release()

    def _save_records(
        self, records: Iterator[Record], state: State
    ) -> Generator[Record, None, None]:
        """Yield records and save what they say, in a directory that is locked."""
        last_save = time.monotonic()
        try:
            for record in records:
                save_now = time.monotonic() - last_save > SAVE_EVERY
                if isinstance(record, Epoch):
                    self._append(record)
                    if record.best:
                        epoch = {"epoch": record.epoch}
                        self._save_tensors("best", state.weights(), epoch)
                    save_now = True
                if save_now:
                    self.save(state)
                    last_save = time.monotonic()
                yield record
        except GeneratorExit:
            self.save(state)
            raise
        except UsageError:
            # a recipe that cannot make even a first step: the name is free for a better one
            if state.epoch == state.batch == 0:
                self._withdraw()
            raise

    def _withdraw(self) -> None:
        """Remove the run's files, and its directories if they are empty and were made for it."""
        for file in self._files():
            file.unlink(missing_ok=True)
        if self.lock is not None:
            with contextlib.suppress(OSError):  # something else may be in it
                (self.path / "checkpoints").rmdir()
            self.lock.abandon()

    def save_weights(self, weights: dict[str, Any]) -> None:
        """Save the weights of a net that is not trained here, as the ``best`` ones."""
        self._save_tensors("best", weights, {})

    def save(self, state: State) -> None:
        """Save the state as ``last``, unless its loss is not finite: then the previous checkpoint is worth more."""
        if math.isfinite(float(state.total_loss)):
            self._save_tensors("last", state.tensors(), state.facts())

    def restore(self, state: State) -> None:
        """Restore a fresh state from the last checkpoint; where there is none yet, it stays as it is.

        Raises:
            RunError: the checkpoint is lost, damaged, or of another training.
        """
        path = self.checkpoint_path("last")
        if not path.exists():
            epochs = len(self.metrics())
            if epochs or self.checkpoint_path("best").exists():
                raise RunError(
                    f"{path} is missing, though {epochs} epochs were trained: put it back, or train again with "
                    "another --out"
                )
            return
        restore_last(self.path, state)

    def weights(self, name: str = "best") -> dict[str, Any]:
        """Read the weights ``best``, of highest robust validation accuracy, or those of the ``last`` checkpoint.

        A module's extra state is among them, if it has one. Weights that are not numbers are warned of.

        Raises:
            RunError: the checkpoint is missing or damaged.
        """
        named, _ = read_checkpoint(self.path, name)
        weights = weights_to_evaluate(named) if name == "last" else named
        warn_of_nan(weights, name, self.path)
        return weights

    def _append(self, record: Epoch) -> None:
        """Add an epoch's line to the metrics."""
        values = attrs.asdict(
            record, filter=attrs.filters.exclude("model", "best_weights")
        )
        self._check_place()
        try:
            append_line(self.metrics_path, json_line(values), within=self.path)
        except OSError as error:
            raise unwritable(self.metrics_path, error, self.resume_command()) from error

    def _keep_metrics_until(self, epoch: int) -> None:
        """Drop the metrics of later epochs, which a resumed training will go through again."""
        lines = []
        for line in self.metrics():
            if line["epoch"] <= epoch:
                lines.append(json_line(line) + b"\n")
        self._write(self.metrics_path, b"".join(lines))

    def _save_tensors(
        self, name: str, tensors: dict[str, Any], facts: dict[str, Any]
    ) -> None:
        """Write the checkpoint of that name."""
        self._write(self.checkpoint_path(name), encode(tensors, facts))

    def _write(self, path: Path, content: bytes, *, new: bool = False) -> None:
        """Write a file; ``new`` says that the run is new, so that nothing has been saved yet."""
        self._check_place()
        try:
            if path.parent != self.path:
                path.parent.mkdir(exist_ok=True)
            write_whole(path, content, within=self.path)
        except OSError as error:
            go_on = None if new else self.resume_command()
            raise unwritable(path, error, go_on) from error

    def _check_place(self) -> None:
        """Make sure that the path still leads to this run: another one may have taken its name meanwhile."""
        if self.lock is not None and not self.lock.is_at(self.path):
            raise RunError(
                f"{self.path} was renamed or removed while it was trained: what was saved is in it, and robustfw train "
                "--resume --out with its new name goes on"
            )
