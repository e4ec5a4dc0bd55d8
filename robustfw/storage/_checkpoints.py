"""Checkpoint files: tensors as safetensors, everything else as JSON in their header; no pickle, nothing is executed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from robustfw.errors import UsageError
from robustfw.storage.files import parse_json

DAMAGED = (SafetensorError, KeyError, TypeError, ValueError, AttributeError, RecursionError)
"""What reading a checkpoint that is none may raise, besides an OSError."""

LARGEST_NUMBER = float(1 << 62)
"""Whole numbers from here on do not fit torch's."""


def check_storable(named: Mapping[str, Any]) -> None:
    """Make sure that a ``state_dict`` can be written to a checkpoint and comes back as it was.

    Tensors may be of any shape, layout in memory and type, complex ones too, and may share memory. What a module gives
    as its extra state (``get_extra_state``) may be a tensor or a value that JSON gives back.

    Raises:
        UsageError: it holds a sparse, quantised or lazy tensor, one without data, or another object.
    """
    for name, value in named.items():
        reason = _unstorable(value)
        if reason is not None:
            raise UsageError(f"the model cannot be saved: {name!r} in its state_dict is {reason}")


def _unstorable(value: object) -> str | None:
    """Why a value cannot be saved, in words; None where it can."""
    if not isinstance(value, Tensor):
        if _survives_json(value):
            return None
        return f"{_kind(value)}; get_extra_state must return a tensor, or numbers, texts, lists and dicts of them"
    if torch.nn.parameter.is_lazy(value):
        return "a parameter without a shape: let a lazy model see an example once, before it is trained"
    if value.is_meta:
        return "a tensor without data (on the device meta): build the model on the CPU"
    if value.is_quantized:
        return "a quantised tensor: quantise a net after its training"
    if value.layout != torch.strided or value.is_nested:
        return f"no dense tensor ({str(value.layout).removeprefix('torch.')}): make it dense"
    return None


def _kind(value: object) -> str:
    """The type of a value, and of what in it is at fault."""
    if isinstance(value, dict | list | tuple):
        parts = value.values() if isinstance(value, dict) else value
        inner = sorted({type(part).__name__ for part in parts if not _survives_json(part)})
        return f"a {type(value).__name__}" + (f" with {' and '.join(inner)}" if inner else "")
    return f"of the type {type(value).__name__}"


def _survives_json(value: object) -> bool:
    """Whether JSON gives a value back as it was: no tuples, no keys but texts."""
    if isinstance(value, dict):
        return all(type(key) is str and _survives_json(part) for key, part in value.items())
    if isinstance(value, list):
        return all(_survives_json(part) for part in value)
    return value is None or type(value) in (bool, int, float, str)


def encode(named: Mapping[str, Any], facts: Mapping[str, Any]) -> bytes:
    """The content of a checkpoint file.

    Args:
        named: tensors, and what else `check_storable` takes.
        facts: JSON.
    """
    check_storable(named)
    tensors = {name: value for name, value in named.items() if isinstance(value, Tensor)}
    complex_ = [name for name, value in tensors.items() if value.is_complex()]
    header = {"facts": json.dumps(facts)}
    if complex_:
        header["complex"] = json.dumps(complex_)
    if len(tensors) < len(named):
        header["values"] = json.dumps({name: value for name, value in named.items() if name not in tensors})
    return save({name: _copy(value) for name, value in tensors.items()}, header)


def _copy(value: Tensor) -> Tensor:
    """A tensor of memory of its own on the CPU; a complex one as pairs of real numbers."""
    plain = value.detach().cpu()
    if plain.is_complex():
        plain = torch.view_as_real(plain.resolve_conj())
    return plain.resolve_neg().contiguous().clone()


def decode(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What `encode` was given: tensors and values by name, and facts.

    Raises:
        OSError: the file cannot be read.
        SafetensorError, KeyError, TypeError, ValueError, AttributeError: it is damaged, or of another program.
    """
    with path.open("rb") as file:  # safetensors calls a file missing that may not be read
        file.read(1)
    with safe_open(path, framework="pt") as opened:
        named: dict[str, Any] = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118  # not a mapping
        header = opened.metadata()
    facts = parse_json(header["facts"], nan=True)
    if not isinstance(facts, dict):
        raise ValueError("its facts are no object")
    for name in parse_json(header.get("complex", "[]")):
        named[name] = torch.view_as_complex(named[name])
    return named | parse_json(header.get("values", "{}"), nan=True), facts


def misfit(facts: object, fresh: object, name: str = "facts") -> str | None:
    """What of a checkpoint's facts has not the form of a fresh state's, in words; None where all has.

    Facts that only one of them has are nobody's fault: another version of torch keeps others. Where a fresh state has
    None, or an empty list or dict, anything may have been put in the course of the training.
    """
    if fresh is None or (isinstance(fresh, dict | list | tuple) and not fresh):
        return None
    if isinstance(fresh, dict):
        if not isinstance(facts, dict):
            return f"{name} is no object"
        found = (misfit(facts[key], value, f"{name}.{key}") for key, value in fresh.items() if key in facts)
        return next((words for words in found if words), None)
    if isinstance(fresh, list | tuple):
        if not isinstance(facts, list) or len(facts) != len(fresh):
            return f"{name} is no list of {len(fresh)}"
        found = (misfit(part, value, f"{name}[{i}]") for i, (part, value) in enumerate(zip(facts, fresh, strict=True)))
        return next((words for words in found if words), None)
    return None if _same_kind(facts, fresh) else f"{name} is {str(facts)[:40]!r}"


def _same_kind(value: object, fresh: object) -> bool:
    if isinstance(fresh, bool | str):
        return type(value) is type(fresh)
    return isinstance(value, int | float) and not isinstance(value, bool) and not abs(value) >= LARGEST_NUMBER


def tensors_below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with ``prefix.``, without it."""
    start = prefix + "."
    return {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}


def evaluated_weights(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """From a state's tensors the weights that count: the average's where there is one, else the net's."""
    return tensors_below("average.module", tensors) or tensors_below("model", tensors)
