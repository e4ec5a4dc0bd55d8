"""Which of a net's outputs are its logits: a tensor, an entry of a mapping or tuple, or an attribute of an object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
from torch import Tensor

from robustfw.errors import DataError


def pick_output(outputs: Any, output: str | int) -> Tensor:
    """The tensor of a net's outputs that robustfw works with.

    Args:
        outputs: what the net returned.
        output: the name or index of an entry; "auto": a tensor as it is, what is called ``logits``, the first entry of
            a tuple or list, or the only tensor of a mapping or object.

    Raises:
        DataError: there is no such tensor; the message lists what there is.
    """
    if output == "auto":
        picked = _guess(outputs)
    else:
        picked = _get(outputs, output)
    if isinstance(picked, Tensor):
        return picked
    asked = (
        "no output that can be told to be the logits"
        if output == "auto"
        else f"no output {output!r}"
    )
    raise DataError(
        f"the net has {asked}; it returns {_describe(outputs)}: write output=NAME or output=INDEX of the one to take "
        "(in Python: robustfw.adapt(net, output=…))"
    )


def _guess(outputs: Any) -> Any:
    """The logits among the outputs, where their place leaves no doubt; None otherwise."""
    if isinstance(outputs, Tensor):
        return outputs
    logits = _get(outputs, "logits")
    if logits is not None:
        return logits
    if isinstance(outputs, tuple | list) and outputs:
        return outputs[0]
    tensors = [
        value for value in _entries(outputs).values() if isinstance(value, Tensor)
    ]
    if len(tensors) == 1:
        return tensors[0]
    return None


def _get(outputs: Any, output: str | int) -> Any:
    """An entry or attribute of the outputs; None where there is none."""
    if isinstance(outputs, Tensor):
        return None
    word = str(output)
    if isinstance(outputs, Mapping):
        return outputs.get(output, outputs.get(word))
    if isinstance(outputs, tuple | list) and word.removeprefix("-").isdigit():
        index = int(word)
        if -len(outputs) <= index < len(outputs):
            return outputs[index]
        return None
    return getattr(outputs, word, None)


def _entries(outputs: Any) -> dict[str, Any]:
    """The outputs by name or index."""
    if isinstance(outputs, Mapping):
        return {str(key): value for key, value in outputs.items()}
    names = getattr(outputs, "_fields", None)
    if names is not None:
        return dict(zip(names, outputs, strict=True))
    if isinstance(outputs, tuple | list):
        return {str(index): value for index, value in enumerate(outputs)}
    if attrs.has(type(outputs)):
        return attrs.asdict(outputs, recurse=False)
    return dict(getattr(outputs, "__dict__", {}))


def _describe(outputs: Any) -> str:
    """What a net returned, in words: its entries with their shapes."""
    if isinstance(outputs, Tensor):
        return f"a tensor of shape {tuple(outputs.shape)} alone"
    entries = []
    for name, value in _entries(outputs).items():
        what = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        entries.append(f"{name}: {what}")
    kind = type(outputs).__name__
    if not entries:
        return f"an object of type {kind}"
    return f"{kind} with {', '.join(entries)}"
