"""The set of tables: features that may not move, steps and categories, by hand."""

from __future__ import annotations

import pytest
import torch

import robustfw
from robustfw import UsageError
from robustfw.uncertainty import ScaledSet

from ..perturbations import at

TABLE = "tabular:radius=[0.5,2.5,1,0,0,0],immutable=[2],integer=[1],one_hot=[[3,4,5]]"


def rows():
    return torch.tensor([[0.2, 3.0, 7.0, 0.0, 1.0, 0.0], [0.9, 0.0, 1.0, 1.0, 0.0, 0.0]], dtype=torch.float64)


def test_features_move_as_they_may():
    x = rows()
    g = torch.tensor([[1.0, -1.0, 9.0, 0.1, 0.2, 0.5], [-1.0, 1.0, 9.0, 0.1, 0.2, -0.5]], dtype=torch.float64)
    moved = x + at(TABLE, x).support(g)
    expected = torch.tensor([[0.7, 1.0, 7.0, 0, 0, 1.0], [0.4, 2.0, 1.0, 0, 1.0, 0]], dtype=torch.float64)
    torch.testing.assert_close(moved, expected)


def test_a_range_leaves_whole_steps_and_categories():
    x = rows()
    moved = x + at(TABLE, x).clip(0 - x, 3 - x).support(torch.ones_like(x))
    assert moved[:, 1].tolist() == [3.0, 2.0]
    assert moved[:, 3:].sum(1).tolist() == [1.0, 1.0]


def test_a_smaller_table_has_smaller_steps_and_no_other_category():
    x = rows()
    half = robustfw.make("uncertainty", TABLE).scale(0.5).at(x)
    delta = half.support(torch.ones_like(x))
    assert delta[:, 0].tolist() == [0.25, 0.25]
    assert delta[:, 1].tolist() == [1.0, 1.0]
    assert float(delta[:, 3:].abs().max()) == 0


def test_projection_rounds_to_the_nearest_step_and_category():
    x = rows()
    point = torch.tensor([[0.1, 1.4, 1.0, 0.6, -0.6, 0.0], [9.0, -0.6, 0.0, -0.4, 0.3, 0.0]], dtype=torch.float64)
    found = at(TABLE, x).project(point)
    expected = torch.tensor([[0.1, 1.0, 0, 1.0, -1.0, 0], [0.5, -1.0, 0, 0, 0, 0]], dtype=torch.float64)
    torch.testing.assert_close(found, expected)


def test_features_that_contradict_each_other_are_refused():
    with pytest.raises(UsageError, match="a one-hot group is in no other group"):
        robustfw.make("uncertainty", "tabular:integer=[1],one_hot=[[1,2]]")
    with pytest.raises(UsageError, match="names feature 9, but examples have 6"):
        at("tabular:immutable=[9]", rows())
    with pytest.raises(UsageError, match="2 radii do not fit 6 features"):
        at("tabular:radius=[1,2]", rows())


def test_a_scaled_set_asks_the_set():
    x = rows()
    direct = ScaledSet(robustfw.make("uncertainty", TABLE), 0.5).at(x).support(torch.ones_like(x))
    asked = robustfw.make("uncertainty", TABLE).scale(0.5).at(x).support(torch.ones_like(x))
    assert torch.equal(direct, asked)
