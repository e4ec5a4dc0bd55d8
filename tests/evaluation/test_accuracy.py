"""Evaluation: worst case per example, intervals, and no belief in what an attack says."""

from __future__ import annotations

import attrs
import pytest
import torch
from scipy.stats import binomtest
from torch import nn

import robustfw
from robustfw import Attack, DataError, PluginError, TensorSplit
from robustfw.evaluation import evaluate, wilson
from robustfw.inner.threat import Threat


class OneNumber(nn.Module):
    """Class 0 while the first pixel is above 1/2."""

    def forward(self, x):
        margin = x.flatten(1)[:, 0] - 0.5
        return torch.stack([margin, torch.zeros_like(margin)], 1)


def line(*values):
    """Examples of class 0 with the given first pixel."""
    return TensorSplit(torch.tensor(values).reshape(-1, 1), torch.zeros(len(values)).long())


def measured(split, attacks=("single-step",), spec="linf:radius=0.2", model=None, **more):
    made = [a if isinstance(a, Attack) else robustfw.make("attack", a) for a in attacks]
    threat = Threat(robustfw.make("uncertainty", spec))
    return evaluate(model or OneNumber(), split, threat=threat, attacks=made, **({"classes": 2} | more))


def test_by_hand():
    """Five examples: one wrong from the start, two within reach of the attack, two beyond it."""
    found = measured(line(0.4, 0.55, 0.65, 0.75, 0.95))
    assert (found.n, found.correct, found.robust) == (5, 4, 2)
    assert found.clean_accuracy == 0.8
    assert found.robust_accuracy == 0.4
    assert found.interval == wilson(2, 5)
    assert found.per_class == ((5, 4, 2), (0, 0, 0))


def test_the_fast_method_takes_one_gradient_of_each_correct_example():
    """The one that says whether there is a gradient is the one that the step goes by."""
    found = measured(line(0.4, 0.55, 0.65, 0.75, 0.95))
    assert (found.forward_passes, found.backward_passes) == (4, 4)


def test_nothing_to_evaluate():
    with pytest.raises(DataError, match="not one example to evaluate"):
        measured(line())


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (5, 10), (10, 10), (9418, 10000)])
def test_wilson_equals_scipy(successes, n):
    expected = binomtest(successes, n).proportion_ci(method="wilson")
    assert wilson(successes, n) == pytest.approx((expected.low, expected.high))
    assert wilson(0, 0) == (0, 1)


@attrs.frozen
class Fixed(Attack):
    """Moves the rows whose number is even, or odd."""

    rest: int

    def maximize(self, problem, generator):
        even = (problem.x[:, 0] * 100).round().long() % 2 == self.rest
        return torch.where(even[:, None], problem.region.support(-torch.ones_like(problem.x)), problem.region.zero())


def test_the_worst_case_is_taken_per_example_over_the_attacks():
    """Each attack alone leaves half standing; together they leave none, which best-of-data-set would not show."""
    split = line(0.60, 0.61, 0.62, 0.63)
    assert measured(split, [Fixed(0)]).robust == 2
    assert measured(split, [Fixed(1)]).robust == 2
    assert measured(split, [Fixed(0), Fixed(1)]).robust == 0


def test_an_attack_that_leaves_its_set_is_named():
    class TooFar(Attack):
        def maximize(self, problem, generator):
            return 2 * problem.region.support(-torch.ones_like(problem.x))

    with pytest.raises(PluginError, match=r"TooFar left the uncertainty set: 2 of 2 perturbations, by up to 0.2"):
        measured(line(0.7, 0.8), [TooFar()])


def test_an_attack_that_returns_no_numbers_is_named():
    class Nan(Attack):
        def maximize(self, problem, generator):
            return problem.region.zero() * torch.nan

    with pytest.raises(PluginError, match="Nan left the uncertainty set"):
        measured(line(0.7, 0.8), [Nan()])


def test_examples_without_a_gradient_are_counted():
    class Saturated(OneNumber):
        def forward(self, x):
            return super().forward(x).sign() * 100

    found = measured(line(0.6, 0.7), model=Saturated())
    assert found.zero_gradients == 2
    assert measured(line(0.6, 0.7)).zero_gradients == 0


def test_batches_make_no_difference():
    split = line(*(0.5 + i / 40 for i in range(17)))
    small, whole = (measured(split, ["pgd:random_start=false"], batch_size=size) for size in (3, 100))
    assert small.per_class == whole.per_class


def test_fooled_rows_are_dropped_and_cost_nothing_more():
    near, far = line(*[0.55] * 10), line(*[0.95] * 10)
    attack = ["pgd:steps=50,random_start=false,step=1"]
    assert measured(near, attack).backward_passes < 0.1 * measured(far, attack).backward_passes


def test_dropping_rows_changes_no_verdict():
    """An attack without a criterion, that is without dropping rows, fools the same examples."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Linear(16, 2)).eval()
    x, y = torch.rand(60, 5), torch.randint(0, 2, (60,))
    attack = "pgd:steps=20,random_start=false"
    found = measured(TensorSplit(x, y), [attack], spec="linf:radius=0.1", model=model)
    moved = robustfw.worst_case(model, x, y, uncertainty="linf:radius=0.1", attack=attack)
    standing = (model(moved).argmax(1) == y) & (model(x).argmax(1) == y)
    assert int(standing.sum()) >= found.robust  # what was fooled on the way stays fooled in evaluation
