"""What people see: progress, tables, results. Only this package imports rich; plain lines when not a terminal."""

from __future__ import annotations

from robustfw.console._bars import (
    batches,
    batches_until,
    epoch_line,
    progress,
    track,
    training,
)
from robustfw.console._output import line, paragraph, problem, table
from robustfw.console._results import (
    collection,
    show,
)

__all__ = [
    "batches",
    "batches_until",
    "collection",
    "epoch_line",
    "line",
    "paragraph",
    "problem",
    "progress",
    "show",
    "table",
    "track",
    "training",
]
