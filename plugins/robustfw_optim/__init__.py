"""Optimizers and learning-rate schedules."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from robustfw import hookimpl

if TYPE_CHECKING:
    from robustfw.hookspecs import Add


@hookimpl
def robustfw_register(add: Add) -> None:
    optimizer = functools.partial(add, kind="optimizer")
    optimizer("sgd", "robustfw_optim.optimizers:Sgd")
    optimizer("muon", "robustfw_optim.optimizers:Muon")
    optimizer("adamw", "robustfw_optim.optimizers:AdamW")

    schedule = functools.partial(add, kind="schedule")
    schedule("constant", "robustfw_optim.schedules:Constant")
    schedule("multistep", "robustfw_optim.schedules:MultiStep")
    schedule("cosine", "robustfw_optim.schedules:Cosine")
    schedule("inverse-time", "robustfw_optim.schedules:InverseTime")
    schedule("one-cycle", "robustfw_optim.schedules:OneCycle")
