"""How many training images a second come out of the batched pipeline, and out of torchvision's with a DataLoader?

Question: how fast are batches of CIFAR-10 made that are flipped, cropped and cut out, by tensor operations on whole
batches, and by torchvision's transforms image by image in a DataLoader?

Claim: the batched pipeline is three times as fast as the fastest DataLoader, and makes an image in a tenth of the time
that `fast-cifar` needs to learn from it. The exit status is 1 if not.

Method: the same images and batch size, ways in turns, medians and extremes of ratios within a round. The DataLoader is
measured with no worker and with two, kept between epochs.

    python -m benchmarks.data_feed [--batches N] [--rounds N] [--data-dir DIR] [--out FILE] [--json]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

import attrs
import torch
from torch.utils.data import DataLoader, Subset
from torchvision import datasets, transforms

import robustfw
from benchmarks.circumstances import circumstances
from benchmarks.step_cost import NETS, STANDARD, read, steps, update
from benchmarks.tables import add_flags, leave, markdown
from benchmarks.turns import Spread, Way, in_turns, ratios
from robustfw import Splits
from robustfw.dataset import data_root
from robustfw.training import hardware

OURS = "robustfw"
LEARNING = "learning from them (fast-cifar, standard step, fp32)"
FASTER = 3.0
SHARE = 0.1


def ours(splits: Splits, batch: int, batches: int) -> Way:
    """As the engine feeds itself."""
    augment = splits.augment
    assert augment is not None
    generator = torch.Generator().manual_seed(0)

    def feed() -> None:
        order = torch.randperm(len(splits.train), generator=generator)[
            : batch * batches
        ]
        for x, _ in splits.train.batches(order.split(batch)):
            augment(x, generator, 0)

    return feed


def loaded(root: str, batch: int, batches: int, workers: int) -> Way:
    """torchvision's transforms in a DataLoader."""
    steps: list[Callable[..., Any]] = [
        transforms.RandomCrop(32, padding=4, padding_mode="reflect")
    ]
    steps += [transforms.RandomHorizontalFlip(), transforms.ToTensor()]
    images = datasets.CIFAR10(root, train=True, transform=transforms.Compose(steps))
    loader = DataLoader(
        Subset(images, range(batch * batches)),
        batch_size=batch,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )

    def feed() -> None:
        for _ in loader:
            pass

    return feed


def rows(root: Any, batches: int, rounds: int) -> list[dict[str, Any]]:
    """A row for each way, and one for what becomes of the images."""
    net = NETS["fast-cifar"]
    splits = robustfw.make("dataset", "cifar10").load(root)
    x, y = next(splits.train.iterate(net.batch))
    learn = update(read(net, steps(net)[STANDARD], "fp32"), splits, x, y)
    ways: dict[str, Way] = {
        OURS: ours(splits, net.batch, batches),
        "DataLoader, no worker": loaded(str(root), net.batch, batches, 0),
        "DataLoader, 2 workers": loaded(str(root), net.batch, batches, 2),
    }
    seconds = in_turns(ways, rounds)
    seconds[LEARNING] = [
        batches * each for each in in_turns({LEARNING: learn}, rounds)[LEARNING]
    ]
    images = net.batch * batches
    return [
        {
            "way": name,
            "seconds": attrs.asdict(Spread.from_values(taken)),
            "images a second": f"{images / Spread.from_values(taken).median:,.0f}",
            "ratio": attrs.asdict(ratios(seconds, name, OURS)),
            "times robustfw's": ratios(seconds, name, OURS).spell(1),
        }
        for name, taken in seconds.items()
    ]


def holds(table: list[dict[str, Any]]) -> bool:
    """Whether ours is as fast as claimed."""
    others = {row["way"]: row["ratio"]["median"] for row in table if row["way"] != OURS}
    return others.pop(LEARNING) >= 1 / SHARE and all(
        ratio >= FASTER for ratio in others.values()
    )


COLUMNS = {
    "way": "",
    "images a second": "images a second",
    "times robustfw's": "time, relative to robustfw's",
}


def main() -> int:
    """Print and keep the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.data_feed", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--batches", type=int, default=20, help="of 500 images [20]")
    parser.add_argument("--rounds", type=int, default=5, help="[5]")
    add_flags(parser)
    options = parser.parse_args()
    hardware.keep_freed_memory()
    try:
        table = rows(data_root(options.data_dir), options.batches, options.rounds)
    except robustfw.RobustfwError as error:
        parser.error(str(error))
    facts = circumstances(
        ["torchvision"], batches=options.batches, rounds=options.rounds
    )
    leave(options, "data_feed", [markdown(table, COLUMNS)], table, facts)
    return 0 if holds(table) else 1


if __name__ == "__main__":
    sys.exit(main())
