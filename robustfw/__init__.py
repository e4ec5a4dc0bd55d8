"""robustfw: train neural nets by robust optimization, and measure honestly what that bought.

min over θ of Σ max over δ ∈ 𝒰(x) of J(θ, x + δ, y). Importing this module does not import torch; the names that
need it do so when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from robustfw.attack import Attack
from robustfw.averaging import Averaging
from robustfw.dataset import Dataset
from robustfw.dataspec import DataSpec
from robustfw.errors import DataError, PluginError, RobustfwError, RobustfwWarning, RunError, TrainingError, UsageError
from robustfw.hookspecs import hookimpl
from robustfw.interface import Interface
from robustfw.loss import Loss
from robustfw.model import Model
from robustfw.objective import Objective, Penalty
from robustfw.optim import Optimizer, Schedule
from robustfw.options import Ratio, knowing, learnt
from robustfw.records import Epoch, Record, Step
from robustfw.sampler import Sampler
from robustfw.stateful import Stateful
from robustfw.task import Task
from robustfw.uncertainty import UncertaintySet
from robustfw.update import Update

if TYPE_CHECKING:
    from robustfw.adversary import Adversary
    from robustfw.api import WorstCases, evaluate, load, make, train, worst_case
    from robustfw.batch import Batch, Wrapper
    from robustfw.problem import InnerProblem
    from robustfw.regions import Region
    from robustfw.splits import Split, Splits, StreamedSplit, TensorSplit
    from robustfw.threat import Threat

__version__ = "0.1.0"

_LAZY = {
    "Adversary": "robustfw.adversary",
    "Batch": "robustfw.batch",
    "WorstCases": "robustfw.api",
    "Wrapper": "robustfw.batch",
    "evaluate": "robustfw.api",
    "load": "robustfw.api",
    "make": "robustfw.api",
    "train": "robustfw.api",
    "worst_case": "robustfw.api",
    "InnerProblem": "robustfw.problem",
    "Region": "robustfw.regions",
    "Split": "robustfw.splits",
    "Splits": "robustfw.splits",
    "StreamedSplit": "robustfw.splits",
    "TensorSplit": "robustfw.splits",
    "Threat": "robustfw.threat",
}

__all__ = [
    "Adversary",
    "Attack",
    "Averaging",
    "Batch",
    "DataError",
    "DataSpec",
    "Dataset",
    "Epoch",
    "InnerProblem",
    "Interface",
    "Loss",
    "Model",
    "Objective",
    "Optimizer",
    "Penalty",
    "PluginError",
    "Ratio",
    "Record",
    "Region",
    "RobustfwError",
    "RobustfwWarning",
    "RunError",
    "Sampler",
    "Schedule",
    "Split",
    "Splits",
    "Stateful",
    "Step",
    "StreamedSplit",
    "Task",
    "TensorSplit",
    "Threat",
    "TrainingError",
    "UncertaintySet",
    "Update",
    "UsageError",
    "WorstCases",
    "Wrapper",
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
