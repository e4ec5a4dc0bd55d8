"""Collections of adversarial examples on disk: tensors, and a manifest that says where each comes from."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import attrs
import torch
from safetensors.torch import load, save
from torch import Tensor

from robustfw.data.bounds import Bounds
from robustfw.data.splits import Split, Splits, StreamedSplit
from robustfw.errors import DataError, RunError
from robustfw.evaluation._crafting import Examples
from robustfw.inner.threat import Threat
from robustfw.plugin.registry import Registry
from robustfw.storage._locks import NewDirectory, claim
from robustfw.storage.files import (
    advice,
    json_bytes,
    read_bytes,
    read_json,
    write_whole,
)

MANIFEST = "manifest.json"
"""The file that says where the examples of a collection come from."""
EXAMPLES = "examples.safetensors"
"""The file of a collection's tensors."""
ALTERED = "the collection was altered: craft it again"
"""The advice of messages about a collection that is not as it was written."""
SPLITS = ("train", "validation", "test")
"""The splits that originals may be from."""
LARGEST = 1 << 40
"""Bytes of the largest file of examples."""


@final
@attrs.frozen(eq=False)
class Collection:
    """Adversarial examples in a directory: ``manifest.json`` and ``examples.safetensors``.

    The manifest holds source, data, sets, attack and seeds, and the hash of the file of examples.
    """

    path: Path
    manifest: dict[str, Any]
    examples: Examples

    @classmethod
    def create(
        cls, place: Path | NewDirectory, examples: Examples, facts: Mapping[str, Any]
    ) -> Collection:
        """Write a new collection; a directory that holds one already is left alone.

        Args:
            place: the directory, or where to make a new one.
            examples: the adversarial examples with their originals.
            facts: where they come from, for the manifest.

        Raises:
            RunError: the directory holds a collection, somebody else is writing there, or it cannot be written.
        """
        content = save(
            {name: tensor.contiguous() for name, tensor in examples.tensors().items()}
        )
        manifest = dict(facts) | {
            "n": len(examples),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        lock = claim(place, "written")
        path = lock.path
        try:
            if (path / MANIFEST).exists():
                raise RunError(
                    f"{path} holds a collection already: choose another --out"
                )
            write_whole(path / EXAMPLES, content, within=path)
            write_whole(path / MANIFEST, json_bytes(manifest), within=path)
        except OSError as error:
            help_ = f"{advice(error)}, or choose another --out"
            raise RunError(f"cannot write {path}: {error.strerror}; {help_}") from error
        finally:
            lock.release()
        return cls(path, manifest, examples)

    @property
    def split(self) -> str:
        """The name of the split that the originals are from."""
        return str(self.manifest["data"]["split"])

    @property
    def source(self) -> str:
        """The directory of the run whose net was attacked."""
        source = self.manifest.get("source")
        if source is None:
            return "unknown"
        return str(source["run"])

    def originals(self, splits: Splits) -> Split:
        """The split of these data that the originals are from.

        Raises:
            DataError: the examples belong to other data, or keep another range than the data's.
        """
        if self.manifest["data"].get("hash") != splits.fingerprint():
            raise DataError(
                f"the examples in {self.path} belong to other data (another hash): craft them on this data"
            )
        bounds = splits.spec.bounds
        if self.bounds != bounds:
            raise DataError(
                f"the examples in {self.path} keep the range {self.bounds}, and the data {bounds}: {ALTERED}"
            )
        by_name = {
            "train": splits.train,
            "validation": splits.validation,
            "test": splits.test,
        }
        split = by_name[self.split]
        if isinstance(split, StreamedSplit):
            raise DataError(
                f"the examples in {self.path} are from a stream, of which none can be found again"
            )
        return split

    @property
    def bounds(self) -> Bounds:
        """The data range that the examples keep."""
        bounds = self.manifest["bounds"]
        if bounds is None:
            return None
        lower, upper = bounds
        return _read_bound(lower), _read_bound(upper)

    def threats(self, known: Registry, splits: Splits) -> list[Threat]:
        """The sets that the examples are from, within the data range.

        Args:
            known: makes the sets from the specs in the manifest.
            splits: the data that the examples belong to; sets that learn from data see its training examples.

        Raises:
            DataError: the manifest names a range that is none, or not of these data.
        """
        sets = []
        for part in self.manifest["sets"]:
            sets.append(known.make("uncertainty", part["uncertainty"]))
        train = splits.learning_split()
        # the range that the manifest names, which `originals` compares with the data's
        spec = splits.spec.with_bounds(self.bounds)
        return [Threat.on(uncertainty, spec).fit(train) for uncertainty in sets]

    @classmethod
    def open(cls, path: Path) -> Collection:
        """Read a collection, and refuse it if its examples are not those that were written.

        Raises:
            RunError: there is none, or it cannot be read.
            DataError: it was altered.
        """
        # 1. read both files
        file = path / MANIFEST
        try:
            manifest = read_json(file)
            file = path / EXAMPLES
            content = read_bytes(file, LARGEST)
        except (FileNotFoundError, NotADirectoryError):
            if file.name == EXAMPLES:
                raise RunError(f"{file} is missing: {ALTERED}") from None
            raise RunError(
                f"there is no collection in {path}: name a directory that robustfw craft made"
            ) from None
        except OSError as error:
            raise RunError(
                f"cannot read {file}: {error.strerror}; mend that, and try again"
            ) from error
        except ValueError as error:
            raise RunError(f"{file} is not JSON ({error}); {ALTERED}") from error
        # 2. check the manifest against the hash and for its fields
        if (
            not isinstance(manifest, dict)
            or manifest.get("sha256") != hashlib.sha256(content).hexdigest()
        ):
            raise DataError(
                f"{path / EXAMPLES} is not what {path / MANIFEST} describes (another hash); {ALTERED}"
            )
        reason = _find_fault(manifest)
        if reason is not None:
            raise DataError(
                f"{path / MANIFEST} is not the manifest of a collection ({reason}); {ALTERED}"
            )
        # 3. check the tensors
        try:
            examples = Examples(**load(content))
            reason = _find_mismatch(examples, len(manifest["sets"]))
        except (
            Exception
        ) as error:  # safetensors and torch raise whatever the bytes lead them to
            reason = (str(error).splitlines() or [type(error).__name__])[0]
        if reason is not None:
            raise DataError(
                f"{path / EXAMPLES} does not hold the tensors of a collection ({reason}); {ALTERED}"
            )
        return cls(path, manifest, examples)


def _read_bound(bound: Any) -> Any:
    """A bound of the data range in a manifest: a number, or one for each feature or channel."""
    if isinstance(bound, list):
        return tuple(map(float, bound))
    return float(bound)


def _find_fault(manifest: dict[str, Any]) -> str | None:
    """What is missing in a collection's manifest or of the wrong type, in words; None if nothing is."""
    data = manifest.get("data")
    source = manifest.get("source")
    sets = manifest.get("sets")
    bounds = manifest.get("bounds")
    if not isinstance(data, dict) or data.get("split") not in SPLITS:
        return f"data.split is none of {', '.join(SPLITS)}"
    if source is not None and not (
        isinstance(source, dict) and isinstance(source.get("run"), str)
    ):
        return "source.run is no text"
    parts = sets if isinstance(sets, list) else []
    specs = []
    for part in parts:
        specs.append(part.get("uncertainty") if isinstance(part, dict) else None)
    if not specs or not all(isinstance(spec, str | dict) for spec in specs):
        return "sets is no list of uncertainty sets"
    is_pair = (
        isinstance(bounds, list) and len(bounds) == 2 and all(map(_is_finite, bounds))
    )
    if "bounds" not in manifest or not (bounds is None or is_pair):
        return "bounds are no pair of numbers"
    return None


def _is_finite(value: object) -> bool:
    """Whether a value is a finite number."""
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
    )


def _find_mismatch(examples: Examples, sets: int) -> str | None:
    """Why tensors are not those of a collection with so many sets, in words; None if they may be."""
    tensors = examples.tensors()
    n = len(examples.y)
    short = [
        name for name, tensor in tensors.items() if not tensor.ndim or len(tensor) != n
    ]
    if short:
        return f"{short[0]} has not {n} rows"
    if examples.original.shape != examples.adversarial.shape:
        return "original and adversarial are of different shapes"
    floats = ("original", "adversarial", "delta", "confidence")
    for name, tensor in tensors.items():
        if tensor.is_floating_point() != (name in floats):
            return f"{name} is of the type {tensor.dtype}"
    if n:
        first_set = int(examples.set.min())
        last_set = int(examples.set.max())
        if first_set < 0 or last_set >= sets:
            return f"its examples are from other than {sets} sets"
    return None


def hash_weights(weights: Mapping[str, Any]) -> str:
    """SHA-256 of a net's weights, in hexadecimal digits.

    It covers each tensor's name, shape, type and bytes, and the JSON of any other value.
    """
    digest = hashlib.sha256()
    for name in sorted(weights):
        value = weights[name]
        if not isinstance(value, Tensor):
            digest.update(
                f"{name} {json.dumps(value, sort_keys=True)}".encode(
                    errors="backslashreplace"
                )
            )
            continue
        tensor = value.detach().cpu().resolve_conj().resolve_neg().contiguous()
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
