"""The worst cases that are known of a net, in a file beside its run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from robustfw.evaluation import KnownCases
from robustfw.storage.files import json_value, read_bytes, write_whole

LARGEST = 1 << 30
"""Bytes of the largest file; more cases than fit into it are not kept."""


def known_cases_path(folder: Path, circumstances: Mapping[str, Any]) -> Path:
    """The file for a net, a set and a split.

    Args:
        folder: where results are kept.
        circumstances: all that a perturbation belongs to: the set, the range, the data, the split, the weights.
    """
    facts = json.dumps(json_value(dict(circumstances)), sort_keys=True).encode()
    return folder / f"known-{hashlib.sha256(facts).hexdigest()[:10]}.safetensors"


def read_known_cases(path: Path) -> KnownCases:
    """The cases of a file; none where there is no file, or it cannot be read.

    A damaged file costs time alone: whatever is in it is judged again.
    """
    try:
        tensors = load(read_bytes(path, LARGEST))
        index = tensors["index"]
        delta = tensors["delta"]
    except (OSError, SafetensorError, KeyError, ValueError):
        return KnownCases.empty()
    is_usable = (
        index.dtype == torch.int64
        and index.dim() == 1
        and len(index) == len(delta)
        and len(index.unique()) == len(index)
        and delta.is_floating_point()
    )
    if not is_usable or delta.dim() < 2:
        return KnownCases.empty()
    return KnownCases(index, delta)


def write_known_cases(path: Path, known: KnownCases) -> bool:
    """Write the cases, unless there are none, or they are too large; whether they are kept."""
    if not len(known) or known.delta.numel() * known.delta.element_size() > LARGEST:
        return False
    content = save(
        {"index": known.index.contiguous(), "delta": known.delta.contiguous()}
    )
    try:
        path.parent.mkdir(exist_ok=True)
        write_whole(path, content)
    except OSError:
        # the measurement itself matters more
        return False
    return True
