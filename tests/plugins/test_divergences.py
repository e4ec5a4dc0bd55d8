"""VAT and TRADES against closed forms on linear nets, and their own definitions."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

import robustfw
from robustfw.testing.batches import given_batch
from robustfw_objectives.divergence import FromPrediction, kl, virtual
from robustfw_objectives.smoothness import Trades, Vat

from .linear_nets import batch_arguments, linear

SEEDS = st.integers(0, 10_000)


def fisher(model, x):
    """Jᵀ (diag p − p pᵀ) J for each row: the Hessian of KL(p(·|x) ‖ p(·|x + r)) in r at r = 0."""
    jacobian = torch.stack([torch.autograd.functional.jacobian(lambda z: model(z[None])[0], row) for row in x])
    jacobian = jacobian.flatten(2)
    p = model(x).softmax(1).detach()
    covariance = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    return jacobian.transpose(1, 2) @ covariance @ jacobian


@given(seed=SEEDS)
def test_the_virtual_direction_is_the_dominant_eigenvector_of_the_fisher_information(seed):
    """On a linear net, where it has a closed form: that of Wᵀ(diag p − p pᵀ)W."""
    model, x, _ = linear(seed)
    torch.manual_seed(seed)
    values, vectors = torch.linalg.eigh(fisher(model, x).detach())
    _, moved = virtual(model, x, torch.randn_like(x), epsilon=1.0, xi=1e-5, iterations=200)
    direction = moved - x
    torch.testing.assert_close(direction.norm(dim=1), torch.ones(5, dtype=torch.float64))
    reached = ((vectors.transpose(1, 2) @ direction[:, :, None]).square()[:, :, 0] * values).sum(1)
    assert bool((reached >= 0.99 * values[:, -1]).all())


def test_one_class_against_another_gives_the_difference_of_their_weights():
    """Logistic regression: the Fisher information has rank one, and one iteration is exact."""
    model, x, _ = linear(classes=2)
    _, moved = virtual(model, x, torch.randn_like(x), epsilon=0.3, xi=1e-4, iterations=1)
    normal = model.weight[1] - model.weight[0]
    cosine = functional.cosine_similarity(moved - x, normal.detach()[None]).abs()
    torch.testing.assert_close(cosine, torch.ones(5, dtype=torch.float64), atol=1e-9, rtol=0)


def test_vat_is_half_of_epsilon_squared_times_the_largest_eigenvalue_to_second_order():
    model, x, y = linear(classes=2)
    found = Vat(beta=2.0, epsilon=1e-2, xi=1e-4, iterations=2).penalty(*batch_arguments(model, x, y))
    expected = 2 * 0.5 * 1e-4 * torch.linalg.eigvalsh(fisher(model, x).detach())[:, -1]
    torch.testing.assert_close(found.detach(), expected, rtol=1e-2, atol=0)


def test_vat_learns_at_the_far_end_only():
    """The prediction at x is a target, held fixed; so is the direction."""
    model, x, y = linear(rows=1)
    found = Vat(epsilon=0.5).penalty(*batch_arguments(model, x, y))
    target, moved = virtual(model, x, given_batch(model, x, y).normal_like(x), 0.5, 0.01, 1)
    p, logits = target.softmax(1).detach(), model(moved.detach())
    expected = (p * (p.log() - logits.log_softmax(1))).sum(1)
    slopes = [torch.autograd.grad(value.sum(), list(model.parameters())) for value in (found, expected)]
    torch.testing.assert_close(*slopes)
    torch.testing.assert_close(found, expected)


def test_vat_uses_no_label():
    model, x, y = linear()
    first = Vat().penalty(*batch_arguments(model, x, y))
    assert torch.equal(first, Vat().penalty(*batch_arguments(model, x, torch.full_like(y, -1))))


def test_where_the_prediction_is_certain_the_virtual_direction_is_still_a_unit_vector():
    model, x, _ = linear()
    with torch.no_grad():
        model.weight.mul_(1e6)
    _, moved = virtual(model, x, torch.randn_like(x), epsilon=1.0, xi=1e-2, iterations=3)
    torch.testing.assert_close((moved - x).norm(dim=1), torch.ones(5, dtype=torch.float64))


def test_trades_is_its_definition_and_learns_at_both_ends():
    model, x, y = linear()
    moved = x + 0.2
    p, q = model(x).softmax(1), model(moved).softmax(1)
    expected = functional.cross_entropy(model(x), y, reduction="none") + 3 * (p * (p / q).log()).sum(1)
    found = Trades(beta=3.0)(model, x, y, given_batch(model, x, y, moved))
    torch.testing.assert_close(found, expected)
    slopes = [torch.autograd.grad(value.sum(), model.weight)[0] for value in (found, expected)]
    torch.testing.assert_close(*slopes)


def test_trades_without_its_divergence_is_clean():
    model, x, y = linear()
    clean = robustfw.make("objective", "clean")(*batch_arguments(model, x, y))
    assert torch.equal(Trades(beta=0.0)(model, x, y, given_batch(model, x, y, x + 1)), clean)


@pytest.mark.parametrize("attack", ["single-step", "pgd:random_start=false", "frank-wolfe"])
def test_the_attack_of_trades_finds_a_divergence_although_its_gradient_at_x_is_zero(attack):
    """A single step from x gains most of what many steps from many starts gain."""
    model, x, y = linear(rows=40)

    def gain(attack, loss):
        uncertainty = "l2:radius=0.2"
        worst = robustfw.worst_case(model, x, y, uncertainty=uncertainty, attack=attack, bounds=None, loss=loss)
        return kl(model(x), model(worst)).mean().detach()

    torch.manual_seed(0)
    best = gain("restarts:n=5,attack=(pgd:steps=30)", FromPrediction(model(x).detach()))
    assert float(gain(attack, FromPrediction.near(model, model, x, torch.randn_like(x)))) > 0.5 * float(best)


def test_the_divergence_itself_has_no_gradient_at_x():
    model, x, y = linear()
    x.requires_grad_()
    for loss, vanishes in (
        (FromPrediction(model(x).detach()), True),
        (FromPrediction.near(model, model, x, torch.randn_like(x)), False),
    ):
        (gradient,) = torch.autograd.grad(loss(model(x), y).sum(), x)
        assert bool((gradient.abs().amax(1) < 1e-12).all()) == vanishes


@given(seed=SEEDS, scale=st.floats(0, 1e4))
def test_the_divergence_is_that_of_the_definition_and_never_negative(seed, scale):
    torch.manual_seed(seed)
    logits, others = scale * torch.randn(2, 6, 4, dtype=torch.float64)
    found = kl(logits, others)
    expected = functional.kl_div(others.log_softmax(1), logits.log_softmax(1), reduction="none", log_target=True)
    torch.testing.assert_close(found, expected.sum(1))
    assert float(found.min()) >= -1e-9 * (1 + scale)
    assert torch.equal(kl(logits, logits), torch.zeros(6, dtype=torch.float64))
