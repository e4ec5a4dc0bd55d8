"""A manifest, records and files of a run directory."""

from __future__ import annotations

import attrs
import torch
from torch import nn

from robustfw.records import Epoch, Step

RECIPE = {"dataset": {"use": "digits"}, "model": {"use": "linear"}, "uncertainty": {"use": "l2"}} | {
    "attack": {"use": "pgd"}, "objective": {"use": "robust"}, "train": {"epochs": 2},
}  # fmt: skip
MANIFEST = {"recipe": RECIPE, "data": {"hash": "abc", "spec": {"shape": [2], "classes": 2}}}


def epoch(number, **values):
    fields = {field.name: 0 for field in attrs.fields(Epoch)} | {"warnings": (), "model": nn.Identity(), "best": False}
    return Epoch(**(fields | {"epoch": number} | values))


def step(batch):
    return Step(1, batch, 2, torch.zeros(()), 0.1)


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
