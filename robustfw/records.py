"""Records: what a training yields, for the console, run directories and loggers."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

import attrs

if TYPE_CHECKING:
    from torch import Tensor, nn


@attrs.frozen(eq=False)
class Step:
    """One update of θ."""

    epoch: int
    """The epoch under way, from 1."""
    batch: int
    """Batches finished in this epoch."""
    batches: int
    """Batches of a whole epoch."""
    loss: Tensor
    """Mean loss of the batch, detached; reading it waits for the device."""
    learning_rate: float
    """The rate of the next update."""


@attrs.frozen(eq=False)
class Epoch:
    """One pass over the training examples, and the validation after it; accuracies are on the validation split."""

    epoch: int
    """The epoch, from 1."""
    epochs: int
    """Epochs of the whole training."""
    loss: float
    """Mean training loss: the objective's, so at worst cases."""
    clean_accuracy: float
    """Share of the ``attacked`` examples that are right without an attack, from 0 to 1."""
    robust_accuracy: float
    """Share of the ``attacked`` examples that are right under the validation attack."""
    attack_accuracy: float
    """Share that are right under the training attack. Far above ``robust_accuracy``, the net fools its attack."""
    attacked: int
    """Validation examples that were attacked."""
    gradient_alignment: float
    """Mean cosine between ∇ₓJ at x and at a random member of 𝒰(x) (Andriushchenko & Flammarion 2020)."""
    learning_rate: float
    """The rate of the next update."""
    passes_per_example: float
    """Forward and backward passes of the ascent, per training example."""
    seconds: float
    """Duration of the epoch with its validation."""
    best: bool
    """Whether this is the best epoch so far, by robust accuracy first."""
    warnings: tuple[str, ...]
    """What is wrong with the training, in sentences."""
    model: nn.Module = attrs.field(repr=False)
    """The net after this epoch (its average where there is one), in evaluation mode. The training goes on with this
    very object: the next update changes it, and puts it in training mode."""
    best_weights: Mapping[str, Tensor] = attrs.field(factory=dict, repr=False)
    """The weights of the best epoch so far, which `robustfw.load` and the commands evaluate."""

    def best_model(self) -> nn.Module:
        """A copy of the net with the weights of the best epoch so far, in evaluation mode.

        Where no epoch counts as the best, since all were overfitted, it has the weights as they are.
        """
        model = copy.deepcopy(self.model)
        if self.best_weights:
            model.load_state_dict(dict(self.best_weights))
        return model.eval()


Record: TypeAlias = Step | Epoch
"""What a training yields."""
