"""robustfw: train neural nets by robust optimization, and measure honestly what that bought.

min over θ of Σ max over δ ∈ 𝒰(x) of J(θ, x + δ, y). Importing this module does not import torch; the names that
need it do so when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from robustfw.attack import Attack
from robustfw.dataset import Dataset
from robustfw.dataspec import DataSpec
from robustfw.errors import DataError, PluginError, RobustfwError, RobustfwWarning, RunError, TrainingError, UsageError
from robustfw.hookspecs import hookimpl
from robustfw.interface import Interface
from robustfw.model import Model
from robustfw.objective import Objective, Penalty
from robustfw.options import Ratio, knowing, learnt
from robustfw.records import Epoch, Record, Step
from robustfw.uncertainty import UncertaintySet

if TYPE_CHECKING:
    from robustfw.api import evaluate, load, make, train, worst_case
    from robustfw.problem import InnerProblem
    from robustfw.regions import Region
    from robustfw.splits import Splits, TensorSplit

__version__ = "0.1.0"

_LAZY = {
    "evaluate": "robustfw.api",
    "load": "robustfw.api",
    "make": "robustfw.api",
    "train": "robustfw.api",
    "worst_case": "robustfw.api",
    "InnerProblem": "robustfw.problem",
    "Region": "robustfw.regions",
    "Splits": "robustfw.splits",
    "TensorSplit": "robustfw.splits",
}

__all__ = [
    "Attack",
    "DataError",
    "DataSpec",
    "Dataset",
    "Epoch",
    "InnerProblem",
    "Interface",
    "Model",
    "Objective",
    "Penalty",
    "PluginError",
    "Ratio",
    "Record",
    "Region",
    "RobustfwError",
    "RobustfwWarning",
    "RunError",
    "Splits",
    "Step",
    "TensorSplit",
    "TrainingError",
    "UncertaintySet",
    "UsageError",
    "evaluate",
    "hookimpl",
    "knowing",
    "learnt",
    "load",
    "make",
    "train",
    "worst_case",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'robustfw' has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)
