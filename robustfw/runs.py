"""Run directories: a manifest, metrics, and checkpoints without pickle that are written whole or not at all."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, final

import attrs
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from robustfw.engine import Epoch, Record
from robustfw.errors import RunError
from robustfw.state import State, evaluated_weights

SAVE_EVERY = 60.0
"""Seconds between two checkpoints within an epoch."""


@final
@attrs.frozen
class Run:
    """``manifest.json``, ``metrics.jsonl``, ``checkpoints/last.safetensors`` and ``checkpoints/best.safetensors``."""

    path: Path

    @classmethod
    def create(cls, path: Path, manifest: dict[str, Any]) -> Run:
        """A new directory, or an empty one; what holds a run already is left alone."""
        run = cls(path)
        if run.manifest_path.exists():
            raise RunError(f"{path} holds a run already: go on with it by --resume, or choose another --out")
        try:
            (path / "checkpoints").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"cannot make the run directory {path}: {error.strerror}; choose another --out") from error
        run.write_manifest(manifest)
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

    def checkpoint_path(self, name: str) -> Path:
        """``last`` holds a whole `State`, ``best`` the weights of highest robust validation accuracy."""
        return self.path / "checkpoints" / f"{name}.safetensors"

    def manifest(self) -> dict[str, Any]:
        """The run's record."""
        try:
            manifest = json.loads(self.manifest_path.read_text())
        except FileNotFoundError:
            raise RunError(f"there is no run in {self.path}: it has no manifest.json") from None
        except (OSError, ValueError) as error:
            raise RunError(f"cannot read {self.manifest_path}: {error}") from error
        if not isinstance(manifest, dict) or "recipe" not in manifest:
            raise RunError(f"{self.manifest_path} is not the manifest of a run: it names no recipe")
        return manifest

    def write_manifest(self, manifest: dict[str, Any]) -> None:
        """Replace the manifest."""
        self._write(self.manifest_path, (json.dumps(manifest, indent=2, ensure_ascii=False) + "\n").encode())

    def metrics(self) -> list[dict[str, Any]]:
        """The finished epochs."""
        if not self.metrics_path.exists():
            return []
        return [json.loads(line) for line in self.metrics_path.read_text().splitlines()]

    def keep(self, records: Iterator[Record], state: State) -> Generator[Record, None, None]:
        """Pass records on, and keep what they say: a line per epoch, the best weights, the state to resume from.

        The state is saved before the first record, after each epoch, now and then within one, and when the consumer
        stops early. At each of these moments it is whole, and a crash between two of them loses only the work between.
        """
        self._keep_metrics_until(state.epoch)
        self.save(state)
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
                f"{self.checkpoint_path('last')} does not fit the net of this recipe: {str(error).splitlines()[0]}"
            ) from error

    def weights(self, name: str = "best") -> dict[str, Tensor]:
        """Weights to evaluate: ``best``, of highest robust validation accuracy, or those of the ``last`` checkpoint."""
        tensors, _ = self._load_tensors(name)
        return evaluated_weights(tensors) if name == "last" else tensors

    def _append(self, record: Epoch) -> None:
        values = attrs.asdict(record, filter=attrs.filters.exclude("model"))
        line = json.dumps({key: _plain(value) for key, value in values.items()}, ensure_ascii=False)
        try:
            with self.metrics_path.open("a") as file:
                file.write(line + "\n")
        except OSError as error:
            raise self._unwritable(self.metrics_path, error) from error

    def _keep_metrics_until(self, epoch: int) -> None:
        """Drop the lines of epochs that a resumed training will go through again."""
        lines = [json.dumps(line, ensure_ascii=False) for line in self.metrics() if line["epoch"] <= epoch]
        self._write(self.metrics_path, "".join(line + "\n" for line in lines).encode())

    def _save_tensors(self, name: str, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        plain = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
        self._write(self.checkpoint_path(name), save(plain, {"facts": json.dumps(facts)}))

    def _load_tensors(self, name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
        path = self.checkpoint_path(name)
        try:
            with safe_open(path, framework="pt") as file:
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # not a mapping
                return tensors, json.loads(file.metadata()["facts"])
        except FileNotFoundError:
            raise RunError(f"{self.path} has no {name} checkpoint yet: {path} is missing") from None
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise RunError(
                f"cannot read the checkpoint {path}: {error}; it is damaged, or no checkpoint of robustfw"
            ) from error

    def _write(self, path: Path, content: bytes) -> None:
        """Whole or not at all: a temporary file beside it, flushed to the disk, then renamed."""
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise self._unwritable(path, error) from error

    def _unwritable(self, path: Path, error: OSError) -> RunError:
        return RunError(
            f"cannot write {path}: {error.strerror}; what was saved before is whole: make room or mend the "
            f"permissions, then go on with: robustfw train --resume --out {self.path}"
        )


def _plain(value: object) -> object:
    """A value as JSON has it; what is not a number is null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def unused_path(parent: Path, name: str) -> Path:
    """``parent/name``, or ``parent/name-2``, … : the first that is free."""
    candidates = (parent / (name if i == 1 else f"{name}-{i}") for i in range(1, 100_000))
    return next(path for path in candidates if not path.exists())
