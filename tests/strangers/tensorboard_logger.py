"""TensorBoard beside each run: its recipe, a curve for each number, and how the training ended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robustfw import Epoch, Record, Step, hookimpl

WRITERS: dict[Path, Any] = {}
"""An open writer for each training that is under way."""
NUMBERS = ("loss", "clean_accuracy", "robust_accuracy", "attack_accuracy", "gradient_alignment", "learning_rate")


@hookimpl
def robustfw_start(run: Path | None, recipe: Mapping[str, Any]) -> None:
    from torch.utils.tensorboard import SummaryWriter

    if run is not None:
        WRITERS[run] = SummaryWriter(str(run / "tensorboard"))
        WRITERS[run].add_text("recipe", json.dumps(recipe, indent=2, ensure_ascii=False))


@hookimpl
def robustfw_record(run: Path | None, record: Record) -> None:
    if run is None:
        return
    if isinstance(record, Step):
        step = (record.epoch - 1) * record.batches + record.batch
        WRITERS[run].add_scalar("step/loss", float(record.loss), step)
    if isinstance(record, Epoch):
        for name in NUMBERS:
            WRITERS[run].add_scalar(f"epoch/{name}", getattr(record, name), record.epoch)
        for warning in record.warnings:
            WRITERS[run].add_text("warning", warning, record.epoch)


@hookimpl
def robustfw_end(run: Path | None, outcome: str | Exception) -> None:
    if run is not None:
        with WRITERS.pop(run) as writer:
            writer.add_text("outcome", outcome if isinstance(outcome, str) else f"{type(outcome).__name__}: {outcome}")
