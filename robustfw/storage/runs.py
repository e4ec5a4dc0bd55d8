"""Run directories: a manifest, metrics, and checkpoints without pickle that are written whole or not at all."""

from __future__ import annotations

import contextlib
import math
import shlex
import time
import warnings
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import attrs
from torch import Tensor

from robustfw.errors import RobustfwWarning, RunError, UsageError
from robustfw.records import Epoch, Record
from robustfw.storage._checkpoints import DAMAGED, decode, encode, evaluated_weights, misfit
from robustfw.storage._locks import DirectoryLock, claim
from robustfw.storage._manifests import read_manifest, read_metrics
from robustfw.storage.files import advice, append_line, json_bytes, json_line, remove_leftovers, write_whole

if TYPE_CHECKING:
    from robustfw.training._state import State

SAVE_EVERY = 60.0
"""Seconds between two checkpoints within an epoch."""


@final
@attrs.frozen
class Run:
    """``manifest.json``, ``metrics.jsonl``, ``checkpoints/last.safetensors`` and ``checkpoints/best.safetensors``."""

    path: Path
    lock: DirectoryLock | None = attrs.field(default=None, eq=False, repr=False)
    """The right to train it, where this object has it."""

    @classmethod
    def create(cls, path: Path, manifest: dict[str, Any], lock: DirectoryLock | None = None) -> Run:
        """Make a run in a new directory, or in one that holds nothing of a run.

        Args:
            path: the directory.
            manifest: the record of the run.
            lock: the right to write there (see `claim`); whoever has none must be alone.

        Raises:
            RunError: there is a run, or a part of one, or the directory cannot be written.
        """
        run = cls(path, lock)
        try:
            left = [file for file in run._files() if file.exists()]
            if run.manifest_path in left:
                raise RunError(f"{path} holds a run already: go on with it by --resume, or choose another --out")
            if left:
                raise run._without_manifest()
            (path / "checkpoints").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"cannot make the run directory {path}: {error.strerror}; choose another --out") from error
        run._write(run.manifest_path, json_bytes(manifest), new=True)
        return run

    @classmethod
    def open(cls, path: Path, lock: DirectoryLock | None = None) -> Run:
        """An existing run; its manifest is read to make sure of it."""
        run = cls(path, lock)
        run.manifest()
        return run

    def release(self) -> None:
        """Give up the right to train the run; training does so by itself at its end."""
        if self.lock is not None:
            self.lock.release()

    @property
    def manifest_path(self) -> Path:
        """What makes a directory a run."""
        return self.path / "manifest.json"

    @property
    def metrics_path(self) -> Path:
        """One JSON object per finished epoch."""
        return self.path / "metrics.jsonl"

    def _files(self) -> tuple[Path, ...]:
        return self.manifest_path, self.metrics_path, self.checkpoint_path("last"), self.checkpoint_path("best")

    def checkpoint_path(self, name: str) -> Path:
        """``last`` holds a whole `State`, ``best`` the weights of highest robust validation accuracy."""
        return self.path / "checkpoints" / f"{name}.safetensors"

    def resume_command(self) -> str:
        """What to type to go on with this run."""
        return shlex.join(["robustfw", "train", "--resume", "--out", str(self.path)])

    def manifest(self) -> dict[str, Any]:
        """The run's record."""
        if not self.manifest_path.exists() and any(file.exists() for file in self._files()):
            raise self._without_manifest()
        return read_manifest(self.manifest_path)

    def write_manifest(self, manifest: dict[str, Any]) -> None:
        """Replace the manifest."""
        self._write(self.manifest_path, json_bytes(manifest))

    def _without_manifest(self) -> RunError:
        return RunError(
            f"{self.path} holds parts of a run, but {self.manifest_path} is missing, which says what was trained: put "
            "it back, or choose another --out"
        )

    def metrics(self) -> list[dict[str, Any]]:
        """The finished epochs; a last line that was cut off by a kill or a full disk is none."""
        return read_metrics(self.metrics_path)

    def keep(self, records: Iterator[Record], state: State) -> Generator[Record, None, None]:
        """Pass records on, and keep what they say: a line per epoch, the best weights, the state to resume from.

        The state is saved before the first record, after each epoch, now and then within one, and when the consumer
        stops early. At each of these moments it is whole, and a crash between two of them loses only the work between.
        The run's lock is used up; without one a new one is taken.

        Raises:
            RunError: another process (or another generator in this one) is training the run, or it cannot be written.
        """
        held = self.lock is not None and self.lock.held
        lock = self.lock.hand_over() if held and self.lock is not None else claim(self.path, "trained")
        run = attrs.evolve(self, lock=lock)
        try:
            for file in run._files():
                remove_leftovers(file.parent, file.name, older=0)
            run._keep_metrics_until(state.epoch)
            run.save(state)
            yield from run._kept(records, state)
        finally:
            lock.release()

    def _kept(self, records: Iterator[Record], state: State) -> Generator[Record, None, None]:
        saved = time.monotonic()
        try:
            for record in records:
                if isinstance(record, Epoch):
                    self._append(record)
                    if record.best:
                        self._save_tensors("best", state.weights(), {"epoch": record.epoch})
                if isinstance(record, Epoch) or time.monotonic() - saved > SAVE_EVERY:
                    self.save(state)
                    saved = time.monotonic()
                yield record
        except GeneratorExit:
            self.save(state)
            raise
        except UsageError:
            if state.epoch == state.batch == 0:
                self._withdraw()
            raise

    def _withdraw(self) -> None:
        """Take back a run whose recipe cannot make even a first step, so that the name is free for a better one."""
        for file in self._files():
            file.unlink(missing_ok=True)
        if self.lock is not None:
            with contextlib.suppress(OSError):  # something else may be in it
                (self.path / "checkpoints").rmdir()
            self.lock.abandon()

    def save(self, state: State) -> None:
        """Write the whole state, unless its loss has stopped being finite: then the previous one is worth more."""
        if math.isfinite(float(state.total_loss)):
            self._save_tensors("last", state.tensors(), state.facts())

    def restore(self, state: State) -> None:
        """Put a fresh state where the last checkpoint stands; before the first one, training starts from the beginning.

        Raises:
            RunError: the checkpoint is lost, damaged, or of another training.
        """
        path = self.checkpoint_path("last")
        if not path.exists():
            trained = len(self.metrics())
            if trained or self.checkpoint_path("best").exists():
                raise RunError(
                    f"{path} is missing, though {trained} epochs were trained: put it back, or train again with "
                    "another --out"
                )
            return
        tensors, facts = self._load_tensors("last")
        reason = misfit(facts, state.facts())
        try:
            if reason is None:
                state.restore(tensors, facts)
        except Exception as error:  # whatever torch raises at what it was not given by itself
            reason = (str(error).splitlines() or [type(error).__name__])[-1].strip()
            raise self._foreign(path, reason) from error
        if reason is None and not all(type(n) is int and n >= 0 for n in (state.epoch, state.batch)):
            reason = f"it stands at epoch {state.epoch}, batch {state.batch}"
        if reason is not None:
            raise self._foreign(path, reason)

    @staticmethod
    def _foreign(path: Path, reason: str) -> RunError:
        return RunError(
            f"{path} does not fit this recipe ({reason}): it belongs to another run, or to another version of a "
            "plugin; train again with another --out"
        )

    def weights(self, name: str = "best") -> dict[str, Any]:
        """Weights to evaluate: ``best``, of highest robust validation accuracy, or those of the ``last`` checkpoint.

        A module's extra state is among them where it has one.

        Raises:
            RunError: the checkpoint is missing or damaged.
        """
        named, _ = self._load_tensors(name)
        weights = evaluated_weights(named) if name == "last" else named
        broken = [key for key, value in weights.items() if isinstance(value, Tensor) and bool(value.isnan().any())]
        if broken:
            warnings.warn(
                f"{len(broken)} of the {name} weights in {self.path} are not numbers (NaN), the first of them "
                f"{broken[0]}: what is measured with them says nothing",
                RobustfwWarning,
                stacklevel=2,
            )
        return weights

    def _append(self, record: Epoch) -> None:
        values = attrs.asdict(record, filter=attrs.filters.exclude("model", "best_weights"))
        self._check_place()
        try:
            append_line(self.metrics_path, json_line(values), within=self.path)
        except OSError as error:
            raise self._unwritable(self.metrics_path, error) from error

    def _keep_metrics_until(self, epoch: int) -> None:
        """Drop the lines of epochs that a resumed training will go through again."""
        lines = [json_line(line) + b"\n" for line in self.metrics() if line["epoch"] <= epoch]
        self._write(self.metrics_path, b"".join(lines))

    def _save_tensors(self, name: str, tensors: dict[str, Any], facts: dict[str, Any]) -> None:
        self._write(self.checkpoint_path(name), encode(tensors, facts))

    def _load_tensors(self, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
        path, other = self.checkpoint_path(name), "last" if name == "best" else "best"
        command = shlex.join(["robustfw", "evaluate", str(self.path), "--weights", other])
        instead = f"the {other} weights may be there: {command}"
        if not self.checkpoint_path(other).exists():
            instead = "put the folder checkpoints back, or train again with another --out"
        try:
            return decode(path)
        except FileNotFoundError:
            raise RunError(f"{self.path} has no {name} checkpoint ({path} is missing); {instead}") from None
        except OSError as error:
            raise RunError(f"cannot read {path}: {error.strerror}; mend that, or {instead}") from error
        except DAMAGED as error:
            raise RunError(f"the checkpoint {path} is damaged, or none of robustfw ({error}); {instead}") from error

    def _write(self, path: Path, content: bytes, *, new: bool = False) -> None:
        """Write a file of this run, or of a ``new`` one, of which nothing has been saved yet."""
        self._check_place()
        try:
            if path.parent != self.path:
                path.parent.mkdir(exist_ok=True)
            write_whole(path, content, within=self.path)
        except OSError as error:
            raise self._unwritable(path, error, new=new) from error

    def _check_place(self) -> None:
        """Make sure that nothing is written into another run, which may have taken the name of this one meanwhile."""
        if self.lock is not None and not self.lock.is_at(self.path):
            raise RunError(
                f"{self.path} was renamed or removed while it was trained: what was saved is in it, and robustfw train "
                "--resume --out with its new name goes on"
            )

    def _unwritable(self, path: Path, error: OSError, *, new: bool = False) -> RunError:
        help_ = f"{advice(error)} or choose another --out, then start again"
        if not new:
            help_ = f"what was saved before is whole: {advice(error)}, then go on with: {self.resume_command()}"
        return RunError(f"cannot write {path}: {error.strerror}; {help_}")
