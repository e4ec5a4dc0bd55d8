"""The benchmark's own arithmetic, on small data; its accuracies are for the benchmark to say."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

import robustfw

sys.path.append(str(Path(__file__).parents[2]))

from benchmarks import few_labels  # found by the line above
from robustfw_manifold import Basis


@pytest.fixture
def problem():
    splits = robustfw.make("dataset", "digits").load(None)
    basis = robustfw.make("basis", "knn-pca:dim=2").fit(splits.train)
    return few_labels.Problem(splits, basis, "mlp:hidden=[8]", updates=2, tested=50, radius=0.1)


def test_labelled_examples_are_drawn_from_the_training_split_by_the_seed(problem):
    first, again, other = (problem.labelled(30, seed).train for seed in (0, 0, 1))
    assert len(first) == 30
    assert torch.equal(first.x, again.x)
    assert not torch.equal(first.x, other.x)
    everything = {image.numpy().tobytes() for image in problem.splits.train.x}
    assert {image.numpy().tobytes() for image in first.x} <= everything


def test_a_remembered_basis_is_the_basis_and_is_computed_once(problem):
    seen = []

    class Counted(Basis):
        def at(self, x):
            seen.append(len(x))
            return problem.basis.at(x)

    x = problem.splits.train.x[:6].float()
    remembered = few_labels.Remembered(Counted())
    for rows in ([0, 1, 2, 3], [3, 1], [5, 0, 4]):
        torch.testing.assert_close(remembered.at(x[rows]), problem.basis.at(x[rows]))
    assert seen == [4, 2]


def test_a_row_of_each_method(problem):
    table = [few_labels.row(problem, method, 20, [0, 1]) for method in few_labels.STRENGTHS]
    for row in table:
        assert row["strength"] in few_labels.STRENGTHS[row["method"]]
        assert 0 <= row["under l2"] <= row["under tangent"] + 0.1 <= row["accuracy"] + 0.2


def test_the_claim_needs_both_methods_at_each_number_of_labels():
    def table(*accuracies):
        pairs = [(count, method) for count in (100, 600) for method in few_labels.STRENGTHS]
        return [
            {"labels": count, "method": method, "accuracy": accuracy}
            for (count, method), accuracy in zip(pairs, accuracies, strict=True)
        ]

    assert few_labels.holds(table(0.5, 0.6, 0.7, 0.8, 0.9, 0.9))
    assert not few_labels.holds(table(0.5, 0.6, 0.7, 0.8, 0.9, 0.8))
    assert not few_labels.holds(table(0.5, 0.4, 0.7, 0.8, 0.9, 0.9))
