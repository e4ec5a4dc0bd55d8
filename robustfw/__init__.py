"""robustfw: train neural nets by robust optimization, and measure honestly what that bought.

min over θ of Σ max over δ ∈ 𝒰(x) of J(θ, x + δ, y). Importing this module does not import torch; the names that
need it do so when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from robustfw.attack import Attack
from robustfw.averaging import Averaging
from robustfw.data.spec import DataSpec
from robustfw.dataset import Dataset
from robustfw.errors import (
    DataError,
    PluginError,
    RobustfwError,
    RobustfwWarning,
    RunError,
    TrainingError,
    UsageError,
)
from robustfw.hookspecs import hookimpl
from robustfw.interface import Interface
from robustfw.loss import Loss
from robustfw.model import Model
from robustfw.objective import Objective, Penalty
from robustfw.optim import Optimizer, Schedule
from robustfw.plugin.options import Ratio, learnt, with_learnt
from robustfw.records import Epoch, Record, Step
from robustfw.sampler import Sampler
from robustfw.stateful import Stateful
from robustfw.task import Task
from robustfw.uncertainty import UncertaintySet
from robustfw.update import Update
from robustfw.version import __version__

if TYPE_CHECKING:
    from robustfw.adoption import adopt
    from robustfw.api import (
        WorstCases,
        craft,
        evaluate,
        load,
        make,
        train,
        worst_case,
    )
    from robustfw.data.convert import as_split, as_splits
    from robustfw.data.splits import Split, Splits, StreamedSplit, TensorSplit
    from robustfw.inner.adversary import Adversary
    from robustfw.inner.problem import InnerProblem
    from robustfw.inner.threat import Threat
    from robustfw.interop import adapt
    from robustfw.regions import Region
    from robustfw.results._show_pictures import show_pictures
    from robustfw.training.batch import Batch, Wrapper

_LAZY = {
    "Adversary": "robustfw.inner.adversary",
    "Batch": "robustfw.training.batch",
    "WorstCases": "robustfw.api",
    "Wrapper": "robustfw.training.batch",
    "adopt": "robustfw.adoption",
    "adapt": "robustfw.interop",
    "as_split": "robustfw.data.convert",
    "as_splits": "robustfw.data.convert",
    "craft": "robustfw.api",
    "evaluate": "robustfw.api",
    "load": "robustfw.api",
    "make": "robustfw.api",
    "train": "robustfw.api",
    "worst_case": "robustfw.api",
    "InnerProblem": "robustfw.inner.problem",
    "Region": "robustfw.regions",
    "Split": "robustfw.data.splits",
    "Splits": "robustfw.data.splits",
    "StreamedSplit": "robustfw.data.splits",
    "TensorSplit": "robustfw.data.splits",
    "Threat": "robustfw.inner.threat",
    "show_pictures": "robustfw.results._show_pictures",
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
    "__version__",
    "adapt",
    "adopt",
    "as_split",
    "as_splits",
    "craft",
    "evaluate",
    "hookimpl",
    "learnt",
    "load",
    "make",
    "show_pictures",
    "train",
    "with_learnt",
    "worst_case",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'robustfw' has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)
