"""Losses per example as functions, which an attack raises and training lowers; `robustfw.loss` has them as plugins.

Outputs have the form that a task gives them (`robustfw.task.Task.read`). With K the number of classes these are:

* classes: outputs (batch, K) and labels (batch,), or per pixel (batch, K, height, width) and (batch, height, width);
* numbers: outputs (batch, targets) and targets of the same shape;
* several labels: outputs (batch, labels), each a logit, and 0 or 1 for each of them.

Each function returns values of shape (batch,), computed in float32 at least. Several pixels, targets or labels of an
example count by their mean, unless the function's docstring names another rule.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from robustfw.errors import DataError

UNLABELLED = -1
"""The label of an example that has none, which only training splits may hold."""
MASKED = -1e4
"""The change of logit that replaces −∞, by which nets mark classes that an example cannot have."""
SUM_TO_ONE = 0.01
"""Largest distance of a sum of probabilities from 1 that counts as rounding in half precision."""

LossFunction: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""J: (outputs, targets) ↦ values (batch,)."""


def cross_entropy(
    outputs: Tensor,
    y: Tensor,
    smoothing: float = 0.0,
    weights: Sequence[float] = (),
) -> Tensor:
    """−w_y log softmax(outputs)_y of logits; 0 for an example without a label.

    Args:
        outputs: logits (batch, K), or (batch, K, height, width).
        y: labels (batch,), or (batch, height, width); probabilities of the shape of ``outputs`` do as well.
        smoothing: share of the label that is spread evenly over all classes (Szegedy et al. 2016).
        weights: w, one for each class; empty: 1 for all. For probabilities it is their mean weight.

    Returns:
        Values (batch,); over pixels the mean of those that have a label.

    Raises:
        DataError: there are not as many weights as classes.
    """
    logits = upcast(outputs)
    if weights and len(weights) != logits.shape[1]:
        raise DataError(
            f"{len(weights)} weights do not fit {logits.shape[1]} classes: give one for each"
        )
    weight = logits.new_tensor(list(weights)) if weights else None
    if y.is_floating_point():
        probabilities = y.to(logits.dtype)
        values = functional.cross_entropy(
            logits, probabilities, reduction="none", label_smoothing=smoothing
        )
        if weight is None:
            return values
        return values * (probabilities.movedim(1, -1) @ weight)
    values = functional.cross_entropy(
        logits,
        target=y,
        ignore_index=UNLABELLED,
        reduction="none",
        label_smoothing=smoothing,
    )
    if weight is not None:
        # what has no label has the value 0 already
        values = values * weight[y.clamp(min=0)]
    if y.dim() == 1:
        return values
    return _mean_of_labelled(values, y)


def margin(outputs: Tensor, y: Tensor) -> Tensor:
    """max_{k ≠ y} z_k − z_y: positive exactly where the prediction is wrong, 0 at a tie (Carlini & Wagner 2017).

    Its gradient does not vanish where cross-entropy saturates. An example without a label has the value 0. With several
    labels, each with a logit z_l, the margin is that of the worst one, max_l −(2y_l − 1)·z_l: positive exactly where
    one of them is wrong. Over pixels it is the mean of those that have a label.
    """
    logits = upcast(outputs)
    if y.is_floating_point():
        _check_same_shape(logits, y, "margin")
        signs = 1 - 2 * y.to(logits.dtype)
        margins = signs * logits
        return margins.flatten(1).amax(1)
    values = _margins(logits, y)
    if y.dim() == 1:
        return values
    return _mean_of_labelled(values, y)


def _margins(logits: Tensor, y: Tensor) -> Tensor:
    """max_{k ≠ y} z_k − z_y of each label, of the shape of y; 0 where there is no label."""
    label = y.clamp(min=0).unsqueeze(1)
    largest_other = logits.scatter(1, label, -torch.inf).amax(1)
    label_logit = logits.gather(1, label).squeeze(1)
    margins = largest_other - label_logit
    return margins.masked_fill(y == UNLABELLED, 0)


def dlr(outputs: Tensor, y: Tensor) -> Tensor:
    """The difference-of-logits ratio (max_{k ≠ y} z_k − z_y) / (z_(1) − z_(3)), z_(i) the i-th largest logit.

    It does not change when logits are multiplied or shifted (Croce & Hein 2020, eq. 6). With fewer than three classes
    there is no z_(3), and the value is the margin. Where the three largest logits are equal it is 0.
    """
    logits = upcast(outputs)
    if y.is_floating_point() or logits.shape[1] < 3:
        return margin(outputs, y)
    # 1. z_(1) − z_(3)
    largest = logits.topk(3, dim=1).values
    spread = largest[:, 0] - largest[:, 2]
    has_spread = spread > 0
    safe_spread = spread.where(has_spread, 1)
    # 2. the ratio; 0 · margins keeps the graph where there is none
    margins = _margins(logits, y)
    values = torch.where(has_spread, margins / safe_spread, 0 * margins)
    if y.dim() == 1:
        return values
    return _mean_of_labelled(values, y)


def squared_error(outputs: Tensor, y: Tensor) -> Tensor:
    """The mean over targets of (o − t)², (batch,)."""
    squares = _differences(outputs, y).square()
    return squares.flatten(1).mean(1)


def absolute_error(outputs: Tensor, y: Tensor) -> Tensor:
    """The mean over targets of |o − t|, (batch,)."""
    return _differences(outputs, y).abs().flatten(1).mean(1)


def huber(outputs: Tensor, y: Tensor, delta: float = 1.0) -> Tensor:
    """The mean over targets of (o − t)²/2 up to |o − t| = delta, and linear beyond (Huber 1964); (batch,).

    Args:
        outputs: numbers (batch, targets).
        y: targets of the same shape, or labels (batch,).
        delta: the difference at which the loss becomes linear, in units of the target.
    """
    difference = _differences(outputs, y)
    zeros = torch.zeros_like(difference)
    values = functional.huber_loss(difference, zeros, reduction="none", delta=delta)
    return values.flatten(1).mean(1)


def binary_cross_entropy(outputs: Tensor, y: Tensor) -> Tensor:
    """−log σ((2t − 1)·z), (batch,): the mean over several labels; for two classes, z is the difference of their logits.

    Raises:
        DataError: y are labels of more than two classes.
    """
    logits = upcast(outputs)
    if y.is_floating_point():
        _check_same_shape(logits, y, "bce")
        values = functional.binary_cross_entropy_with_logits(
            logits, y.to(logits.dtype), reduction="none"
        )
        return values.flatten(1).mean(1)
    if logits.shape[1] != 2:
        raise DataError(
            f"bce is for two classes or several labels, and there are {logits.shape[1]} classes"
        )
    return cross_entropy(logits, y)


def kl(outputs: Tensor, y: Tensor) -> Tensor:
    """KL(t ‖ softmax(z)) = Σ_k t_k (log t_k − log softmax(z)_k), with t the probabilities y, (batch, K).

    For labels, whose t are 0 and 1, it is the cross-entropy.

    Raises:
        DataError: y are no probabilities. On other devices than the CPU only their shape is checked, since a look at
            values waits for the device.
    """
    if not y.is_floating_point():
        return cross_entropy(outputs, y)
    logits = upcast(outputs)
    _check_same_shape(logits, y, "kl")
    if y.device.type == "cpu":
        positive = (y >= 0).all(1)
        normalized = (y.sum(1) - 1).abs() < SUM_TO_ONE
        if not bool((positive & normalized).all()):
            raise DataError(
                "kl compares probabilities, and the targets are none: each row must be positive and sum to 1"
            )
    log_probabilities = logits.log_softmax(1)
    t = y.to(logits.dtype)
    values = functional.kl_div(log_probabilities, t, reduction="none")
    return values.flatten(1).sum(1)


def misclassified(outputs: Tensor, y: Tensor) -> Tensor:
    """Whether the label's logit is not larger than every other; a tie or NaN counts as misclassified.

    Args:
        outputs: logits (batch, K), or (batch, K, height, width).
        y: labels (batch,), or (batch, height, width).

    Returns:
        A mask of the shape of y.
    """
    label = y.clamp(min=0).unsqueeze(1)
    label_logit = outputs.gather(1, label).squeeze(1)
    largest_other = outputs.scatter(1, label, -torch.inf).amax(1)
    return ~(label_logit > largest_other)


def replace_infinities(outputs: Tensor) -> Tensor:
    """The logits with finite numbers in place of −∞, by which nets mark classes that an example cannot have.

    The numbers are so low that no prediction changes. Attacks subtract and rank logits, and −∞ − (−∞) is NaN.
    """
    if not outputs.numel():
        return outputs
    logits = outputs.detach()
    # on a CPU a look at the smallest logit is cheaper than a copy
    if logits.device.type == "cpu" and logits.min().item() > -torch.inf:
        return outputs
    masked = outputs.isneginf()
    finite = logits.masked_fill(masked, 0)
    lowest = finite.amin(1, keepdim=True).clamp(max=0)
    return torch.where(masked, lowest + MASKED, outputs)


def upcast(outputs: Tensor) -> Tensor:
    """The outputs in float32 if they are in half precision; otherwise as they are."""
    if outputs.dtype in (torch.float16, torch.bfloat16):
        return outputs.float()
    return outputs


def check_per_example(values: Tensor, rows: int, loss: object) -> None:
    """Raise a `DataError` unless a loss has given one value per example.

    Args:
        values: the values of the loss, which should be (rows,).
        rows: number of examples.
        loss: the loss, whose name the message gives.
    """
    if values.shape != (rows,):
        name = getattr(loss, "__name__", type(loss).__name__)
        raise DataError(
            f"the loss {name} gives values of shape {tuple(values.shape)} for {rows} examples: it must give one value "
            'per example, so leave out its mean (reduction="none")'
        )


def _mean_of_labelled(values: Tensor, y: Tensor) -> Tensor:
    """The mean over the labelled pixels of each example, (batch,); 0 where no pixel has a label."""
    labelled = y != UNLABELLED
    count = labelled.flatten(1).sum(1).clamp(min=1)
    total = values.flatten(1).sum(1)
    return total / count


def _differences(outputs: Tensor, y: Tensor) -> Tensor:
    """Outputs minus targets, of the shape of the outputs; labels (batch,) are read as one-hot rows."""
    values = upcast(outputs)
    if not y.is_floating_point() and y.dim() == 1:
        one_hot = functional.one_hot(y.clamp(min=0), values.shape[1])
        differences = values - one_hot.to(values.dtype)
        unlabelled = y == UNLABELLED
        return differences.masked_fill(unlabelled[:, None], 0)
    _check_same_shape(values, y, "squared, absolute and huber")
    return values - y.to(values.dtype)


def _check_same_shape(outputs: Tensor, y: Tensor, name: str) -> None:
    """Raise a `DataError` that names the loss where outputs and targets differ in shape."""
    if outputs.shape != y.shape:
        raise DataError(
            f"outputs have shape {tuple(outputs.shape)} and targets {tuple(y.shape)}: {name} compares them number by "
            "number"
        )
