"""What does a robust training step cost, relative to a standard one, and to what the machine can do?

Question: how long does an update of robustfw's engine take for standard training, for single-step robust training over
ℓ∞, ℓ2 and ℓ1 within the data range, and for PGD-7, in fp32 and bf16; which share of the machine's matrix peak is that;
and what does the engine around the step add?

Claim: a single-step robust update takes at most 1.80 standard ones (paper-mnist) or 1.70 (paper-cifar), whose floors by
arithmetic are 1.746 and 1.668; the engine adds less than 3 %. The exit status is 1 if not.

Method: real images, one process, ways in turns, medians and extremes of ratios within a round. Of paper-mnist a round
is five, of four updates each, so that few of them see the machine change its pace. Operations are counted by torch. The
peak is that of a square matrix product of side 2048 or of a convolution of 256 channels, whichever is higher: torch's
two libraries differ by a factor of two on some processors. `plain` is the standard step of the paper's MNIST net as one
writes it down in torch: pools after ReLU, layout untouched, SGD in a loop. The engine's share is what `robustfw.train`
takes from one update to the next, relative to what it spends in the update itself, in the same steps.

    python -m benchmarks.step_cost [--net NAME …] [--precision fp32 …] [--batch N] [--rounds N] [--threads N]
        [--data-dir DIR] [--out FILE] [--json]
"""

from __future__ import annotations

import argparse
import functools
import itertools
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import attrs
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, cross_entropy
from torch.utils.flop_counter import FlopCounterMode

import robustfw
from benchmarks.circumstances import circumstances
from benchmarks.tables import add_flags, bf16_pays, leave, say, stream
from benchmarks.turns import Spread, Way, in_turns, ratios
from robustfw import Batch, Splits
from robustfw.dataset import data_root
from robustfw.plugin.registry import installed
from robustfw.training import _engine as engine
from robustfw.training import hardware
from robustfw.training._state import State
from robustfw.training.recipe import Recipe

STANDARD = "standard"
PLAIN = "plain"
ENGINE = "engine"
SIDE = 2048
QUIET = {"validation_examples": 1, "on_overfitting": "ignore"}
ENOUGH = 0.03
"""What the engine may add."""


@attrs.frozen
class Net:
    """A net, its data, its batch, and what its robust step may cost."""

    name: str
    dataset: str
    batch: int
    floor: float
    limit: float
    radii: tuple[float, float, float]
    """ℓ∞, ℓ2, ℓ1."""
    times: int
    """Updates in a turn: few, as machines change their pace."""
    often: int
    """Rounds for each one that is asked for."""


NETS = {
    net.name: net
    for net in (
        Net("paper-mnist", "mnist", 100, 1.746, 1.80, (0.055, 0.5504, 0.5504), 4, 5),
        Net(
            "paper-cifar",
            "cifar10:augment=none",
            128,
            1.668,
            1.70,
            (0.01, 0.2, 0.5),
            1,
            1,
        ),
        Net(
            "fast-cifar",
            "cifar10:augment=none",
            500,
            1.667,
            1.75,
            (0.01, 0.2, 0.5),
            1,
            1,
        ),
    )
}


def steps(net: Net) -> dict[str, dict[str, str]]:
    """Parts of a recipe, by the name of the step."""
    linf, l2, l1 = (
        f"{norm}:radius={r}"
        for norm, r in zip(("linf", "l2", "l1"), net.radii, strict=True)
    )
    robust = {"objective": "robust", "attack": "single-step"}
    return {
        STANDARD: {"objective": "clean"},
        "robust, ℓ∞": robust | {"uncertainty": linf},
        "robust, ℓ2": robust | {"uncertainty": l2},
        "robust, ℓ1": robust | {"uncertainty": l1},
        "PGD-7, ℓ∞": {
            "objective": "robust",
            "attack": "pgd:steps=7",
            "uncertainty": linf,
        },
    }


def read(net: Net, parts: dict[str, str], precision: str) -> Recipe:
    """The recipe of a training."""
    train = {"batch_size": net.batch, "precision": precision, **QUIET}
    return Recipe.read(
        {"model": net.name, "dataset": net.dataset, "train": train, **parts},
        installed(),
    )


def update(recipe: Recipe, splits: Splits, x: Tensor, y: Tensor) -> Way:
    """An update on one batch, of examples in memory, which the engine has checked before the first one."""
    state = State.fresh(
        lambda: recipe.model.fit(splits.train).build(splits.spec),
        recipe.train,
        x.device,
        10**6,
    )
    parts = {
        "uncertainty": recipe.uncertainty,
        "attack": recipe.attack,
        "bounds": splits.spec.bounds,
    }
    batch = attrs.evolve(
        Batch.create(state.model, x, y, **parts), checked=True, trusted=True
    )
    return functools.partial(engine.update, recipe, state, batch)


def trained(net: Net, parts: dict[str, str], precision: str, splits: Splits) -> Way:
    """An update of a training, by `robustfw.train`: the next record of one epoch after the other."""
    train: dict[str, Any] = {"batch_size": net.batch, "precision": precision, **QUIET}

    def epochs() -> Iterator[Iterator[Any]]:
        while True:
            yield robustfw.train(
                dataset=splits,
                model=net.name,
                steps=True,
                **dict[str, Any](parts),
                **train,
            )

    records = itertools.chain.from_iterable(epochs())
    return functools.partial(next, records)


def around(step: Way, rounds: int, times: int) -> tuple[Spread, Spread]:
    """Seconds from one update of a training to the next, and how often the update itself goes into them."""
    bare, spent = engine.update, [0.0]

    def timed(*args: Any) -> Tensor:
        start = time.perf_counter()
        loss = bare(*args)
        spent[0] += time.perf_counter() - start
        return loss

    seconds, shares = [], []
    with mock.patch.object(engine, "update", timed):
        for number in range(-1, rounds):
            start, spent[0] = time.perf_counter(), 0.0
            for _ in range(times):
                step()
            if number >= 0:
                taken = time.perf_counter() - start
                seconds.append(taken / times)
                shares.append(taken / spent[0])
    return Spread.from_values(seconds), Spread.from_values(shares)


def plain(x: Tensor, y: Tensor) -> Way:
    """The standard step of the paper's MNIST net as it is written down."""
    net = nn.Sequential(
        nn.ZeroPad2d(2),
        nn.Conv2d(1, 32, 5),
        nn.ReLU(),
        nn.MaxPool2d(3),
        nn.Conv2d(32, 64, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(256, 200),
        nn.ReLU(),
        nn.Linear(200, 10),
    )
    optimizer = torch.optim.SGD(net.parameters(), 0.01, momentum=0.9, weight_decay=5e-4)

    def step() -> None:
        optimizer.zero_grad()
        cross_entropy(net(x), y).backward()
        optimizer.step()

    return step


def operations(step: Callable[[], object]) -> int:
    """What torch counts of one step: two for each multiplication and addition."""
    with FlopCounterMode(display=False) as counted:
        step()
    return int(counted.get_total_flops())


def peak(precision: str) -> float:
    """Operations per second, of a square matrix product or of a wide convolution, whichever has more."""
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    a = torch.randn(SIDE, SIDE).to(kind)
    x, filters = (
        torch.randn(64, 256, n, n).to(kind, memory_format=torch.channels_last)
        for n in (14, 3)
    )
    filters = filters.repeat(4, 1, 1, 1)
    ways: dict[str, Way] = {
        "product": lambda: a @ a,
        "convolution": lambda: conv2d(x, filters, padding=1),
    }
    seconds = in_turns(ways, rounds=7)
    counted = {name: operations(way) for name, way in ways.items()}
    return max(
        counted[name] / Spread.from_values(seconds[name]).median for name in ways
    )


def rows(
    net: Net, precisions: list[str], rounds: int, splits: Splits
) -> Iterator[dict[str, Any]]:
    """A row for each step and precision, all timed in turns; then one for the engine in each precision."""
    x, y = next(splits.train.iterate(net.batch))
    ways: dict[str, Way] = {}
    for precision in precisions:
        for name, parts in steps(net).items():
            ways[f"{name}, {precision}"] = update(
                read(net, parts, precision), splits, x, y
            )
    if net.name == "paper-mnist":
        ways[PLAIN] = plain(x, y)
    seconds = in_turns(ways, rounds * net.often, net.times)
    peaks = {precision: peak(precision) for precision in precisions}
    for name in ways:
        step, _, precision = (
            name.rpartition(", ") if name != PLAIN else (PLAIN, "", "fp32")
        )
        taken = Spread.from_values(seconds[name])
        row: dict[str, Any] = {
            "net": net.name,
            "step": step,
            "precision": precision,
            "seconds": attrs.asdict(taken),
        }
        row["ms"] = f"{1000 * taken.median:.1f}"
        reference = f"{STANDARD}, {precision}"
        if reference in ways:
            row["ratio"] = attrs.asdict(ratios(seconds, name, reference))
            row["to standard"] = ratios(seconds, name, reference).spell()
        for other, key in (
            (f"{STANDARD}, fp32", "to standard fp32"),
            (PLAIN, "to plain fp32"),
        ):
            if other in ways:
                row[key] = ratios(seconds, name, other).spell()
        if step != PLAIN:
            row["share of peak"] = (
                f"{100 * operations(ways[name]) / taken.median / peaks[precision]:.0f} %"
            )
        yield row
    for precision in precisions:
        yield engine_row(net, precision, rounds, splits)


def engine_row(net: Net, precision: str, rounds: int, splits: Splits) -> dict[str, Any]:
    """What the engine adds to a robust update."""
    taken, share = around(
        trained(net, steps(net)["robust, ℓ∞"], precision, splits),
        rounds * net.often,
        net.times,
    )
    return {
        "net": net.name,
        "step": ENGINE,
        "precision": precision,
        "seconds": attrs.asdict(taken),
        "ms": f"{1000 * taken.median:.1f}",
        "ratio": attrs.asdict(share),
        "to the bare step": share.spell(3),
    }


def holds(table: list[dict[str, Any]]) -> bool:
    """Whether robust steps and the engine are as cheap as claimed."""
    found = []
    for row in table:
        if row["step"].startswith("robust"):
            found.append(row["ratio"]["median"] <= NETS[row["net"]].limit)
        elif row["step"] == ENGINE:
            found.append(row["ratio"]["median"] <= 1 + ENOUGH)
    return all(found)


COLUMNS = {
    "net": "net",
    "step": "step",
    "precision": "",
    "ms": "ms",
    "to standard": "to the standard step",
    "to standard fp32": "to the standard step in fp32",
    "to plain fp32": "to the plain step",
    "to the bare step": "to the bare step",
    "share of peak": "of the peak",
}


def measured(
    options: argparse.Namespace, precisions: list[str]
) -> Iterator[dict[str, Any]]:
    """The rows of all nets that are asked for."""
    for name in options.net or NETS:
        net = attrs.evolve(NETS[name], batch=options.batch or NETS[name].batch)
        splits = robustfw.make("dataset", net.dataset).load(data_root(options.data_dir))
        say(f"{name}: {' and '.join(precisions)}, {options.rounds * net.often} rounds")
        yield from rows(net, precisions, options.rounds, splits)


def main() -> int:
    """Print and keep the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.step_cost", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "--net", action="append", choices=list(NETS), help="may be repeated [all]"
    )
    parser.add_argument(
        "--precision",
        action="append",
        choices=["fp32", "bf16"],
        help="may be repeated [both, if both pay]",
    )
    parser.add_argument(
        "--batch", type=int, help="examples in a step [the net's own: 100, 128, 500]"
    )
    parser.add_argument("--rounds", type=int, default=7, help="[7]")
    parser.add_argument("--threads", type=int, help="[torch's choice]")
    add_flags(parser)
    options = parser.parse_args()
    hardware.use_threads(options.threads)
    hardware.keep_freed_memory()
    precisions = options.precision or [
        "fp32",
        *(["bf16"] if bf16_pays("--precision bf16 measures it") else []),
    ]
    try:
        table = stream(options, measured(options, precisions), COLUMNS)
    except robustfw.RobustfwError as error:
        parser.error(str(error))
    peaks = {
        f"peak {precision}": f"{peak(precision) / 1e9:.0f} GF/s"
        for precision in precisions
    }
    facts = circumstances(
        [], rounds=options.rounds, batch=options.batch or "the net's own", **peaks
    )
    leave(options, "step_cost", [], table, facts)
    return 0 if holds(table) else 1


if __name__ == "__main__":
    sys.exit(main())
