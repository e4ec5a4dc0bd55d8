"""Stand-ins for a net that an attack cannot see through: the same outputs, with gradients that lead somewhere.

A net that rounds, thresholds or casts to whole numbers has no gradient there, and gradient attacks are blind. BPDA
takes the net itself forwards, and a smooth function in the place of such a step backwards; a random net is attacked in
the mean over draws, expectation over transformation (Athalye, Carlini & Wagner 2018, "Obfuscated gradients give a
false sense of security", sections 4.1 and 4.2).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from robustfw.inner.problem import Forward

SLOPE = 10.0
"""Steepness of the logistic function that stands for a comparison backwards."""
WHOLE = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
"""Types of whole numbers, to which a cast cuts the graph."""

_STEPS = ("round", "floor", "ceil", "trunc", "fix")
_SIGNS = ("sign", "sgn")
_COMPARISONS = {
    "gt": 1.0,
    "ge": 1.0,
    "greater": 1.0,
    "greater_equal": 1.0,
    "__gt__": 1.0,
    "__ge__": 1.0,
    "lt": -1.0,
    "le": -1.0,
    "less": -1.0,
    "less_equal": -1.0,
    "__lt__": -1.0,
    "__le__": -1.0,
}
"""Comparisons, and whether they grow or fall with their first argument."""
_CASTS = {
    "byte": torch.uint8,
    "char": torch.int8,
    "short": torch.int16,
    "int": torch.int32,
    "long": torch.int64,
}


def straight_through(forward: Forward) -> Forward:
    """The function with the same values, whose rounding, signs, comparisons and casts have gradients.

    Backwards, rounding and casts to whole numbers are the identity, signs the identity between −1 and 1, and
    comparisons the logistic function of the difference. Inside, what compares gives numbers 0 and 1 in the place of a
    mask, and casts give whole numbers in floating point; indexing by such casts raises an error.

    Args:
        forward: x (batch, *shape) ↦ outputs, in torch's own functions.

    Returns:
        A function of x, of the same outputs.
    """

    def stand_in(x: Tensor) -> Tensor:
        with _StraightThrough():
            return forward(x)

    return stand_in


def averaged(forward: Forward, draws: int) -> Forward:
    """log E softmax(f(x)) over several calls of a random function: the outputs of the mean prediction.

    Gradients of a loss at it are those of the expectation over the function's randomness, estimated by so many draws.

    Args:
        forward: x (batch, *shape) ↦ logits (batch, classes), random.
        draws: number of calls.
    """

    def stand_in(x: Tensor) -> Tensor:
        logits = torch.stack([forward(x) for _ in range(draws)])
        return logits.log_softmax(-1).logsumexp(0) - torch.tensor(float(draws)).log()

    return stand_in


def find_steps(forward: Forward, x: Tensor) -> tuple[str, ...]:
    """The functions without a gradient that a net calls on numbers which depend on x, each name once.

    Args:
        forward: x (batch, *shape) ↦ outputs, in torch's own functions.
        x: examples, (batch, *shape).
    """
    finder = _Finder()
    with torch.enable_grad(), finder:
        forward(x.detach().requires_grad_())
    return tuple(dict.fromkeys(finder.found))


class _Finder(TorchFunctionMode):
    """Torch's functions, with a note of those that cut the graph."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        x = args[0] if args else None
        depends = isinstance(x, Tensor) and x.is_floating_point() and x.requires_grad
        # in place, the argument is another one afterwards
        result = func(*args, **kwargs)
        name = getattr(func, "__name__", "")
        if depends and _stand_in_for(name) is not None:
            is_cut = not isinstance(result, Tensor) or not result.is_floating_point()
            if _stand_in_for(name) is _step or is_cut:
                self.found.append(name.strip("_"))
        return result


class _StraightThrough(TorchFunctionMode):
    """Torch's functions, of which those without a gradient pass one on."""

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in _TAKE_MASKS:
            return _choose(name, func, args, kwargs)
        stand_in = _stand_in_for(name)
        if stand_in is None or not args or not isinstance(args[0], Tensor):
            return func(*args, **kwargs)
        return stand_in(name, func, args, kwargs)


def _stand_in_for(name: str) -> Callable[..., Any] | None:
    """What is computed in the place of a function of this name; None: the function itself."""
    plain = name.removesuffix("_")
    if plain in _STEPS or plain in _SIGNS:
        return _step
    if name in _COMPARISONS:
        return _comparison
    if name in _CASTS or name in ("to", "type"):
        return _cast
    if name in ("__invert__", "logical_not", "bitwise_not"):
        return _negation
    return None


def _step(name: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A rounding or a sign: its value forwards, the identity backwards."""
    x = args[0]
    plain = name.removesuffix("_")
    hard = getattr(torch, plain)(x.detach(), *args[1:], **kwargs)
    smooth = x.clamp(-1, 1) if plain in _SIGNS else x
    if name.endswith("_"):
        # in place: the same tensor, moved by a constant
        return x.add_((hard - x).detach())
    return smooth + (hard - smooth).detach()


def _comparison(
    name: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """A comparison of numbers as 0 or 1, with the slope of a logistic function."""
    mask = func(*args, **kwargs)
    x, other = args[0], args[1]
    if not x.is_floating_point():
        return mask
    rising = torch.sigmoid(_COMPARISONS[name] * SLOPE * (x - other))
    return rising + (mask.to(x.dtype) - rising).detach()


def _cast(name: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A cast to whole numbers as a cut of what is behind the point; any other cast as it is."""
    x = args[0]
    wanted = _CASTS.get(name)
    for value in (*args[1:], *kwargs.values()):
        if isinstance(value, torch.dtype):
            wanted = value
    if wanted in WHOLE and x.is_floating_point():
        hard = x.detach().to(wanted).to(x.dtype)
        return x + (hard - x).detach()
    if wanted is torch.bool and x.is_floating_point():
        return x
    return func(*args, **kwargs)


def _negation(
    name: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Not a mask: 1 − m where the mask has become numbers."""
    if args[0].is_floating_point():
        return 1 - args[0]
    return func(*args, **kwargs)


_TAKE_MASKS = {"where": 0, "masked_fill": 1, "masked_fill_": 1, "__getitem__": 1}
"""Functions that need a mask, and which of their arguments it is."""


def _choose(name: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A function that needs a mask, where a comparison has given numbers m in its place.

    A choice of a or b is m·a + (1 − m)·b, so that what decides has a gradient, too; where a or b is infinite, and for
    any other function, the mask is one again.
    """
    place = _TAKE_MASKS[name]
    mask = args[place] if len(args) > place else None
    if not isinstance(mask, Tensor) or not mask.is_floating_point():
        return func(*args, **kwargs)
    if name in ("where", "masked_fill") and len(args) == 3:
        first, second = (args[1], args[2]) if name == "where" else (args[2], args[0])
        if _is_finite(first) and _is_finite(second):
            return mask * first + (1 - mask) * second
    changed = list(args)
    changed[place] = mask.detach() != 0
    return func(*changed, **kwargs)


def _is_finite(value: Any) -> bool:
    """Whether a number, or all of a tensor's, are finite."""
    return bool(torch.as_tensor(value).detach().isfinite().all())
