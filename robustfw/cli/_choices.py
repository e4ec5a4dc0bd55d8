"""The flags that all measuring commands have: which examples, by which weights, on which device."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

import attrs
import click

SPLITS = ("test", "validation", "train")
"""Names of splits, as they are typed."""
Command = TypeVar("Command", bound=Callable[..., Any])

_FLAGS = {
    "split": click.option(
        "--split", type=click.Choice(SPLITS), default="test", show_default=True
    ),
    "examples": click.option(
        "--examples", type=click.IntRange(min=1), help="Only the first so many. [all]"
    ),
    "batch_size": click.option(
        "--batch-size", type=click.IntRange(min=1), default=500, show_default=True
    ),
    "weights": click.option(
        "--weights",
        type=click.Choice(["best", "last"]),
        default="best",
        show_default=True,
    ),
    "device": click.option(
        "--device", default="auto", show_default=True, help="auto, cpu, cuda …"
    ),
    "threads": click.option(
        "--threads",
        type=click.IntRange(min=1),
        help="torch's threads. [its own choice]",
    ),
    "seed": click.option(
        "--seed",
        type=int,
        default=0,
        show_default=True,
        help="Of the attacks' randomness.",
    ),
    "data_dir": click.option(
        "--data-dir",
        type=click.Path(path_type=Path),
        help="Where data files are. [ROBUSTFW_DATA]",
    ),
    "as_json": click.option(
        "--json",
        "as_json",
        is_flag=True,
        help="Print one JSON object, and nothing else.",
    ),
}


@attrs.frozen
class Choices:
    """Which examples of which split, by which weights, on which device; what every measuring command asks."""

    split: Literal["test", "validation", "train"]
    """The split that examples are of."""
    examples: int | None
    """How many examples; None: all."""
    batch_size: int
    """Examples that are measured together."""
    weights: str
    """best or last."""
    device: str
    """auto, cpu, cuda …"""
    threads: int | None
    """torch's threads; None: its own choice."""
    seed: int
    """Seed of the attacks' randomness."""
    data_dir: Path | None
    """Where data files are; None: where the environment says."""
    as_json: bool
    """Whether one JSON object is printed, and nothing else."""

    @classmethod
    def flags(
        cls, command: Command, **instead: Callable[[Command], Command]
    ) -> Command:
        """Give a command, which takes ``**choices``, a flag for each choice; ``instead`` replaces some of the flags."""
        flags = _FLAGS | instead
        for field in reversed(attrs.fields(cls)):
            command = flags[field.name](command)
        return command


def loss_option(command: Command) -> Command:
    """--loss, for each command that attacks."""
    help_ = (
        "Spec of the loss that attacks raise. [the task's: cross-entropy for classes]"
    )
    return click.option("--loss", metavar="SPEC", help=help_)(command)
