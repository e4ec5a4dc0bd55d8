"""Run directories: a manifest, metrics, and checkpoints without pickle that are written whole or not at all."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shlex
import sys
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, final

import attrs
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from robustfw.errors import RunError, UsageError
from robustfw.files import json_bytes, plain, write_whole
from robustfw.records import Epoch, Record
from robustfw.state import State, evaluated_weights

SAVE_EVERY = 60.0
"""Seconds between two checkpoints within an epoch."""
PATIENCE = 10.0
"""Seconds to wait for a run that is in use: workers that read data outlive a killed training by about five."""
PARTS = ("dataset", "model", "uncertainty", "attack", "objective", "train")
"""What the recipe in a manifest is made of."""


@final
@attrs.frozen
class Run:
    """``manifest.json``, ``metrics.jsonl``, ``checkpoints/last.safetensors`` and ``checkpoints/best.safetensors``."""

    path: Path

    @classmethod
    def create(cls, path: Path, manifest: dict[str, Any]) -> Run:
        """A new directory, or one without a run; what holds anything of a run already is left alone."""
        run = cls(path)
        try:
            if any(file.exists() for file in run._files()):
                raise RunError(f"{path} holds a run already: go on with it by --resume, or choose another --out")
            (path / "checkpoints").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"cannot make the run directory {path}: {error.strerror}; choose another --out") from error
        run._write(run.manifest_path, json_bytes(manifest), "make room or choose another --out, then start again")
        return run

    @classmethod
    def open(cls, path: Path) -> Run:
        """An existing run; its manifest is read to make sure of it."""
        run = cls(path)
        run.manifest()
        return run

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
        path, advice = self.manifest_path, "without it the run cannot be used: train again with another --out"
        try:
            manifest = json.loads(path.read_bytes())
        except FileNotFoundError:
            raise RunError(f"there is no run in {self.path}: name a directory that robustfw train made") from None
        except NotADirectoryError:
            raise RunError(f"{self.path} is a file: name a directory that robustfw train made") from None
        except OSError as error:
            raise RunError(f"cannot read {path}: {error.strerror}; mend that, and try again") from error
        except ValueError as error:
            raise RunError(f"{path} is not JSON ({error}); {advice}") from error
        if not _is_manifest(manifest):
            raise RunError(f"{path} is not the manifest of a run: its recipe or its data are missing; {advice}")
        return dict(manifest)

    def write_manifest(self, manifest: dict[str, Any]) -> None:
        """Replace the manifest."""
        self._write(self.manifest_path, json_bytes(manifest))

    def metrics(self) -> list[dict[str, Any]]:
        """The finished epochs; a last line that was cut off by a kill or a full disk is none."""
        if not self.metrics_path.exists():
            return []
        *whole, _ = self.metrics_path.read_bytes().split(b"\n")
        try:
            lines = [json.loads(line) for line in whole]
        except ValueError:
            lines = [None]
        if not all(isinstance(line, dict) and "epoch" in line for line in lines):
            raise RunError(f"{self.metrics_path} is damaged: move it away to go on without the record of past epochs")
        return lines

    def keep(self, records: Iterator[Record], state: State) -> Generator[Record, None, None]:
        """Pass records on, and keep what they say: a line per epoch, the best weights, the state to resume from.

        The state is saved before the first record, after each epoch, now and then within one, and when the consumer
        stops early. At each of these moments it is whole, and a crash between two of them loses only the work between.

        Raises:
            RunError: another process (or another generator in this one) is training the run, or it cannot be written.
        """
        with self._reserved():
            self._keep_metrics_until(state.epoch)
            self.save(state)
            yield from self._kept(records, state)

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

    @contextlib.contextmanager
    def _reserved(self) -> Iterator[None]:
        """The directory for this training alone, and without what a killed one left half written."""
        if sys.platform == "win32":  # directories cannot be locked there
            yield
            return
        handle = os.open(self.path, os.O_RDONLY)
        try:
            _lock(handle, self.path)
            for file in self._files():
                for leftover in file.parent.glob(f".{file.name}.*.tmp"):
                    leftover.unlink()
            yield
        finally:
            os.close(handle)

    def save(self, state: State) -> None:
        """Write the whole state, unless its loss has stopped being finite: then the previous one is worth more."""
        if math.isfinite(float(state.total_loss)):
            self._save_tensors("last", state.tensors(), state.facts())

    def restore(self, state: State) -> None:
        """Put a fresh state where the last checkpoint stands; without one, training starts from the beginning."""
        if not self.checkpoint_path("last").exists():
            return
        tensors, facts = self._load_tensors("last")
        try:
            state.restore(tensors, facts)
        except (KeyError, RuntimeError, ValueError) as error:
            raise RunError(
                f"{self.checkpoint_path('last')} does not fit this recipe ({str(error).splitlines()[-1].strip()}): it "
                "belongs to another run, or to another version of a plugin; train again with another --out"
            ) from error

    def weights(self, name: str = "best") -> dict[str, Tensor]:
        """Weights to evaluate: ``best``, of highest robust validation accuracy, or those of the ``last`` checkpoint."""
        tensors, _ = self._load_tensors(name)
        return evaluated_weights(tensors) if name == "last" else tensors

    def _append(self, record: Epoch) -> None:
        values = attrs.asdict(record, filter=attrs.filters.exclude("model", "best_weights"))
        try:
            with self.metrics_path.open("ab") as file:
                file.write(json.dumps(plain(values), ensure_ascii=False).encode() + b"\n")
        except OSError as error:
            raise self._unwritable(self.metrics_path, error) from error

    def _keep_metrics_until(self, epoch: int) -> None:
        """Drop the lines of epochs that a resumed training will go through again."""
        lines = [json.dumps(line, ensure_ascii=False) for line in self.metrics() if line["epoch"] <= epoch]
        self._write(self.metrics_path, "".join(line + "\n" for line in lines).encode())

    def _save_tensors(self, name: str, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        copies = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
        self._write(self.checkpoint_path(name), save(copies, {"facts": json.dumps(facts)}))

    def _load_tensors(self, name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
        path, other = self.checkpoint_path(name), "last" if name == "best" else "best"
        command = shlex.join(["robustfw", "evaluate", str(self.path), "--weights", other])
        advice = f"the {other} weights may be there: {command}"
        try:
            with safe_open(path, framework="pt") as file:
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # not a mapping
                return tensors, json.loads(file.metadata()["facts"])
        except FileNotFoundError:
            raise RunError(f"{self.path} has no {name} checkpoint ({path} is missing); {advice}") from None
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise RunError(f"the checkpoint {path} is damaged, or none of robustfw ({error}); {advice}") from error

    def _write(self, path: Path, content: bytes, advice: str | None = None) -> None:
        try:
            write_whole(path, content)
        except OSError as error:
            raise self._unwritable(path, error, advice) from error

    def _unwritable(self, path: Path, error: OSError, advice: str | None = None) -> RunError:
        go_on = f"what was saved before is whole: make room, then go on with: {self.resume_command()}"
        return RunError(f"cannot write {path}: {error.strerror}; {advice or go_on}")


def _lock(handle: int, path: Path) -> None:
    """Lock an open directory; the system takes the lock back however the process ends."""
    import fcntl

    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise RunError(
                    f"{path} is being trained already, by another process or by records that were not closed: end "
                    "that, or choose another --out"
                ) from None
            time.sleep(0.1)
        except OSError:  # a file system that has no locks
            return None


def _is_manifest(value: object) -> bool:
    """Whether all is there that a run is taken up again from."""
    if not (isinstance(value, dict) and isinstance(value.get("recipe"), dict) and isinstance(value.get("data"), dict)):
        return False
    recipe, data = value["recipe"], value["data"]
    parts = all(isinstance(recipe.get(part), dict) for part in PARTS if part != "objective")
    objective = recipe.get("objective")  # a sum of several is a list
    listed = objective if isinstance(objective, list) and objective else [objective]
    parts = parts and all(isinstance(part, dict) for part in listed)
    return parts and isinstance(data.get("hash"), str) and isinstance(data.get("spec"), dict)


def unused_path(parent: Path, name: str) -> Path:
    """``parent/name``, or ``parent/name-2``, … : the first that is free."""
    candidates = (parent / (name if i == 1 else f"{name}-{i}") for i in range(1, 100_000))
    return next(path for path in candidates if not path.exists())
