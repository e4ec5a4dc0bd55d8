"""`robustfw train --from`: a training that begins with the weights of another net."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from robustfw.errors import UsageError

if TYPE_CHECKING:
    from robustfw.cli._foreign import NamedNet

LEARNING_RATE = 0.01
"""The learning rate where none is given: a tenth of that of a net with fresh weights."""
EPOCHS = 5
"""Epochs where none are given."""


@attrs.frozen
class Start:
    """Which net a training begins with, and what of it changes."""

    run: Path | None
    """The run directory of the net; None where a training begins with fresh weights."""
    weights: str
    """best or last of that run, or the file of weights of the model that is named."""
    freeze: tuple[str, ...]
    """Layers that keep their weights."""
    head: str
    """keep, new or auto: the last layer."""

    def apply(self, parts: dict[str, Any], net: NamedNet) -> dict[str, Any]:
        """The parts of a recipe with the net that the training begins with in the place of its model.

        A net that is no run yet is adopted first. What is not given is as in the run: the data, and of a run that was
        trained here the set, the attack and the objective.

        Args:
            parts: the recipe's parts by kind, as they were given.
            net: the net that the flags name, where it is no run's.

        Raises:
            UsageError: there is no net to begin with, or no set to train against.
        """
        from robustfw.storage.runs import Run

        # 1. the run of the net
        path = self.run
        weights = self.weights
        if path is None:
            path = net.adopt()
            weights = "best"
        elif "model" in parts:
            raise UsageError(
                "--from takes the model of its run: leave out --model, or --from"
            )
        manifest = Run.open(path).manifest()
        recipe = manifest["recipe"]
        data = manifest["data"]["spec"]

        # 2. its net as the model, its other parts where none are given
        model = {
            "use": "fine-tuned",
            "run": str(path),
            "model": recipe["model"],
            "weights": weights,
            "classes": data["classes"],
            "mean": data.get("mean"),
            "std": data.get("std"),
            "freeze": list(self.freeze),
            "head": self.head,
        }
        merged = {key: value for key, value in recipe.items() if key != "train"}
        merged |= parts | {"model": model}
        if "uncertainty" not in merged:
            raise UsageError(
                f"the net in {path} was adopted, and no set says what it is to withstand: name one by --uncertainty, "
                "such as linf:radius=8/255"
            )

        # 3. small steps: the weights are good already
        gentle = {"learning_rate": LEARNING_RATE, "epochs": EPOCHS}
        merged["train"] = gentle | parts.get("train", {})
        return merged


def read_start(
    run: Path | None, *, weights: str | None, freeze: str | None, head: str | None
) -> Start | None:
    """The net that a training begins with, as the flags say; None where it begins with fresh weights.

    Args:
        run: the run of --from.
        weights: the name or the file of --weights.
        freeze: the names of --freeze.
        head: the word of --head.

    Raises:
        UsageError: flags for the start are given, and no start.
    """
    if run is None and weights is None:
        if freeze is not None or head is not None:
            raise UsageError(
                "--freeze and --head are for a net that is trained already: name it by --from RUN, or by --model and "
                "--weights"
            )
        return None
    if run is not None and weights not in (None, "best", "last"):
        raise UsageError(
            f"--from takes the weights best or last of its run, not {weights!r}: a file goes with --model"
        )
    names = (freeze or "").split(",")
    return Start(
        run=run,
        weights=weights or "best",
        freeze=tuple(name.strip() for name in names if name.strip()),
        head=head or "auto",
    )
