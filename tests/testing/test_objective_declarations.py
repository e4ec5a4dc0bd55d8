"""Objectives that remember, couple rows or attack: they say so, or die by the law named."""

from __future__ import annotations

import pytest
import torch

from robustfw import Objective
from robustfw.stateful import Stateful

from .laws import broken_laws
from .objective_frames import Wrong, input_gradient, loss


class Groups(Objective, Stateful):
    """Weights of two groups, by how bad each was in the batches before; what is saved of them can be cut short."""

    couples_rows = True
    attacks = False

    def __init__(self, kept=("weights",)):
        self.weights, self.kept = torch.ones(2), kept

    def __call__(self, model, x, y, batch):
        values, group = batch.loss(model(x)), batch.meta["index"] % 2
        means = [values.detach()[group == each].mean() for each in (0, 1)]
        self.weights = self.weights * torch.stack(means).clamp(max=10).exp()
        return values * self.weights[group]

    def state_dict(self):
        return dict.fromkeys(self.kept, self.weights)

    def load_state_dict(self, state):
        self.weights = state.get("weights", self.weights)


class FirstSize(Wrong):
    """Keeps a buffer of the first batch's size."""

    def __init__(self):
        self.buffer = None

    def __call__(self, model, x, y, batch):
        self.buffer = torch.zeros(len(x)) if self.buffer is None else self.buffer
        return loss(model, x, y) + self.buffer


class Attacks(Objective):
    """The loss at worst cases, of its own making or not, counted or not."""

    def __init__(self, *, own, counts, says):
        self.own, self.counts, self.says = own, counts, says

    @property
    def attacks(self):
        return self.says

    def __call__(self, model, x, y, batch):
        if not self.own:
            return batch.loss(model(batch()))
        direction = input_gradient(model, x, y).detach().sign().reshape(x.shape)
        if self.counts:
            batch.count(forward=len(x), backward=len(x))
        return batch.loss(model((x + 0.05 * direction).clamp(0, 1)))


def test_what_remembers_and_says_so_breaks_no_law():
    assert not broken_laws(Groups())


def test_a_state_that_is_not_saved_whole_dies():
    assert broken_laws(Groups(kept=())) == {"several batches"}


def test_a_state_that_json_cannot_hold_dies():
    class Unsaveable(Groups):
        def state_dict(self):
            return {"weights": self.weights, "seen": {1, 2}}

    assert broken_laws(Unsaveable()) == {"several batches"}


def test_what_couples_rows_without_saying_so_dies():
    class Undeclared(Groups):
        couples_rows = False

    assert "rows are independent" in broken_laws(Undeclared())


def test_a_buffer_of_the_first_batch_dies():
    assert {"form", "several batches"} & broken_laws(FirstSize())


@pytest.mark.parametrize(
    ("own", "counts", "says", "dies"),
    [
        (False, False, True, False),
        (True, True, True, False),
        (True, False, True, True),
        (False, False, False, True),
    ],
)
def test_whether_it_attacks_is_what_it_says_and_counts(own, counts, says, dies):
    assert broken_laws(Attacks(own=own, counts=counts, says=says)) == ({"passes are counted"} if dies else set())
