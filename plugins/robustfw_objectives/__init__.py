"""Training objectives: losses (clean, robust, mixed, trades, noise, dropout), and penalties that are added to one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robustfw import hookimpl
from robustfw_objectives.jacobians import Contractive, InputGradient, OperatorNorm
from robustfw_objectives.random_inputs import Dropout, Noise
from robustfw_objectives.smoothness import Trades, Vat
from robustfw_objectives.standard import Clean, Mixed, Robust

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "Clean",
    "Contractive",
    "Dropout",
    "InputGradient",
    "Mixed",
    "Noise",
    "OperatorNorm",
    "Robust",
    "Trades",
    "Vat",
]


@hookimpl
def robustfw_register(add: Callable[[str, type], None]) -> None:
    add("clean", Clean)
    add("robust", Robust)
    add("mixed", Mixed)
    add("trades", Trades)
    add("noise", Noise)
    add("dropout", Dropout)
    add("vat", Vat)
    add("contractive", Contractive)
    add("operator-norm", OperatorNorm)
    add("input-gradient", InputGradient)
