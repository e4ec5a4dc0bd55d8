"""The net of a training: built from the data, and checked against it."""

from __future__ import annotations

import torch
from torch import nn

from robustfw.data.splits import Batch, Splits, StreamedSplit
from robustfw.errors import DataError
from robustfw.evaluation import check_width
from robustfw.inner.freezing import check_type
from robustfw.inner.modes import evaluation_mode
from robustfw.model import Model
from robustfw.storage._checkpoints import check_storable


def build_net(model: Model, splits: Splits, *, has_weights: bool) -> nn.Module:
    """Build the net; layers that take their sizes from the first batch (``nn.LazyLinear``) see two examples.

    ``has_weights`` says that a checkpoint has its weights, so that none need be downloaded or learnt from data.
    """
    fitted = model.fit(splits.learning_split())
    if has_weights:
        net = fitted.build_untrained(splits.spec)
    else:
        net = fitted.build(splits.spec)
    if any(
        isinstance(p, nn.parameter.UninitializedParameter) for p in net.parameters()
    ):
        x, _ = _two_examples(splits)
        with evaluation_mode(net), torch.no_grad():
            net(x)
    check_storable(net.state_dict())
    return net


def check_net(model: nn.Module, splits: Splits, device: torch.device) -> None:
    """Check the net against the data: two examples go through it in evaluation mode.

    Args:
        model: the net, on the device.
        splits: the data.
        device: where the net is.

    Raises:
        DataError: the net does not take the examples, or gives nothing that the task can read.
    """
    x, _ = _two_examples(splits)
    x = x.to(device)
    check_type(model, x)
    try:
        with evaluation_mode(model), torch.no_grad():
            outputs = model(x.clone())
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise DataError(
            f"the net does not take examples of shape {tuple(x.shape[1:])}: {reason}"
        ) from error
    check_width(splits.spec.task.read(outputs, len(x)), splits.spec.classes)


def _two_examples(splits: Splits) -> Batch:
    """Two examples of the training, or of another split where a net is to be measured and nothing is for training."""
    for split in (splits.train, splits.validation, splits.test):
        if isinstance(split, StreamedSplit):
            return splits.first_examples(2)
        if len(split):
            return next(split.first(2).iterate(2))
    raise DataError("there is not one example: name other data")
