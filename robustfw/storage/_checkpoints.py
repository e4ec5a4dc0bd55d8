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

from robustfw.errors import RunError, UsageError
from robustfw.storage.files import parse_json

DAMAGED = (
    SafetensorError,
    KeyError,
    TypeError,
    ValueError,
    AttributeError,
    RecursionError,
)
"""Errors, besides an OSError, that reading a damaged checkpoint or another program's file may raise."""

LARGEST_NUMBER = float(1 << 62)
"""Smallest number that is refused: torch's whole numbers have 64 bits."""


def check_storable(named: Mapping[str, Any]) -> None:
    """Make sure that a ``state_dict`` can be written to a checkpoint and read back unchanged.

    Tensors may be of any shape, layout in memory and type, complex ones too, and may share memory. What a module gives
    as its extra state (``get_extra_state``) may be a tensor or a value that JSON gives back.

    Raises:
        UsageError: it holds a sparse, quantised or lazy tensor, one without data, or another object.
    """
    for name, value in named.items():
        reason = _find_obstacle(value)
        if reason is not None:
            raise UsageError(
                f"the model cannot be saved: {name!r} in its state_dict is {reason}"
            )


def _find_obstacle(value: object) -> str | None:
    """Why a value cannot be saved, in words; None where it can."""
    if not isinstance(value, Tensor):
        if _survives_json(value):
            return None
        description = _describe_type(value)
        return f"{description}; get_extra_state must return a tensor, or numbers, texts, lists and dicts of them"
    if torch.nn.parameter.is_lazy(value):
        return "a parameter without a shape: let a lazy model see an example once, before it is trained"
    if value.is_meta:
        return "a tensor without data (on the device meta): build the model on the CPU"
    if value.is_quantized:
        return "a quantised tensor: quantise a net after its training"
    if value.layout != torch.strided or value.is_nested:
        return f"no dense tensor ({str(value.layout).removeprefix('torch.')}): make it dense"
    return None


def _describe_type(value: object) -> str:
    """The type of a value in words, with the types of those parts of it that JSON does not give back."""
    kind = type(value).__name__
    if not isinstance(value, dict | list | tuple):
        return f"of the type {kind}"
    parts = value.values() if isinstance(value, dict) else value
    part_types = set()
    for part in parts:
        if not _survives_json(part):
            part_types.add(type(part).__name__)
    if not part_types:
        return f"a {kind}"
    return f"a {kind} with {' and '.join(sorted(part_types))}"


def _survives_json(value: object) -> bool:
    """Whether JSON gives a value back as it was: it has no tuples, and no keys but texts."""
    if isinstance(value, dict):
        return all(
            type(key) is str and _survives_json(part) for key, part in value.items()
        )
    if isinstance(value, list):
        return all(_survives_json(part) for part in value)
    return value is None or type(value) in (bool, int, float, str)


def encode(named: Mapping[str, Any], facts: Mapping[str, Any]) -> bytes:
    """The content of a checkpoint file.

    Args:
        named: tensors, and other values that `check_storable` takes, by name.
        facts: what JSON can hold, by name.

    Raises:
        UsageError: a value cannot be stored.
    """
    check_storable(named)
    tensors = {}
    for name, value in named.items():
        if isinstance(value, Tensor):
            tensors[name] = value
    values = {}
    for name, value in named.items():
        if name not in tensors:
            values[name] = value
    complex_names = [name for name, value in tensors.items() if value.is_complex()]
    header = {"facts": json.dumps(facts)}
    if complex_names:
        header["complex"] = json.dumps(complex_names)
    if values:
        header["values"] = json.dumps(values)
    return save({name: _copy_to_cpu(value) for name, value in tensors.items()}, header)


def _copy_to_cpu(value: Tensor) -> Tensor:
    """A copy of a tensor on the CPU, in memory of its own; a complex one as pairs of real numbers."""
    copied = value.detach().cpu()
    if copied.is_complex():
        copied = torch.view_as_real(copied.resolve_conj())
    return copied.resolve_neg().contiguous().clone()


def decode(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read a checkpoint: tensors and values by name, and facts, as `encode` was given them.

    Raises:
        OSError: the file cannot be read.
        SafetensorError, KeyError, TypeError, ValueError, AttributeError: it is damaged, or of another program.
    """
    # safetensors says of an unreadable file that it is missing, so it is read once before
    with path.open("rb") as file:
        file.read(1)
    with safe_open(path, framework="pt") as opened:
        named: dict[str, Any] = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118  # not a mapping
        header = opened.metadata()
    facts = parse_json(header["facts"], nan=True)
    if not isinstance(facts, dict):
        raise ValueError("its facts are no object")
    for name in parse_json(header.get("complex", "[]")):
        named[name] = torch.view_as_complex(named[name])
    values = parse_json(header.get("values", "{}"), nan=True)
    return named | values, facts


def misfit(facts: object, fresh: object, name: str = "facts") -> str | None:
    """The first of a checkpoint's facts whose form is not that of a fresh state's, in words; None where all fit.

    Facts that only one of the two has are no misfit: another version of torch keeps others.

    Args:
        facts: the checkpoint's facts, or a part of them.
        fresh: the same part of a fresh state's. Where it is None, or an empty list or dict, anything fits, since the
            training may have put it there.
        name: the path of the part, for the message.
    """
    is_empty = isinstance(fresh, dict | list | tuple) and not fresh
    if fresh is None or is_empty:
        return None
    if isinstance(fresh, dict):
        if not isinstance(facts, dict):
            return f"{name} is no object"
        for key, value in fresh.items():
            if key not in facts:
                continue
            reason = misfit(facts[key], value, f"{name}.{key}")
            if reason is not None:
                return reason
        return None
    if isinstance(fresh, list | tuple):
        if not isinstance(facts, list) or len(facts) != len(fresh):
            return f"{name} is no list of {len(fresh)}"
        for index, value in enumerate(fresh):
            reason = misfit(facts[index], value, f"{name}[{index}]")
            if reason is not None:
                return reason
        return None
    if _has_same_type(facts, fresh):
        return None
    return f"{name} is {str(facts)[:40]!r}"


def _has_same_type(value: object, fresh: object) -> bool:
    """Whether a value is of the type of a fresh one; for a number, any number that torch can hold."""
    if isinstance(fresh, bool | str):
        return type(value) is type(fresh)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return not abs(value) >= LARGEST_NUMBER


def misfit_error(path: Path, reason: str) -> RunError:
    """The error for a checkpoint of another training; ``reason`` says by what it shows."""
    return RunError(
        f"{path} does not fit this recipe ({reason}): it belongs to another run, or to another version of a plugin; "
        "train again with another --out"
    )


def tensors_below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with ``prefix.``, by the rest of their names."""
    start = prefix + "."
    return {
        name.removeprefix(start): value
        for name, value in tensors.items()
        if name.startswith(start)
    }


def weights_to_evaluate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights in a state's tensors that are evaluated: the average's where there is one, else the net's."""
    return tensors_below("average.module", tensors) or tensors_below("model", tensors)
