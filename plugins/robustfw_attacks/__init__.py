"""Attacks: approximate maximizers over any region. None of them knows a norm or a network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robustfw import hookimpl
from robustfw_attacks.combined import Restarts, Strongest
from robustfw_attacks.iterated import FrankWolfe, Pgd
from robustfw_attacks.single import Random, SingleStep

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FrankWolfe", "Pgd", "Random", "Restarts", "SingleStep", "Strongest"]


@hookimpl
def robustfw_register(add: Callable[[str, type], None]) -> None:
    add("single-step", SingleStep)
    add("pgd", Pgd)
    add("frank-wolfe", FrankWolfe)
    add("random", Random)
    add("restarts", Restarts)
    add("strongest", Strongest)
