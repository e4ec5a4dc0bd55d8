"""Trainings by the engine on two overlapping clouds."""

from __future__ import annotations

import torch
from torch import nn

from robustfw import DataSpec, Epoch, Splits, TensorSplit
from robustfw.plugin.registry import Registry
from robustfw.training._given import GivenDataset, GivenModel
from robustfw.training._session import begin
from robustfw.training.recipe import Recipe

REGISTRY = Registry.installed()


def blobs(n=96, d=6, dtype=torch.float64):
    """Two overlapping clouds without a data range."""
    generator = torch.Generator().manual_seed(5)
    y = torch.arange(n) % 2
    x = torch.randn(n, d, generator=generator, dtype=dtype) + (y[:, None] - 0.5) * 1.5
    whole = TensorSplit(x, y)
    train, validation = whole.subset(torch.arange(64)), whole.subset(torch.arange(64, 80))
    return Splits(train, validation, whole.first(8), DataSpec((d,), 2, bounds=None))


def recipe(model, splits, train=None, **parts):
    given = {"dataset": GivenDataset(splits), "model": GivenModel(model) if isinstance(model, nn.Module) else model}
    return Recipe.read(given | parts | {"train": train or {}}, REGISTRY)


def records(model, splits, steps=False, **more):
    session = begin(recipe(model, splits, **more), REGISTRY)
    return [record for record in session.records() if steps or isinstance(record, Epoch)]
