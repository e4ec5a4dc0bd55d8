"""Models that hide what they take: each dies by the law named."""

from __future__ import annotations

import attrs
import torch

import robustfw
from robustfw.task import Classification

from .laws import broken_laws


def test_a_model_of_an_unusual_shape_declares_it():
    class Sequences(robustfw.Model):
        shapes = ((5, 11),)

        def build(self, spec):
            if spec.shape[1:] != (11,):
                raise robustfw.UsageError("sequences of 11 steps only")
            layers = torch.nn.Conv1d(spec.shape[0], 4, 3), torch.nn.Flatten(), torch.nn.Linear(36, spec.outputs)
            return torch.nn.Sequential(*layers)

    class Undeclared(Sequences):
        shapes = None

    class OneLogitTooMany(Sequences):
        def build(self, spec):
            return super().build(attrs.evolve(spec, task=Classification()))

    assert not broken_laws(Sequences())
    assert broken_laws(Undeclared()) >= {"logits", "tasks"}
    assert "tasks" in broken_laws(OneLogitTooMany())
