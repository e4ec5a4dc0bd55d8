"""Auto-PGD: its checkpoints, its steps on functions whose answer is known, and its strength beside pgd."""

from __future__ import annotations

import pytest
import torch

import robustfw
from robustfw import UsageError, losses
from robustfw.inner.freezing import freeze
from robustfw.inner.problem import InnerProblem
from robustfw_attacks.apgd import checkpoints

from .maximizing import maximize


def problem(function, x, spec="linf:radius=0.2"):
    return InnerProblem.from_function(function, x, robustfw.make("uncertainty", spec).at(x))


X = torch.full((4, 3), 0.5, dtype=torch.float64)


def test_checkpoints_are_those_of_the_paper():
    """For 100 steps: p = 0, 0.22, 0.41, 0.57, 0.70, 0.80, 0.87, 0.93, 0.99 (Croce & Hein 2020, section 3.1)."""
    assert [at for at, _ in checkpoints(100)] == [22, 41, 57, 70, 80, 87, 93, 99]
    assert [new for _, new in checkpoints(100)] == [22, 19, 16, 13, 10, 7, 6, 6]
    for steps in (1, 2, 5, 13):
        found = checkpoints(steps)
        assert sum(new for _, new in found) == found[-1][0] <= steps
        assert all(new > 0 for _, new in found)


@pytest.mark.parametrize("spec", ["linf:radius=0.2", "l2:radius=0.3", "l1:radius=0.4"])
def test_a_linear_function_gives_all_that_it_has(spec):
    w = torch.tensor([3.0, -2.0, 0.5], dtype=torch.float64)
    p = problem(lambda moved: moved @ w, X, spec)
    best = (p.region.support(w.expand(4, 3)) @ w)[0]
    assert ((maximize("apgd:steps=20", p) @ w) > 0.999 * best).all()


@pytest.mark.parametrize("spec", ["linf:radius=0.2", "l2:radius=0.3"])
def test_steps_of_each_row_shrink_until_it_sits_on_its_own_hill(spec):
    """Rows whose hills have tops at other places, one of them beyond the set: each has its own step length."""
    tops = torch.tensor([[0.0, 0.0, 0.0], [0.05, -0.1, 0.0], [0.1, 0.1, 0.1], [0.5, 0.0, 0.0]], dtype=torch.float64)
    p = problem(lambda moved: -(moved - 0.5 - tops[: len(moved)]).square().sum(1), X, spec)
    torch.testing.assert_close(maximize("apgd:steps=100", p), p.region.project(tops), atol=5e-3, rtol=0)


def test_rows_do_not_wait_for_each_other():
    """The steps of rows that are alone are those that they have in company, whoever shortens theirs."""
    generator = torch.Generator().manual_seed(3)
    tops = 0.2 * torch.randn(6, 3, generator=generator, dtype=torch.float64)

    def hills(rows):
        return lambda moved: -(moved - 0.5 - tops[rows]).square().sum(1) + 0.01 * torch.cos(60 * moved).sum(1)

    x = torch.full((6, 3), 0.5, dtype=torch.float64)
    whole = maximize("apgd:steps=40,random_start=false", problem(hills(slice(None)), x))
    for i in range(6):
        alone = maximize("apgd:steps=40,random_start=false", problem(hills([i]), x[:1]))
        torch.testing.assert_close(whole[i : i + 1], alone, atol=1e-12, rtol=0)


def test_it_costs_what_pgd_of_as_many_steps_costs():
    p = problem(lambda moved: moved.sum(1), X)
    maximize("apgd:steps=7", p)
    assert (p.passes.forward, p.passes.backward) == (4 * 8, 4 * 7)


def test_it_goes_on_from_where_another_attack_has_come():
    tops = X + 0.15
    p = problem(lambda moved: -(moved - tops).square().sum(1), X)
    once = InnerProblem(p.forward, p.loss, p.x, p.y, p.region, start=torch.full_like(X, 0.15))
    assert (p.value(maximize("apgd:steps=1", once)) == 0).all()


def test_it_is_as_strong_as_pgd_of_the_same_cost_on_digits():
    """Per example over three seeds, at a radius where about half of the images stand."""
    for record in robustfw.train(dataset="digits", model="mlp:hidden=[64]", epochs=6, uncertainty="linf:radius=0.05"):
        net = record.model.eval()
    x, y = next(iter(robustfw.make("dataset", "digits").load("").test.iterate(200)))[:2]
    for spec in ("linf:radius=0.1", "l2:radius=0.5"):
        region = robustfw.make("uncertainty", spec).at(x).clip(0 - x, 1 - x)
        with freeze(net):
            p = InnerProblem(net, losses.cross_entropy, x, y, region, losses.misclassified)
            left = {
                attack: min(int((~p.value(maximize(attack, p, seed)).isposinf()).sum()) for seed in range(3))
                for attack in ("apgd:steps=30", "pgd:steps=30", "single-step")
            }
        assert 20 < left["pgd:steps=30"] < 190
        assert left["apgd:steps=30"] <= left["pgd:steps=30"] + 1
        assert left["apgd:steps=30"] <= left["single-step"]


@pytest.mark.parametrize("spec", ["apgd:steps=0", "apgd:rho=0", "apgd:rho=1.5"])
def test_wrong_options_are_refused(spec):
    with pytest.raises(UsageError):
        robustfw.make("attack", spec)
