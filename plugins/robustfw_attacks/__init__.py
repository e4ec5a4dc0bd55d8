"""Attacks: approximate maximizers over any region, whatever its norm and whatever the network."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from robustfw import hookimpl

if TYPE_CHECKING:
    from robustfw.hookspecs import Add


@hookimpl
def robustfw_register(add: Add) -> None:
    """Register the attacks, each as a path that is imported on first use."""
    attack = functools.partial(add, kind="attack")
    attack(
        "single-step",
        "robustfw_attacks.single:SingleStep",
        aliases=("fgsm", "fast-gradient", "fgm"),
    )
    attack(
        "pgd", "robustfw_attacks.iterated:Pgd", instead_of=("bim", "i-fgsm", "mi-fgsm")
    )
    attack("apgd", "robustfw_attacks.apgd:Apgd", aliases=("auto-pgd",))
    attack("frank-wolfe", "robustfw_attacks.iterated:FrankWolfe", aliases=("fw",))
    attack("lbfgs", "robustfw_attacks.lbfgs:Lbfgs")
    attack("cw", "robustfw_attacks.cw:CarliniWagner", aliases=("carlini-wagner",))
    attack("deepfool", "robustfw_attacks.deepfool:DeepFool")
    attack("random", "robustfw_attacks.single:Random")
    attack(
        "restarts",
        "robustfw_attacks.combined:Restarts",
        instead_of=("autoattack", "aa", "standard"),
    )
    attack(
        "strongest",
        "robustfw_attacks.combined:Strongest",
        instead_of=("autoattack", "aa", "standard"),
    )
    attack("targeted", "robustfw_attacks.targets:Targeted")
