"""A measurement that is under way, on disk: what was interrupted goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Generator, Iterable, Mapping
from pathlib import Path
from typing import Any, final

import attrs
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from robustfw.evaluation import Verdicts
from robustfw.inner.problem import Passes
from robustfw.storage.files import plain, write_whole

SAVE_EVERY = 5.0
"""Seconds between two saves."""


@final
@attrs.define(eq=False)
class Partial:
    """The verdicts of the batches so far, in one file; it is gone once the measurement is whole.

    What cannot be written is not kept, without a word: the measurement itself matters more.
    """

    path: Path
    batches: int = 0
    """Batches that are in the file, or on the way into it."""
    verdicts: Verdicts | None = None

    @classmethod
    def open(cls, folder: Path, circumstances: Mapping[str, Any]) -> Partial:
        """What was kept of the same measurement; nothing yet, where there is none or it cannot be read.

        Args:
            folder: where results are kept.
            circumstances: all that decides the verdicts; another measurement has a file of its own.
        """
        facts = json.dumps(plain(dict(circumstances)), sort_keys=True).encode()
        path = folder / f"partial-{hashlib.sha256(facts).hexdigest()[:10]}.safetensors"
        partial = cls(path)
        try:
            with safe_open(path, framework="pt") as file:
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # not a mapping
                said = json.loads(file.metadata()["facts"])
            partial.verdicts, partial.batches = _read(tensors, said), int(said["batches"])
        except (OSError, SafetensorError, KeyError, TypeError, ValueError):
            partial.verdicts, partial.batches = None, 0
        return partial

    def kept(self, parts: Iterable[Verdicts]) -> Generator[Verdicts, None, None]:
        """Pass on what is known already, then new verdicts while saving them; interrupted, what there is is saved."""
        saved = time.monotonic()
        if self.verdicts is not None:
            yield self.verdicts
        whole = False
        try:
            for part in parts:
                known = [] if self.verdicts is None else [self.verdicts]
                self.verdicts, self.batches = Verdicts.concatenate([*known, part]), self.batches + 1
                if time.monotonic() - saved > SAVE_EVERY:
                    self.save()
                    saved = time.monotonic()
                yield part
            whole = True
        finally:
            if whole:
                self.path.unlink(missing_ok=True)
            else:
                self.save()

    def save(self) -> None:
        """Write what there is."""
        if self.verdicts is None:
            return
        tensors, facts = _written(self.verdicts)
        content = save(tensors, {"facts": json.dumps(facts | {"batches": self.batches})})
        try:
            self.path.parent.mkdir(exist_ok=True)
            write_whole(self.path, content)
        except OSError:
            return


TENSORS = ("y", "clean", "robust", "clean_measure", "robust_measure")
NUMBERS = ("zero_gradients", "ties", "not_numbers", "seconds")


def _written(verdicts: Verdicts) -> tuple[dict[str, Tensor], dict[str, Any]]:
    values = {name: getattr(verdicts, name) for name in TENSORS}
    tensors = {name: value.contiguous() for name, value in values.items() if value is not None}
    facts = {name: getattr(verdicts, name) for name in NUMBERS}
    return tensors, facts | {"passes": [verdicts.passes.forward, verdicts.passes.backward]}


def _read(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> Verdicts:
    forward, backward = facts["passes"]
    numbers = {name: facts[name] for name in NUMBERS}
    given = {name: tensors.get(name) for name in TENSORS}
    return Verdicts(passes=Passes(forward, backward), **numbers, **given)  # type: ignore[arg-type]  # by name
