"""Losses per example: what an attack raises and an objective lowers."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

UNLABELLED = -1
"""The label of an example that has none; splits for training may have some."""


class Loss(Protocol):
    """J: logits (batch, classes) and labels (batch,) to losses (batch,)."""

    def __call__(self, logits: Tensor, y: Tensor, /) -> Tensor: ...


def cross_entropy(logits: Tensor, y: Tensor, smoothing: float = 0.0) -> Tensor:
    """−log softmax(logits)_y, from the logits, in float32 at least; 0 for an example without a label.

    Args:
        logits: (batch, classes).
        y: (batch,).
        smoothing: the share of the label that all classes get alike (Szegedy et al. 2016).
    """
    return functional.cross_entropy(
        _wide(logits), y, ignore_index=UNLABELLED, reduction="none", label_smoothing=smoothing
    )


def margin(logits: Tensor, y: Tensor) -> Tensor:
    """max_{k ≠ y} logits_k − logits_y: positive exactly where the prediction is wrong (Carlini & Wagner 2017).

    Its gradient does not vanish where cross-entropy saturates (pitfall of float32 softmax). 0 without a label.
    """
    logits, label = _wide(logits), y.clamp(min=0)[:, None]
    own = logits.gather(1, label)
    others = logits.scatter(1, label, -torch.inf)
    return (others.amax(1) - own[:, 0]).masked_fill(y == UNLABELLED, 0)


def misclassified(logits: Tensor, y: Tensor) -> Tensor:
    """Whether another class has the largest logit, or the logits are not a number."""
    return ~(logits.argmax(1) == y) | logits.isnan().any(1)


def _wide(logits: Tensor) -> Tensor:
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
