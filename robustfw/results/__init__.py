"""Results beside a run: how they are kept, and the kinds that there are, each in a file of its own.

A result is a JSON object in the folder ``results`` of a run. Its kind, a `ResultKind`, says what its fields are, what
the console prints of it, and which tables and figures the report shows. Plugins bring kinds by ``add(name, cls)``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from robustfw.hookspecs import hookimpl
from robustfw.results.drawing import Drawing
from robustfw.results.kind import Caution, ResultKind, Said
from robustfw.results.store import (
    FOLDER,
    Pictures,
    keep,
    keep_pictures,
    keep_worst_cases,
    kept,
    path_of,
)
from robustfw.results.table import Table

if TYPE_CHECKING:
    from robustfw.hookspecs import Add

__all__ = [
    "FOLDER",
    "Caution",
    "Drawing",
    "Pictures",
    "ResultKind",
    "Said",
    "Table",
    "keep",
    "keep_pictures",
    "keep_worst_cases",
    "kept",
    "path_of",
]


@hookimpl
def robustfw_register(add: Add) -> None:
    """Offer the kinds of results that robustfw's own commands keep."""
    from robustfw.results.audit import AuditKind
    from robustfw.results.comparison import ComparisonKind
    from robustfw.results.distinguishability import DistinguishabilityKind
    from robustfw.results.evaluation import EvaluationKind
    from robustfw.results.fooling import FoolingKind
    from robustfw.results.lipschitz import LipschitzKind
    from robustfw.results.pictures import PicturesKind
    from robustfw.results.sweep import SweepKind
    from robustfw.results.transfer import TransferKind
    from robustfw.results.worst_cases import WorstCasesKind

    add("audit", AuditKind)
    add("comparison", ComparisonKind)
    add("distinguishability", DistinguishabilityKind)
    add("evaluation", EvaluationKind)
    add("fooling", FoolingKind)
    add("lipschitz", LipschitzKind)
    add("pictures", PicturesKind)
    add("sweep", SweepKind)
    add("transfer", TransferKind)
    add("worst-cases", WorstCasesKind)
