"""Robust linear programs without a solution, without the right arguments, or without a solver."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

import robustfw
from robustfw import RobustfwError, UsageError
from robustfw_linear import (
    Box,
    Budget,
    Ellipsoid,
    InfeasibleError,
    Polytope,
    RobustLP,
    UnboundedError,
)

from .random_programs import instance

SHAPE = np.array([[0.2, 0.1, 0], [0, 0.3, 0.1], [0.1, 0, 0.1]])


@pytest.mark.parametrize("method", ["cutting-set", "reformulation", "online"])
@pytest.mark.parametrize("sets", ["linf:radius=0.2", "l2:radius=0.2", Budget(0.2, 1), Polytope([[0.2], [-0.2]])])
def test_an_infeasible_program_is_an_error(method, sets):
    """0.9x ≤ 1 and x ≥ 1 go together, (0.9 + δ)x ≤ 1 for |δ| ≤ 0.2 does not."""
    program = RobustLP([1], [[0.9]], [1], sets, lower=1, upper=5)
    assert RobustLP([1], [[0.9]], [1], lower=1, upper=5).solve(method).value == pytest.approx(1)
    with pytest.raises(InfeasibleError):
        program.solve(method)


@pytest.mark.parametrize("method", ["cutting-set", "reformulation", "online"])
@pytest.mark.parametrize("sets", ["linf:radius=0.2", "l2:radius=0.2"])
def test_an_unbounded_program_is_an_error(method, sets):
    with pytest.raises(UnboundedError, match="bounds"):
        RobustLP([1, 0], [[1, 0]], [1], sets).solve(method)


@pytest.mark.parametrize("method", ["cutting-set", "reformulation"])
def test_infeasible_is_said_before_unbounded(method):
    """Nominally x₁ → −∞ and x₂ = 1; for |δ| ≤ 0.2, no x₂ ≥ 1 has (0.9 + δ)x₂ ≤ 1."""
    program = RobustLP([1, 0], [[0, 0.9]], [1], Box([0, 0.2]), lower=[-np.inf, 1])
    with pytest.raises(InfeasibleError):
        program.solve(method)


def test_uncertainty_may_bound_what_is_unbounded_without_it():
    """max x over δx ≤ 1: x = 10 for |δ| ≤ 0.1. In two dimensions, a ball of radius 10."""
    for width, sets, known in ((1, "linf:radius=0.1", 10), (2, "l2:radius=0.1", 10 * 2**0.5)):
        program = RobustLP(-np.ones(width), np.zeros((1, width)), [1], sets)
        for method in ("cutting-set", "reformulation"):
            assert program.solve(method).value == pytest.approx(-known, rel=1e-7)
        with pytest.raises(UnboundedError, match="cutting-set"):
            program.solve("online")


def test_many_optima_are_no_more_work():
    """x₃ = −3 on a whole face: corners alone leave a violation of 4e-8 after 1,000 rounds."""
    program = RobustLP([0, 0, 1], np.zeros((4, 3)), [0.75] * 4, Ellipsoid(SHAPE), lower=-3, upper=3)
    found = program.solve()
    assert found.value == pytest.approx(-3, abs=1e-8)
    assert found.violation <= 1e-8
    assert found.solves < 100


def test_too_few_rounds_are_an_error():
    with pytest.raises(RobustfwError, match="allow more rounds"):
        RobustLP(*instance(1), "l2:radius=0.2", lower=-3, upper=3).solve(limit=1)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: RobustLP([1, 1], [[1, 1, 1]], [1]), "shapes do not fit"),
        (lambda: RobustLP([1, 1], [[1, 1]], [1, 1]), "shapes do not fit"),
        (lambda: RobustLP([1, np.nan], [[1, 1]], [1]), "cost must be finite"),
        (lambda: RobustLP([1, 1], [[1, 1]], [1], lower=[0, 0, 0]), "lower must be"),
        (lambda: RobustLP([1, 1], [[1, 1]], [1]).solve("simplex"), "known: reformulation, cutting-set, online"),
        (lambda: RobustLP([1, 1], [[1, 1]], [1]).solve(accuracy=0), "must be positive"),
        (lambda: RobustLP([1, 1], [[1, 1]], [1], ["l2", "l2"]).solve(), "2 sets for 1"),
        (lambda: RobustLP([1, 1], [[1, 1]], [1], "l3").solve(), "l3"),
        (lambda: RobustLP([1], [[1]], [1], robustfw.make("uncertainty", "l2").at(torch.zeros(2, 1))).solve(), "2 rows"),
    ],
)
def test_misuse_is_explained(build, message):
    with pytest.raises(UsageError, match=message):
        build()


def test_cones_without_their_solver_are_explained_and_cuts_need_none(monkeypatch):
    monkeypatch.setitem(sys.modules, "clarabel", None)
    program = RobustLP(*instance(1), "l2:radius=0.2", lower=-3, upper=3)
    with pytest.raises(UsageError, match=r"robustfw\[linear\]"):
        program.solve("reformulation")
    assert program.solve("cutting-set").violation <= 1e-8
