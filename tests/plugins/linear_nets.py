"""Linear and small nets in float64 with a batch, and what objectives ask for."""

from __future__ import annotations

import torch
from torch import nn

from robustfw.testing.batches import given_batch


def batch_arguments(model, x, y):
    """The arguments of an objective that asks for no worst case."""
    return model, x, y, given_batch(model, x, y)


def linear(seed=0, features=6, classes=4, rows=5):
    """Logits W x + b in float64, with a batch of flat examples."""
    torch.manual_seed(seed)
    model = nn.Linear(features, classes).double()
    return model, torch.rand(rows, features, dtype=torch.float64), torch.arange(rows) % classes
