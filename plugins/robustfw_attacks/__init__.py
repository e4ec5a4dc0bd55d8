"""Attacks: approximate maximizers over any region. None of them knows a norm or a network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robustfw import hookimpl
from robustfw_attacks.apgd import Apgd
from robustfw_attacks.combined import Restarts, Strongest
from robustfw_attacks.cw import CarliniWagner
from robustfw_attacks.deepfool import DeepFool
from robustfw_attacks.iterated import FrankWolfe, Pgd
from robustfw_attacks.lbfgs import Lbfgs
from robustfw_attacks.memory import Memory
from robustfw_attacks.single import Random, SingleStep
from robustfw_attacks.targets import Targeted

if TYPE_CHECKING:
    from robustfw.hookspecs import Add

__all__ = [
    "Apgd",
    "CarliniWagner",
    "DeepFool",
    "FrankWolfe",
    "Lbfgs",
    "Memory",
    "Pgd",
    "Random",
    "Restarts",
    "SingleStep",
    "Strongest",
    "Targeted",
]


@hookimpl
def robustfw_register(add: Add) -> None:
    add("single-step", SingleStep, aliases=("fgsm", "fast-gradient", "fgm"))
    add("pgd", Pgd, instead_of=("bim", "i-fgsm", "mi-fgsm"))
    add("apgd", Apgd, aliases=("auto-pgd",))
    add("frank-wolfe", FrankWolfe, aliases=("fw",))
    add("lbfgs", Lbfgs)
    add("cw", CarliniWagner, aliases=("carlini-wagner",))
    add("deepfool", DeepFool)
    add("random", Random)
    add("restarts", Restarts, instead_of=("autoattack", "aa", "standard"))
    add("strongest", Strongest, instead_of=("autoattack", "aa", "standard"))
    add("targeted", Targeted)
    add("memory", Memory)
