"""The kinds of plugins that robustfw knows by itself."""

from __future__ import annotations

from robustfw.attack import Attack
from robustfw.averaging import Averaging
from robustfw.dataset import Dataset
from robustfw.loss import Loss
from robustfw.model import Model
from robustfw.objective import Objective
from robustfw.optim import Optimizer, Schedule
from robustfw.sampler import Sampler
from robustfw.task import Task
from robustfw.uncertainty import UncertaintySet
from robustfw.update import Update

KINDS: dict[str, type] = {
    "uncertainty": UncertaintySet,
    "attack": Attack,
    "objective": Objective,
    "model": Model,
    "dataset": Dataset,
    "loss": Loss,
    "task": Task,
    "optimizer": Optimizer,
    "schedule": Schedule,
    "update": Update,
    "sampler": Sampler,
    "averaging": Averaging,
}
"""The interfaces of the formula, and the engine's own; plugins may bring more (`robustfw.Interface`)."""
