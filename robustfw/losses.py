"""Losses per example, as functions: what an attack raises and training lowers. `robustfw.loss` has them as plugins.

Outputs are in the form that a task gives them (`robustfw.task.Task.read`), and K is the number of classes:

* classes: outputs (batch, K) and labels (batch,), or per pixel (batch, K, height, width) and (batch, height, width);
* numbers: outputs (batch, targets) and targets of the same shape;
* several labels: outputs (batch, labels), each a logit, and 0 or 1 for each of them.

Each function returns values of shape (batch,), computed in float32 at least; over pixels, targets and labels it takes
the mean, unless it says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from robustfw.errors import DataError

UNLABELLED = -1
"""The label of an example that has none; splits for training may have some."""
MASKED = -1e4
"""The logit that stands for −∞, by which nets mark classes that an example cannot have."""
SUM_TO_ONE = 0.01
"""How far from 1 the sum of probabilities may be: rounding in half precision."""

LossFunction: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""J: outputs and targets to values (batch,)."""


def cross_entropy(outputs: Tensor, y: Tensor, smoothing: float = 0.0) -> Tensor:
    """−log softmax(outputs)_y, from the logits; 0 for an example without a label.

    Args:
        outputs: logits (batch, K), or (batch, K, height, width).
        y: labels (batch,), or (batch, height, width); probabilities of the shape of ``outputs`` do as well.
        smoothing: the share of the label that all classes get alike (Szegedy et al. 2016).

    Returns:
        Values (batch,); over pixels the mean of those that have a label.
    """
    logits = to_float32(outputs)
    if y.is_floating_point():
        return functional.cross_entropy(logits, y.to(logits.dtype), reduction="none", label_smoothing=smoothing)
    values = functional.cross_entropy(logits, y, ignore_index=UNLABELLED, reduction="none", label_smoothing=smoothing)
    return values if y.dim() == 1 else _mean_of_labelled(values, y)


def margin(outputs: Tensor, y: Tensor) -> Tensor:
    """max_{k ≠ y} z_k − z_y: positive exactly where the prediction is wrong, 0 at a tie (Carlini & Wagner 2017).

    Its gradient does not vanish where cross-entropy saturates. 0 without a label. Of several labels, each with a logit
    z_l, it is the worst one's, max_l −(2y_l − 1)·z_l, which is positive exactly where one of them is wrong.
    """
    logits = to_float32(outputs)
    if y.is_floating_point():
        _check_same_shape(logits, y, "margin")
        return ((1 - 2 * y.to(logits.dtype)) * logits).flatten(1).amax(1)
    values = _margins(logits, y)
    return values if y.dim() == 1 else _mean_of_labelled(values, y)


def _margins(logits: Tensor, y: Tensor) -> Tensor:
    label = y.clamp(min=0).unsqueeze(1)
    others = logits.scatter(1, label, -torch.inf).amax(1)
    return (others - logits.gather(1, label).squeeze(1)).masked_fill(y == UNLABELLED, 0)


def dlr(outputs: Tensor, y: Tensor) -> Tensor:
    """The difference of logits ratio (max_{k ≠ y} z_k − z_y) / (z_(1) − z_(3)), z_(i) the i-th largest logit.

    It does not change when logits are multiplied or shifted (Croce & Hein 2020, eq. 6). With fewer than three classes
    there is no z_(3): it is the margin then. 0 where the three largest logits are one number.
    """
    logits = to_float32(outputs)
    if y.is_floating_point() or logits.shape[1] < 3:
        return margin(outputs, y)
    largest = logits.topk(3, dim=1).values
    spread = largest[:, 0] - largest[:, 2]
    margins = _margins(logits, y)
    values = torch.where(spread > 0, margins / spread.where(spread > 0, 1), 0 * margins)
    return values if y.dim() == 1 else _mean_of_labelled(values, y)


def squared_error(outputs: Tensor, y: Tensor) -> Tensor:
    """The mean over targets of (o − t)²."""
    return _differences(outputs, y).square().flatten(1).mean(1)


def absolute_error(outputs: Tensor, y: Tensor) -> Tensor:
    """The mean over targets of |o − t|."""
    return _differences(outputs, y).abs().flatten(1).mean(1)


def huber(outputs: Tensor, y: Tensor, delta: float = 1.0) -> Tensor:
    """The mean over targets of (o − t)²/2 up to |o − t| = delta, and linear beyond (Huber 1964)."""
    difference = _differences(outputs, y)
    return (
        functional.huber_loss(difference, torch.zeros_like(difference), reduction="none", delta=delta)
        .flatten(1)
        .mean(1)
    )


def binary_cross_entropy(outputs: Tensor, y: Tensor) -> Tensor:
    """−log σ((2t − 1)·z): of two classes, z the difference of their logits, or the mean over several labels."""
    logits = to_float32(outputs)
    if y.is_floating_point():
        _check_same_shape(logits, y, "bce")
        values = functional.binary_cross_entropy_with_logits(logits, y.to(logits.dtype), reduction="none")
        return values.flatten(1).mean(1)
    if logits.shape[1] != 2:
        raise DataError(f"bce is for two classes or several labels, and there are {logits.shape[1]} classes")
    return cross_entropy(logits, y)


def kl(outputs: Tensor, y: Tensor) -> Tensor:
    """KL(t ‖ softmax(z)) = Σ_k t_k (log t_k − log softmax(z)_k), t the probabilities (batch, K) that y gives.

    Of labels, whose t are 0 and 1, it is the cross-entropy.

    Raises:
        DataError: y are no probabilities; off a CPU, where to look is to wait, their shape alone is checked.
    """
    if not y.is_floating_point():
        return cross_entropy(outputs, y)
    logits = to_float32(outputs)
    _check_same_shape(logits, y, "kl")
    if y.device.type == "cpu" and not bool(((y >= 0).all(1) & ((y.sum(1) - 1).abs() < SUM_TO_ONE)).all()):
        raise DataError("kl compares probabilities, and the targets are none: each row must be positive and sum to 1")
    log_q, t = logits.log_softmax(1), y.to(logits.dtype)
    return functional.kl_div(log_q, t, reduction="none").flatten(1).sum(1)


def misclassified(outputs: Tensor, y: Tensor) -> Tensor:
    """Whether the label's logit is not larger than every other: a tie is no decision, and NaN is none either.

    Args:
        outputs: logits (batch, K), or (batch, K, height, width).
        y: labels (batch,), or (batch, height, width).

    Returns:
        A mask of the shape of y.
    """
    label = y.clamp(min=0).unsqueeze(1)
    own = outputs.gather(1, label).squeeze(1)
    return ~(own > outputs.scatter(1, label, -torch.inf).amax(1))


def finite(outputs: Tensor) -> Tensor:
    """Logits of −∞, which mark classes that an example cannot have, as numbers so low that they change nothing.

    Attacks subtract and rank logits, and −∞ − (−∞) is not a number.
    """
    if not outputs.numel():
        return outputs
    if outputs.device.type == "cpu" and outputs.detach().min().item() > -torch.inf:  # a look is less than a copy
        return outputs
    masked = outputs.isneginf()
    lowest = outputs.detach().masked_fill(masked, 0).amin(1, keepdim=True).clamp(max=0)
    return torch.where(masked, lowest + MASKED, outputs)


def to_float32(outputs: Tensor) -> Tensor:
    """Half precision as float32; other types as they are."""
    return outputs.float() if outputs.dtype in (torch.float16, torch.bfloat16) else outputs


def check_per_example(values: Tensor, rows: int, loss: object) -> None:
    """Raise a `DataError` unless a loss has given one value per example, (batch,)."""
    if values.shape != (rows,):
        name = getattr(loss, "__name__", type(loss).__name__)
        raise DataError(
            f"the loss {name} gives values of shape {tuple(values.shape)} for {rows} examples: it must give one value "
            'per example, so leave out its mean (reduction="none")'
        )


def _mean_of_labelled(values: Tensor, y: Tensor) -> Tensor:
    """The mean over the pixels of each example that have a label, (batch,); 0 where none has."""
    labelled = y != UNLABELLED
    return values.flatten(1).sum(1) / labelled.flatten(1).sum(1).clamp(min=1)


def _differences(outputs: Tensor, y: Tensor) -> Tensor:
    """Outputs less targets; labels (batch,) stand for rows of 0 with a 1."""
    values = to_float32(outputs)
    if not y.is_floating_point() and y.dim() == 1:
        labels = functional.one_hot(y.clamp(min=0), values.shape[1]).to(values.dtype)
        return (values - labels).masked_fill((y == UNLABELLED)[:, None], 0)
    _check_same_shape(values, y, "squared, absolute and huber")
    return values - y.to(values.dtype)


def _check_same_shape(outputs: Tensor, y: Tensor, name: str) -> None:
    if outputs.shape != y.shape:
        raise DataError(
            f"outputs have shape {tuple(outputs.shape)} and targets {tuple(y.shape)}: {name} compares them number by "
            "number"
        )
