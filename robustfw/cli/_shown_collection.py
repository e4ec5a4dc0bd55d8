"""`robustfw evaluate --on`: the adversarial examples of a collection, shown to another net."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from robustfw.cli.subject import Subject


def show_collection(subject: Subject, path: Path) -> dict[str, Any]:
    """Show the net the adversarial examples of a collection, show and keep the result."""
    from robustfw.evaluation._transfer import Transfer, verify
    from robustfw.storage.collections import Collection

    collection = Collection.open(path)
    threats = collection.threats(subject.known, subject.splits)
    verify(
        collection.examples,
        split=collection.originals(subject.splits),
        threats=threats,
        task=subject.task,
    )
    specs = [subject.known.spell(threat.uncertainty) for threat in threats]
    transfer = Transfer.measure(
        subject.model, collection.examples, specs, collection.bounds, subject.task
    )
    circumstances = {
        "run": subject.name,
        "weights": subject.choices.weights,
        "collection": str(path),
        "source": collection.source,
        "collection_sha256": collection.manifest["sha256"],
    }
    return subject.show_and_keep("transfer", circumstances, attrs.asdict(transfer))
