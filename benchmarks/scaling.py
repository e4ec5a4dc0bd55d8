"""How does the cost grow with the batch, the dimension, the steps and the threads?

Question: which exponents do the times of attacks and oracles have, fitted over a range of sizes?

Claim: attacks grow linearly with the batch and with their steps, the oracles with the dimension: every exponent is at
most 1.25, which leaves room for the logarithm of d log d and for caches: 3,000 values fit one, 768,000 do not. The
exit status is 1 if not.

Method: one process, sizes in turns; the exponent is the slope of a straight line through the logarithms of the median
times over the larger half of the sizes, where constant costs no longer count. Along threads it is −1 where twice as
many take half the time; there is no claim for these.

    python -m benchmarks.scaling [--rounds N] [--data-dir DIR] [--out FILE] [--json]
"""

from __future__ import annotations

import argparse
import functools
import math
import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

import robustfw
from benchmarks.circumstances import circumstances
from benchmarks.tables import add_flags, leave, markdown
from benchmarks.turns import Spread, Way, in_turns
from robustfw.dataset import data_root
from robustfw.training import hardware

LIMIT = 1.25
BATCHES = (50, 100, 200, 400, 800)
STEPS = (5, 10, 20, 40, 80)
DIMENSIONS = (3_000, 12_000, 48_000, 192_000, 768_000)
ROWS = 16
NORMS = {"linf": 0.1, "l2": 1.0, "l1": 4.0}


def exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """The slope of log time over log size, by least squares."""
    x, y = ([math.log(each) for each in values] for values in (sizes, seconds))
    across, up = sum(x) / len(x), sum(y) / len(y)
    products = sum((a - across) * (b - up) for a, b in zip(x, y, strict=True))
    return products / sum((a - across) ** 2 for a in x)


def attack(net: nn.Module, x: Tensor, y: Tensor, spec: str, steps: int) -> Way:
    """PGD with all rows to the end."""
    return functools.partial(
        robustfw.worst_case, net, x, y, uncertainty=spec, attack=f"pgd:steps={steps}"
    )


def oracle(norm: str, radius: float, d: int, name: str) -> Way:
    """A support or a projection within [0, 1]."""
    draw = torch.Generator().manual_seed(0)
    x, z = torch.rand(ROWS, d, generator=draw), torch.randn(ROWS, d, generator=draw)
    share = radius * (
        1 if norm == "linf" else d / 784 if norm == "l1" else math.sqrt(d / 784)
    )
    region = (
        robustfw.make("uncertainty", f"{norm}:radius={share}").at(x).clip(0 - x, 1 - x)
    )
    call: Callable[[Tensor], Tensor] = getattr(region, name)
    return functools.partial(call, z)


def measured(
    what: str, along: str, ways: dict[float, Way], rounds: int
) -> dict[str, Any]:
    """A row: the median times, and the exponent over the larger half."""
    seconds = in_turns({str(size): way for size, way in ways.items()}, rounds)
    sizes, medians = (
        list(ways),
        [Spread.from_values(taken).median for taken in seconds.values()],
    )
    half = len(sizes) // 2 if len(sizes) > 3 else 0
    found = exponent(sizes[half:], medians[half:])
    return {
        "what": what,
        "along": along,
        "sizes": sizes,
        "seconds": medians,
        "exponent": found,
        "from to": f"{sizes[0]:g} to {sizes[-1]:g}",
        "ms": f"{1000 * medians[0]:.1f} to {1000 * medians[-1]:.1f}",
        "spelled": f"{found:.2f}",
    }


def rows(root: Any, rounds: int) -> list[dict[str, Any]]:
    """Attacks along batch and steps, oracles along the dimension."""
    splits = robustfw.make("dataset", "mnist").load(root)
    net = robustfw.make("model", "paper-mnist").build(splits.spec).eval()
    x, y = next(splits.test.iterate(max(BATCHES)))
    table = []
    for norm, radius in NORMS.items():
        spec = f"{norm}:radius={radius}"
        along_batch: dict[float, Way] = {
            b: attack(net, x[:b], y[:b], spec, 5) for b in BATCHES
        }
        along_steps: dict[float, Way] = {
            s: attack(net, x[:100], y[:100], spec, s) for s in STEPS
        }
        table.append(measured(f"PGD-5, {norm}", "batch", along_batch, rounds))
        table.append(
            measured(f"PGD, {norm}, batch of 100", "steps", along_steps, rounds)
        )
        for name in ("support", "project"):
            ways: dict[float, Way] = {
                d: oracle(norm, radius, d, name) for d in DIMENSIONS
            }
            table.append(
                measured(
                    f"{name} of {norm} within the data range", "dimension", ways, rounds
                )
            )
    return table


def along_threads(root: Any, rounds: int) -> dict[str, Any]:
    """A row for an attack by one thread, by two, by four …, as many as there are."""
    splits = robustfw.make("dataset", "mnist").load(root)
    net = robustfw.make("model", "paper-mnist").build(splits.spec).eval()
    whole, run = (
        torch.get_num_threads(),
        attack(net, *next(splits.test.iterate(400)), "linf:radius=0.1", 5),
    )

    def by(threads: int) -> None:
        torch.set_num_threads(threads)
        run()

    counts = [2**k for k in range(whole.bit_length())]
    row = measured(
        "PGD-5, linf, batch of 400",
        "threads",
        {n: functools.partial(by, n) for n in counts},
        rounds,
    )
    torch.set_num_threads(whole)
    return row


def holds(table: list[dict[str, Any]]) -> bool:
    """Whether all exponents are as claimed."""
    return all(row["exponent"] <= LIMIT for row in table)


COLUMNS = {
    "what": "",
    "along": "along",
    "from to": "sizes",
    "ms": "ms",
    "spelled": "exponent",
}


def main() -> int:
    """Print and keep the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scaling", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--rounds", type=int, default=5, help="[5]")
    add_flags(parser)
    options = parser.parse_args()
    hardware.keep_freed_memory()
    root = data_root(options.data_dir)
    try:
        table = rows(root, options.rounds)
        if torch.get_num_threads() > 1:
            table.append(along_threads(root, options.rounds))
    except robustfw.RobustfwError as error:
        parser.error(str(error))
    leave(
        options,
        "scaling",
        [markdown(table, COLUMNS)],
        table,
        circumstances([], rounds=options.rounds),
    )
    return 0 if holds(table) else 1


if __name__ == "__main__":
    sys.exit(main())
