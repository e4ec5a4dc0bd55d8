"""The laws of optimizers and schedules, on a parabola."""

from __future__ import annotations

import json

import torch

from robustfw.optim import Optimizer, Schedule
from robustfw.testing.laws import Law, require

UPDATES = 40
"""Updates of a training."""


def check_descends(optimizer: Optimizer, seed: int) -> None:
    """It lowers ‖θ‖² from a random start; its step is given the loss as a closure, as the engine gives it."""
    theta = torch.nn.Parameter(
        torch.randn(5, generator=torch.Generator().manual_seed(seed))
    )
    start = float(theta.detach().square().sum())
    torch_optimizer = optimizer.build([theta], 0.05)

    def closure() -> float:
        torch_optimizer.zero_grad()
        loss = theta.square().sum()
        loss.backward()
        return float(loss.detach())

    for _ in range(UPDATES):
        torch_optimizer.step(closure)
    end = float(theta.detach().square().sum())
    require(end < 0.5 * start, f"‖θ‖² went from {start:.3g} to {end:.3g}")


def check_rates(schedule: Schedule, seed: int) -> None:
    """Rates are finite, never negative nor above the learning rate, for every update; its state is plain JSON."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = schedule.build(optimizer, UPDATES)
    for _ in range(UPDATES):
        rate = scheduler.get_last_lr()[0]
        require(
            0 <= rate <= 0.1 + 1e-12,
            f"the rate is {rate} where the learning rate is 0.1",
        )
        optimizer.step()
        scheduler.step()
    state = {}
    for k, v in scheduler.state_dict().items():
        if isinstance(v, int | float | str | list):
            state[k] = v
    require(json.loads(json.dumps(state)) == state, "its state does not survive JSON")


OPTIMIZER_LAWS = (Law("descends", check_descends),)
SCHEDULE_LAWS = (Law("rates", check_rates),)
