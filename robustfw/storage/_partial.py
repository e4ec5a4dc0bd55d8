"""Measurements under way, saved on disk, so that an interrupted one goes on where it stopped."""

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
from robustfw.storage.files import json_value, write_whole

SAVE_EVERY = 5.0
"""Seconds between two saves."""


@final
@attrs.define(eq=False)
class Partial:
    """The verdicts of a measurement so far, in one file, which is removed when the measurement is complete.

    A file that cannot be written is left out without a warning: the measurement itself matters more.
    """

    path: Path
    """The file."""
    verdicts: Verdicts | None = None
    """The verdicts on the first examples; None before the first batch. Kept examples are not saved with them."""

    @classmethod
    def open(cls, folder: Path, circumstances: Mapping[str, Any]) -> Partial:
        """Read the saved part of a measurement; it is empty where there is none or it cannot be read.

        Args:
            folder: where results are kept.
            circumstances: everything that decides the verdicts; their hash is in the file's name.
        """
        facts = json.dumps(json_value(dict(circumstances)), sort_keys=True).encode()
        path = folder / f"partial-{hashlib.sha256(facts).hexdigest()[:10]}.safetensors"
        partial = cls(path)
        try:
            with safe_open(path, framework="pt") as file:
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # not a mapping
                saved_facts = json.loads(file.metadata()["facts"])
            verdicts = _decode_verdicts(tensors, saved_facts)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError):
            return partial
        partial.verdicts = verdicts
        return partial

    def collect(self, parts: Iterable[Verdicts]) -> Generator[Verdicts, None, None]:
        """Yield the saved verdicts, then new ones, which are saved now and then and when the caller stops early."""
        last_save = time.monotonic()
        if self.verdicts is not None:
            yield self.verdicts
        complete = False
        try:
            for part in parts:
                known = [] if self.verdicts is None else [self.verdicts]
                self.verdicts = Verdicts.concatenate([*known, part])
                if time.monotonic() - last_save > SAVE_EVERY:
                    self.save()
                    last_save = time.monotonic()
                yield part
            complete = True
        finally:
            if complete:
                self.path.unlink(missing_ok=True)
            else:
                self.save()

    def save(self) -> None:
        """Write the verdicts so far, if the disk allows it."""
        if self.verdicts is None:
            return
        tensors, facts = _encode_verdicts(self.verdicts)
        content = save(tensors, {"facts": json.dumps(facts)})
        try:
            self.path.parent.mkdir(exist_ok=True)
            write_whole(self.path, content)
        except OSError:
            return


TENSORS = ("y", "clean", "robust", "clean_measure", "robust_measure", "constant")
"""Fields of `Verdicts` that are tensors, or None."""
NUMBERS = (
    "zero_gradients",
    "ties",
    "not_numbers",
    "seconds",
    "random",
    "batch_size",
    "memory",
)
"""Fields of `Verdicts` that are numbers."""


def _encode_verdicts(verdicts: Verdicts) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Verdicts as tensors by name, and as what JSON holds."""
    values = {name: getattr(verdicts, name) for name in TENSORS}
    tensors = {}
    for name, value in values.items():
        if value is not None:
            tensors[name] = value.contiguous()
    facts = {name: getattr(verdicts, name) for name in NUMBERS}
    return tensors, facts | {
        "passes": [verdicts.passes.forward, verdicts.passes.backward]
    }


def _decode_verdicts(
    tensors: Mapping[str, Tensor], facts: Mapping[str, Any]
) -> Verdicts:
    """The verdicts that `_encode_verdicts` was given."""
    forward, backward = facts["passes"]
    numbers = {name: facts[name] for name in NUMBERS}
    values = {name: tensors.get(name) for name in TENSORS}
    return Verdicts(passes=Passes(forward, backward), **numbers, **values)  # type: ignore[arg-type]  # by name
