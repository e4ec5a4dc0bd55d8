"""The flags that all measuring commands have: which net, which examples, by which weights, on which device."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

import attrs
import click

from robustfw.cli._foreign import NamedNet
from robustfw.errors import UsageError

SPLITS = ("test", "validation", "train")
"""Names of splits, as they are typed."""
Command = TypeVar("Command", bound=Callable[..., Any])

OF_A_RUN = ("best", "last")
"""Names of the weights that a run has."""


_FLAGS = {
    "model": click.option(
        "--model",
        metavar="SPEC",
        help="A net of your own in the place of RUN, with --dataset: timm:resnet18, python:file.py:build …",
    ),
    "dataset": click.option(
        "--dataset",
        metavar="SPEC",
        help="The data for --model: folder:images, npz:file.npz, cifar10 …",
    ),
    "weights": click.option(
        "--weights",
        metavar="NAME|FILE",
        default="best",
        show_default=True,
        help="best or last of a run; with --model a file: .safetensors, .pt.",
    ),
    "split": click.option(
        "--split", type=click.Choice(SPLITS), default="test", show_default=True
    ),
    "examples": click.option(
        "--examples", type=click.IntRange(min=1), help="Only the first so many. [all]"
    ),
    "batch_size": click.option(
        "--batch-size", type=click.IntRange(min=1), default=500, show_default=True
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
    """Which net, which examples of which split, on which device: what every measuring command asks."""

    model: str | None
    """Spec of a net that is no run's; None: a run is named."""
    dataset: str | None
    """Spec of the data for such a net."""
    weights: str
    """best or last; with ``model`` a file, or best for the weights that the model brings."""
    split: Literal["test", "validation", "train"]
    """The split that examples are of."""
    examples: int | None
    """How many examples; None: all."""
    batch_size: int
    """Examples that are measured together."""
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

    def of_run(self) -> Choices:
        """The choices for a run, which has its own net and data.

        Raises:
            UsageError: a net or data are named besides, or the weights are none that a run has.
        """
        if self.model is not None or self.dataset is not None:
            raise UsageError(
                "a run has its own net and data: leave out RUN, or --model and --dataset"
            )
        if self.weights not in OF_A_RUN:
            raise UsageError(
                f"a run has the weights best and last, not {self.weights!r}: a file of weights goes with --model"
            )
        return self

    @property
    def named_net(self) -> NamedNet:
        """The net, no run's, that the flags name."""
        return NamedNet(
            model=self.model,
            dataset=self.dataset,
            weights=None if self.weights == "best" else self.weights,
            device=self.device,
            threads=self.threads,
            data_dir=self.data_dir,
            quiet=self.as_json,
        )

    def adopted(self) -> Choices:
        """The choices for the run that a net of these has become by its adoption."""
        return attrs.evolve(self, model=None, dataset=None, weights="best")

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
