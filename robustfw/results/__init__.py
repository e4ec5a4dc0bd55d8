"""Results beside a run: how they are kept, and the kinds that there are, each in a file of its own.

A result is a JSON object in the folder ``results`` of a run. Its kind, a `ResultKind`, says what its fields are, what
the console prints of it, and which tables and figures the report shows. Plugins bring kinds by ``add(name, cls)``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from robustfw.hookspecs import hookimpl
from robustfw.results._kind import Caution, ConsoleOutput, Drawing, ResultKind
from robustfw.results._store import (
    FOLDER,
    Pictures,
    keep,
    keep_pictures,
    keep_worst_cases,
    load_results,
    path_of,
)
from robustfw.results._table import Table

if TYPE_CHECKING:
    from robustfw.hookspecs import Add

__all__ = [
    "FOLDER",
    "Caution",
    "ConsoleOutput",
    "Drawing",
    "Pictures",
    "ResultKind",
    "Table",
    "keep",
    "keep_pictures",
    "keep_worst_cases",
    "load_results",
    "path_of",
]

KINDS = {
    "audit": ("audit:AuditKind", "The masking checklist; robustfw audit keeps it."),
    "comparison": (
        "comparison:ComparisonKind",
        "Two nets on the same examples; robustfw compare keeps it.",
    ),
    "distinguishability": (
        "distinguishability:DistinguishabilityKind",
        "How far apart classes are; robustfw analyze keeps it.",
    ),
    "evaluation": (
        "evaluation:EvaluationKind",
        "Clean and robust accuracy on one split; robustfw evaluate keeps it.",
    ),
    "fooling": (
        "fooling:FoolingKind",
        "Noise that a net takes for each class; robustfw analyze keeps it.",
    ),
    "lipschitz": (
        "lipschitz:LipschitzKind",
        "Lipschitz constants of layers and net; robustfw analyze keeps it.",
    ),
    "sweep": ("sweep:SweepKind", "Accuracy at growing radii; robustfw sweep keeps it."),
    "transfer": (
        "transfer:TransferKind",
        "Accuracy on another net's examples; robustfw evaluate --on keeps it.",
    ),
    "worst-cases": (
        "worst_cases:WorstCasesKind",
        "A few examples that fool the net; robustfw evaluate keeps them.",
    ),
}
"""The kinds that robustfw's own commands keep: the module and class of each, which is imported when it is used."""


@hookimpl
def robustfw_register(add: Add) -> None:
    """Offer the kinds of results that robustfw brings."""
    from robustfw.results._pictures import PicturesKind

    # the class itself, which brings the interface with it
    add("pictures", PicturesKind)
    for name, (place, summary) in KINDS.items():
        add(name, f"robustfw.results._{place}", kind="result", summary=summary)
