"""Records: what a training yields, for whoever draws, keeps or logs it."""

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
    """Batches finished in it."""
    batches: int
    loss: Tensor
    """Mean loss of the batch, detached; reading it waits for the device."""
    learning_rate: float


@attrs.frozen(eq=False)
class Epoch:
    """One pass over the training examples, and what validation says after it; accuracies are on that split."""

    epoch: int
    epochs: int
    loss: float
    """Mean training loss: of the objective, so at worst cases."""
    clean_accuracy: float
    robust_accuracy: float
    """Under the validation attack, over ``attacked`` examples."""
    attack_accuracy: float
    """Under the training attack. Far above ``robust_accuracy``: the net has learnt to fool its attack."""
    attacked: int
    gradient_alignment: float
    """Mean cosine between ∇ₓJ at x and at a random member of 𝒰(x) (Andriushchenko & Flammarion 2020)."""
    learning_rate: float
    passes_per_example: float
    """Forward and backward passes of the ascent, per training example."""
    seconds: float
    best: bool
    """Whether this is the highest robust accuracy so far."""
    warnings: tuple[str, ...]
    model: nn.Module = attrs.field(repr=False)
    """The net that counts, as it is after this epoch (its average where there is one), in evaluation mode. It is the
    live one: the next update changes it, and puts it in training mode."""
    best_weights: Mapping[str, Tensor] = attrs.field(factory=dict, repr=False)
    """The weights of the best epoch so far; what `robustfw.load` and the commands evaluate."""

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
