"""Collections of adversarial examples on disk: tensors, and a manifest that says where each comes from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import attrs
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from robustfw.bounds import Bounds
from robustfw.errors import DataError, RunError
from robustfw.evaluation.transfer import Examples
from robustfw.files import json_bytes, write_whole
from robustfw.registry import Registry
from robustfw.splits import Splits
from robustfw.threat import Threat

MANIFEST, EXAMPLES = "manifest.json", "examples.safetensors"
ALTERED = "the collection was altered: craft it again"


@final
@attrs.frozen(eq=False)
class Collection:
    """``manifest.json`` (source, data, sets, attack, seeds, the hash of the rest) and ``examples.safetensors``."""

    path: Path
    manifest: dict[str, Any]
    examples: Examples

    @classmethod
    def create(cls, path: Path, examples: Examples, facts: Mapping[str, Any]) -> Collection:
        """Write a new one; a directory that holds one already is left alone."""
        if (path / MANIFEST).exists():
            raise RunError(f"{path} holds a collection already: choose another --out")
        content = save({name: tensor.contiguous() for name, tensor in examples.tensors().items()})
        manifest = dict(facts) | {"n": len(examples), "sha256": hashlib.sha256(content).hexdigest()}
        try:
            path.mkdir(parents=True, exist_ok=True)
            write_whole(path / EXAMPLES, content)
            write_whole(path / MANIFEST, json_bytes(manifest))
        except OSError as error:
            raise RunError(f"cannot write {path}: {error.strerror}; choose another --out, or make room") from error
        return cls(path, manifest, examples)

    @property
    def split(self) -> str:
        """The split that the originals are from."""
        return str(self.manifest["data"]["split"])

    @property
    def bounds(self) -> Bounds:
        """The data range that the examples keep."""
        bounds = self.manifest["bounds"]
        if bounds is None:
            return None
        lower, upper = (tuple(map(float, end)) if isinstance(end, list) else float(end) for end in bounds)
        return lower, upper

    def threats(self, known: Registry, splits: Splits) -> list[Threat]:
        """The sets that the examples are from, in their data range; ``splits``: the data that they belong to.

        Raises:
            DataError: the collection's range is not the data's.
        """
        if self.bounds != splits.spec.bounds:
            raise DataError(
                f"the collection in {self.path} keeps the range {self.bounds}, and the data has {splits.spec.bounds}: "
                f"{ALTERED}"
            )
        sets = [known.make("uncertainty", part["uncertainty"]) for part in self.manifest["sets"]]
        train = splits.learnable()
        return [Threat(each, self.bounds).fitted(train) for each in sets]

    @classmethod
    def open(cls, path: Path) -> Collection:
        """Read one, and refuse it if its examples are not those that were written."""
        try:
            manifest = json.loads((path / MANIFEST).read_bytes())
            content = (path / EXAMPLES).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise RunError(f"there is no collection in {path}: name a directory that robustfw craft made") from None
        except OSError as error:
            raise RunError(f"cannot read {path}: {error.strerror}") from error
        except ValueError as error:
            raise RunError(f"{path / MANIFEST} is not JSON ({error}); {ALTERED}") from error
        if not isinstance(manifest, dict) or manifest.get("sha256") != hashlib.sha256(content).hexdigest():
            raise DataError(f"{path / EXAMPLES} is not what {path / MANIFEST} describes (another hash); {ALTERED}")
        try:
            collection = cls(path, manifest, Examples(**load(content)))
            _ = collection.split, collection.bounds, [part["uncertainty"] for part in manifest["sets"]]
            return collection
        except (SafetensorError, TypeError, KeyError) as error:
            raise RunError(
                f"{path / EXAMPLES} does not hold the tensors of a collection ({error}); {ALTERED}"
            ) from error


def hash_of_weights(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, shapes, types and bytes."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()
