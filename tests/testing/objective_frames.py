"""A loss and its input gradient, and the frame of an objective with one wrong function."""

from __future__ import annotations

import torch

from robustfw import Objective, losses


def loss(model, x, y):
    return losses.cross_entropy(model(x), y)


def input_gradient(model, x, y):
    x = x.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(model, x, y).sum(), x, create_graph=True)
    return gradient.flatten(1)


class Wrong(Objective):
    """An objective by a function."""

    attacks = False

    def __init__(self, function):
        self.function = function

    def __call__(self, model, x, y, batch):
        return self.function(model, x, y)
