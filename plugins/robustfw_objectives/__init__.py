"""Training objectives: losses (clean, robust, mixed, trades, noise, dropout), and penalties that are added to one."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from robustfw import hookimpl

if TYPE_CHECKING:
    from robustfw.hookspecs import Add


@hookimpl
def robustfw_register(add: Add) -> None:
    """Register the objectives, each as a path that is imported on first use."""
    objective = functools.partial(add, kind="objective")
    objective("clean", "robustfw_objectives.standard:Clean")
    objective("robust", "robustfw_objectives.standard:Robust")
    objective("mixed", "robustfw_objectives.standard:Mixed")
    objective("trades", "robustfw_objectives.smoothness:Trades")
    objective("noise", "robustfw_objectives.random_inputs:Noise")
    objective("dropout", "robustfw_objectives.random_inputs:Dropout")
    objective("vat", "robustfw_objectives.smoothness:Vat")
    objective("contractive", "robustfw_objectives.jacobians:Contractive")
    objective("operator-norm", "robustfw_objectives.jacobians:OperatorNorm")
    objective("input-gradient", "robustfw_objectives.jacobians:InputGradient")
