"""What people see: progress, tables, results. Only this package imports rich; plain lines when not a terminal."""

from __future__ import annotations

from robustfw.console._bars import batches, epoch_line, progress, track, training
from robustfw.console._output import line, paragraph, problem, table
from robustfw.console._results import (
    audit,
    collection,
    comparison,
    distinguishability,
    lipschitz,
    print_fooling,
    show,
    sweep,
    transfer,
)

__all__ = [
    "audit",
    "batches",
    "collection",
    "comparison",
    "distinguishability",
    "epoch_line",
    "line",
    "lipschitz",
    "paragraph",
    "print_fooling",
    "problem",
    "progress",
    "show",
    "sweep",
    "table",
    "track",
    "training",
    "transfer",
]
