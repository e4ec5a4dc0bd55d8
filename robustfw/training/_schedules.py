"""A schedule in the place of another one: how a training goes on for more updates than it was planned for."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler

RATES = (
    "lr",
    "initial_lr",
    "max_lr",
    "min_lr",
    "momentum",
    "base_momentum",
    "max_momentum",
    "betas",
)
"""Options of an optimizer's groups that torch's schedules set."""


def replay_schedule(
    scheduler: LRScheduler, optimizer: torch.optim.Optimizer, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """The facts of a checkpoint with the rates that a fresh schedule has at the update that was reached.

    A schedule that does not depend on the length of the training has the rates that it had, bit for bit, since each
    step is taken as in the training.

    Args:
        scheduler: of a state before its first update; it is stepped to the update that was reached.
        optimizer: the scheduler's.
        facts: of the checkpoint (`State.facts`).
    """
    with warnings.catch_warnings():
        # torch warns of a schedule that is stepped without its optimizer, as here
        warnings.simplefilter("ignore", UserWarning)
        for _ in range(int(facts["schedule"]["last_epoch"])):
            scheduler.step()
    groups = []
    replayed_groups = optimizer.state_dict()["param_groups"]
    for group, replayed in zip(facts["groups"], replayed_groups, strict=True):
        rates = {name: replayed[name] for name in RATES if name in replayed}
        groups.append(group | rates)
    # the rest of the schedule is as the steps have left it
    return dict(facts) | {"groups": groups, "schedule": {}}
