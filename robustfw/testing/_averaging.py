"""The laws of averaging weights, on a small net with batch norm."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from robustfw.averaging import Averaging
from robustfw.testing.laws import Law, require

PROGRESS = (0.1, 0.5, 0.8, 0.9, 1.0)
"""Shares of the training after which the average is updated."""
ROUNDING = 1e-6
"""How far an average may be from the weights, or from between them."""


def _net(seed: int) -> nn.Module:
    """A net of two layers with batch norm, with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 2)
        )


def _parameters(net: nn.Module) -> Tensor:
    """All parameters of a net in one row."""
    return torch.cat([p.detach().flatten() for p in net.parameters()])


def check_start(averaging: Averaging, seed: int) -> None:
    """The average begins as the net, and has parameters of its own."""
    net = _net(seed)
    average = averaging.build(net)
    for name, value in net.state_dict().items():
        require(
            bool(torch.equal(average.module.state_dict()[name], value)),
            f"{name} begins as another one",
        )
    addresses = {p.data_ptr() for p in average.module.parameters()}
    net_addresses = {p.data_ptr() for p in net.parameters()}
    require(not addresses & net_addresses, "the average shares parameters with the net")


def check_mean(averaging: Averaging, seed: int) -> None:
    """A mean of the weights that were seen: between their extremes, each by itself; of one point, the point."""
    net = _net(seed)
    average = averaging.build(net)
    weights = [_parameters(net)]
    # 1. of weights that stay what they are
    for progress in PROGRESS:
        averaging.update(average, net, progress)
        error = float((_parameters(average.module) - weights[0]).abs().max())
        require(
            error <= ROUNDING,
            f"the average of equal weights is off by {error:.3g} at {progress:g} of the training",
        )
    # 2. of weights that are drawn anew before each update
    for number, progress in enumerate(PROGRESS):
        with torch.no_grad():
            for parameter, other in zip(
                net.parameters(), _net(seed + 1 + number).parameters(), strict=True
            ):
                parameter.copy_(other)
        weights.append(_parameters(net))
        averaging.update(average, net, progress)
        mean = _parameters(average.module)
        points = torch.stack(weights)
        inside = (mean >= points.amin(0) - ROUNDING) & (
            mean <= points.amax(0) + ROUNDING
        )
        require(
            bool(inside.all()),
            f"the average leaves the range of the weights at {progress:g} of the training",
        )


def check_net_untouched(averaging: Averaging, seed: int) -> None:
    """The net is left as it is; what is done before an evaluation changes no parameter of the average either."""
    net = _net(seed).train()
    before = copy.deepcopy(net.state_dict())
    average = averaging.build(net)
    for progress in PROGRESS:
        averaging.update(average, net, progress)
    mean = _parameters(average.module)
    generator = torch.Generator().manual_seed(seed)
    averaging.finish(average, (torch.rand(6, 4, generator=generator) for _ in range(3)))
    require(
        bool(torch.equal(_parameters(average.module), mean)),
        "finishing changes parameters of the average",
    )
    changed = [
        name
        for name, value in net.state_dict().items()
        if not torch.equal(value, before[name])
    ]
    require(not changed, f"averaging changed {', '.join(changed)} of the net")
    with torch.no_grad():
        outputs = average.module.eval()(torch.rand(3, 4, generator=generator))
    require(bool(outputs.isfinite().all()), "outputs of the average are not finite")


LAWS = (
    Law("start", check_start),
    Law("mean", check_mean),
    Law("net untouched", check_net_untouched),
)
