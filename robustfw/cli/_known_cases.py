"""The worst cases that earlier evaluations of a net have found, for `robustfw evaluate --known`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from robustfw.cli.subject import Subject
    from robustfw.evaluation import KnownCases
    from robustfw.inner.threat import Threat


@contextlib.contextmanager
def known_cases(
    subject: Subject, threat: Threat, *, wanted: bool
) -> Iterator[KnownCases | None]:
    """The worst cases that are known of a net within a set; what is added meanwhile is kept, also of a part.

    Args:
        subject: the net and its data.
        threat: the set within the data range.
        wanted: False gives None.
    """
    if not wanted:
        yield None
        return
    from robustfw import console
    from robustfw.storage._known_cases import (
        known_cases_path,
        read_known_cases,
        write_known_cases,
    )
    from robustfw.storage.collections import hash_weights

    circumstances = {
        "uncertainty": subject.known.spell(threat.uncertainty),
        "bounds": subject.spec.bounds,
        "data": subject.data_hash,
        "split": subject.choices.split,
        "weights": hash_weights(subject.model.state_dict()),
    }
    path = known_cases_path(subject.home / "results", circumstances)
    known = read_known_cases(path)
    if len(known) and not subject.choices.as_json:
        console.line(f"beginning with {len(known)} worst cases that are known")
    try:
        yield known
    finally:
        is_kept = write_known_cases(path, known)
        if len(known) and not is_kept:
            console.problem(
                "the worst cases are too large to be kept, or cannot be written: a later evaluation begins without them"
            )
