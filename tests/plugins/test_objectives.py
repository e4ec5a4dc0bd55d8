"""Objectives against closed forms on linear nets, explicit matrices, and their own definitions."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

import robustfw
from robustfw import DataError, UsageError
from robustfw.testing.batches import given_batch
from robustfw_kernels.convolution import InputConv2d
from robustfw_objectives.divergence import FromPrediction, kl, virtual
from robustfw_objectives.jacobians import Contractive, InputGradient, OperatorNorm
from robustfw_objectives.random_inputs import Dropout, Noise
from robustfw_objectives.smoothness import Trades, Vat
from robustfw_objectives.spectral import operator_norm

SEEDS = st.integers(0, 10_000)


def asked(model, x, y):
    """The arguments of an objective that asks for no worst case."""
    return model, x, y, given_batch(model, x, y)


def linear(seed=0, features=6, classes=4, rows=5):
    """Logits W x + b in float64, with a batch of flat examples."""
    torch.manual_seed(seed)
    model = nn.Linear(features, classes).double()
    return model, torch.rand(rows, features, dtype=torch.float64), torch.arange(rows) % classes


def small_net(seed=0):
    torch.manual_seed(seed)
    layers = nn.Conv2d(1, 3, 3, stride=2, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(12, 5), nn.Tanh()
    return nn.Sequential(*layers, nn.Linear(5, 3)).double(), torch.rand(4, 1, 4, 4, dtype=torch.float64)


def fisher(model, x):
    """Jᵀ (diag p − p pᵀ) J for each row: the Hessian of KL(p(·|x) ‖ p(·|x + r)) in r at r = 0."""
    jacobian = torch.stack([torch.autograd.functional.jacobian(lambda z: model(z[None])[0], row) for row in x])
    jacobian = jacobian.flatten(2)
    p = model(x).softmax(1).detach()
    covariance = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    return jacobian.transpose(1, 2) @ covariance @ jacobian


# Penalties on gradients and Jacobians


@given(seed=SEEDS)
def test_the_input_gradient_of_a_linear_net_is_its_closed_form(seed):
    """∇ₓJ = Wᵀ(p − e_y)."""
    model, x, y = linear(seed)
    expected = (model(x).softmax(1) - functional.one_hot(y, 4)) @ model.weight
    found = InputGradient(beta=0.5).penalty(*asked(model, x, y))
    torch.testing.assert_close(found, 0.5 * expected.square().sum(1))


def test_the_gradient_of_the_input_gradient_is_that_of_its_closed_form():
    model, x, y = linear()
    form = ((model(x).softmax(1) - functional.one_hot(y, 4)) @ model.weight).square().sum()
    expected = torch.autograd.grad(form, list(model.parameters()))
    found = torch.autograd.grad(InputGradient().penalty(*asked(model, x, y)).sum(), list(model.parameters()))
    torch.testing.assert_close(found, expected)


def test_the_input_gradient_is_the_first_order_of_an_l2_ball():
    """max over ‖δ‖₂ ≤ r of J is J + r‖∇ₓJ‖₂ + O(r²), where the maximum is found by the attack."""
    model, x, y = linear()
    radius = 1e-4
    worst = robustfw.worst_case(model, x, y, uncertainty=f"l2:radius={radius}", attack="pgd", bounds=None)
    loss, at_worst = (functional.cross_entropy(model(z), y, reduction="none") for z in (x, worst))
    slope = InputGradient().penalty(*asked(model, x, y)).sqrt()
    torch.testing.assert_close((at_worst - loss) / radius, slope, rtol=1e-3, atol=0)


@given(seed=SEEDS)
def test_the_contractive_penalty_of_a_linear_net_is_its_squared_frobenius_norm(seed):
    model, x, y = linear(seed)
    exact = Contractive(beta=2.0, probes=4).penalty(*asked(model, x, y))
    torch.testing.assert_close(exact, 2 * model.weight.square().sum().expand(5))


def test_a_random_probe_is_unbiased():
    """The mean of 20,000 estimates is within five standard errors of ‖W‖_F²."""
    model, x, y = linear(rows=1)
    torch.manual_seed(1)
    many = x.expand(20_000, -1)
    found = Contractive(beta=1.0, probes=2).penalty(*asked(model, many, y.expand(20_000))).detach()
    error = float(found.std()) / math.sqrt(20_000)
    assert error > 0
    assert abs(float(found.mean() - model.weight.detach().square().sum())) < 5 * error


def test_the_contractive_penalty_is_the_sum_over_layers():
    """Against the full Jacobians of each layer with what follows it."""
    model, x = small_net()
    stages, h, expected = [model[:3], model[3:5], model[5:]], x, torch.zeros(4, dtype=torch.float64)
    for stage in stages:
        rows = [torch.autograd.functional.jacobian(lambda z, f=stage: f(z[None])[0], row) for row in h]
        expected += torch.stack(rows).flatten(1).square().sum(1)
        h = stage(h).detach()
    found = Contractive(beta=1.0, probes=12).penalty(*asked(model, x, torch.zeros(4).long()))
    torch.testing.assert_close(found, expected)


def test_branches_from_one_place_count_no_identity():
    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.other, self.head = nn.Linear(4, 3), nn.Linear(4, 3), nn.Linear(3, 2)

        def forward(self, x):
            return self.head(self.one(x) + self.other(x))

    torch.manual_seed(0)
    model, x = Branches(), torch.rand(3, 4)
    found = Contractive(beta=1.0, probes=3).penalty(*asked(model, x, torch.zeros(3).long()))
    expected = (model.one.weight + model.other.weight).square().sum() + model.head.weight.square().sum()
    torch.testing.assert_close(found, expected.expand(3))


LAYERS = {
    "linear": (nn.Linear(30, 20), (30,)),
    "padded": (nn.Conv2d(3, 6, 3, padding=1), (3, 7, 7)),
    "strided": (nn.Conv2d(3, 6, 3, stride=2, padding=1), (3, 8, 9)),
    "dilated in groups": (nn.Conv2d(4, 6, 3, dilation=2, groups=2), (4, 8, 8)),
    "circular": (nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), (2, 6, 6)),
    "first of a net": (InputConv2d(1, 4, 5, padding=2), (1, 8, 8)),
    "transposed": (nn.ConvTranspose2d(3, 2, 4, stride=2), (3, 4, 4)),
    "sequence": (nn.Conv1d(3, 5, 4, stride=3), (3, 17)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_operator_norms_are_the_largest_singular_values_of_explicit_matrices(name):
    """To 1e-4 in float32, with the derivative u vᵀ of the singular value."""
    layer, shape = copy.deepcopy(LAYERS[name])
    torch.manual_seed(3)
    layer.reset_parameters()
    size = math.prod(shape)
    without_bias = copy.deepcopy(layer).double()
    with torch.no_grad():
        without_bias.bias.zero_()
    matrix = without_bias(torch.eye(size, dtype=torch.float64).reshape(size, *shape)).flatten(1)
    expected = torch.linalg.matrix_norm(matrix, 2)
    found = operator_norm(layer, torch.zeros(1, *shape), 20)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=0)
    (slope,) = torch.autograd.grad(found, layer.weight)
    (exact,) = torch.autograd.grad(expected, without_bias.weight)
    assert float(functional.cosine_similarity(slope.double().flatten(), exact.flatten(), dim=0)) > 0.99


@given(seed=SEEDS, rank=st.integers(0, 3))
def test_operator_norms_of_matrices_of_any_rank(seed, rank):
    """Where the Krylov space ends early, and for W = 0."""
    torch.manual_seed(seed)
    layer = nn.Linear(5, 4).double()
    with torch.no_grad():
        layer.weight.copy_(torch.randn(4, rank, dtype=torch.float64) @ torch.randn(rank, 5, dtype=torch.float64))
    found = operator_norm(layer, torch.zeros(1, 5, dtype=torch.float64), 20)
    torch.testing.assert_close(found, torch.linalg.matrix_norm(layer.weight, 2), atol=1e-12, rtol=1e-9)


def test_the_operator_norm_penalty_is_the_sum_over_layers_and_the_same_each_time():
    model, x = small_net()
    penalty = OperatorNorm(beta=0.5, iterations=30)
    first, second = (penalty.penalty(*asked(model, x, torch.zeros(4).long())) for _ in range(2))
    assert torch.equal(first, second)
    sizes = [(model[0], (1, 1, 4, 4)), (model[3], (1, 12)), (model[5], (1, 5))]
    expected = sum(operator_norm(layer, torch.zeros(size, dtype=torch.float64), 50) for layer, size in sizes)
    torch.testing.assert_close(first, (0.5 * expected).expand(4))


def test_the_operator_norm_needs_layers():
    with pytest.raises(UsageError, match="no linear or convolutional layer"):
        OperatorNorm().penalty(*asked(nn.Flatten(), torch.rand(2, 3), torch.zeros(2).long()))


# Divergences


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
    found = Vat(beta=2.0, epsilon=1e-2, xi=1e-4, iterations=2).penalty(*asked(model, x, y))
    expected = 2 * 0.5 * 1e-4 * torch.linalg.eigvalsh(fisher(model, x).detach())[:, -1]
    torch.testing.assert_close(found.detach(), expected, rtol=1e-2, atol=0)


def test_vat_learns_at_the_far_end_only():
    """The prediction at x is a target, held fixed; so is the direction."""
    model, x, y = linear(rows=1)
    found = Vat(epsilon=0.5).penalty(*asked(model, x, y))
    target, moved = virtual(model, x, given_batch(model, x, y).normal_like(x), 0.5, 0.01, 1)
    p, logits = target.softmax(1).detach(), model(moved.detach())
    expected = (p * (p.log() - logits.log_softmax(1))).sum(1)
    slopes = [torch.autograd.grad(value.sum(), list(model.parameters())) for value in (found, expected)]
    torch.testing.assert_close(*slopes)
    torch.testing.assert_close(found, expected)


def test_vat_uses_no_label():
    model, x, y = linear()
    first = Vat().penalty(*asked(model, x, y))
    assert torch.equal(first, Vat().penalty(*asked(model, x, torch.full_like(y, -1))))


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
    clean = robustfw.make("objective", "clean")(*asked(model, x, y))
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


# Random inputs


@pytest.mark.parametrize(("kind", "deviation"), [("gaussian", 0.1), ("uniform", 0.1 / math.sqrt(3))])
def test_noise_has_the_distribution_it_says(kind, deviation):
    grey = torch.full((200_000, 1), 0.5)
    noise = (
        Noise(scale=0.1, kind=kind, bounds=None).add_noise(grey, given_batch(None, grey, torch.zeros(1).long())) - 0.5
    )
    assert float(noise.std()) == pytest.approx(deviation, rel=0.02)
    assert float(noise.mean()) == pytest.approx(0, abs=1e-3)
    assert kind == "gaussian" or float(noise.abs().max()) <= 0.1


def test_noise_keeps_the_range_and_does_not_move_what_is_outside_it_already():
    x = torch.tensor([[0.0, 0.5, 1.0]]).repeat(500, 1)
    batch = given_batch(None, x, torch.zeros(500).long())
    noisy = Noise(scale=0.5).add_noise(x, batch)
    assert float(noisy.min()) == 0
    assert float(noisy.max()) == 1
    with pytest.raises(DataError, match="its option bounds"):
        Noise(bounds=(0.0, 0.9)).add_noise(x, batch)


def test_dropout_keeps_the_mean_and_rate_zero_is_clean():
    model, x, y = linear()
    clean = robustfw.make("objective", "clean")(*asked(model, x, y))
    assert torch.equal(Dropout(rate=0.0)(*asked(model, x, y)), clean)
    seen = []
    torch.manual_seed(0)
    Dropout(rate=0.25)(*asked(lambda z: seen.append(z) or z, torch.ones(1, 100_000), torch.tensor([0])))
    assert seen[0].unique().tolist() == pytest.approx([0, 4 / 3])
    assert float(seen[0].mean()) == pytest.approx(1, abs=0.01)


def test_options_are_checked():
    for spec in (
        "noise:scale=-1",
        "noise:bounds=[1,0]",
        "noise:kind=pink",
        "dropout:rate=1",
        "vat:xi=0",
        "trades:beta=-1",
    ):
        with pytest.raises(UsageError):
            robustfw.make("objective", spec)


# All of them


NAMES = ["trades", "noise", "dropout", "vat", "contractive", "operator-norm", "input-gradient"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_empty_batch_has_no_losses(name, dtype):
    model = nn.Linear(6, 4).to(dtype)
    x, y = torch.rand(0, 6, dtype=dtype), torch.zeros(0).long()
    found = robustfw.make("objective", name)(model, x, y, given_batch(model, x, y, x))
    assert found.shape == (0,)
    assert found.dtype == dtype


@pytest.mark.parametrize("name", NAMES)
def test_each_trains_by_its_name(name):
    """Two epochs on digits: far better than chance."""
    options = {"model": "mlp:hidden=[32]", "uncertainty": "linf:radius=0.03", "attack": "pgd:steps=2"}
    *_, last = robustfw.train(**options, objective=name, epochs=2, batch_size=32, validation_examples=100)
    assert last.clean_accuracy > 0.6
    assert math.isfinite(last.loss)


@pytest.mark.parametrize("name", ["vat", "contractive", "operator-norm", "input-gradient", "trades"])
def test_each_trains_a_convolutional_net_in_bf16_with_batch_norm(name):
    """Double backward through a net that is in evaluation mode while autocast is off."""
    options = {"model": "resnet18-cifar:width=2", "attack": "single-step", "uncertainty": "l2:radius=0.1"}
    records = robustfw.train(
        **options, objective=name, epochs=1, batch_size=610, precision="bf16", validation_examples=10
    )
    assert math.isfinite(list(records)[-1].loss)


def test_a_smaller_penalty_is_what_training_with_it_gives():
    """The same net, steps and seed, with and without: each penalty falls below what it is without."""
    splits = robustfw.make("dataset", "digits").load(None)
    x, y = next(splits.validation.iterate(100))
    options = {"model": "mlp:hidden=[32]", "epochs": 3, "batch_size": 32, "validation_examples": 10}
    *_, clean = robustfw.train(**options, objective="clean")
    for spec in ("vat:beta=3", "contractive:beta=0.1", "operator-norm:beta=0.3", "input-gradient:beta=3"):
        *_, last = robustfw.train(**options, objective=spec)
        penalty, values = robustfw.make("objective", spec), []
        for net in (clean.model, last.model):
            values.append(penalty.penalty(*asked(net, x, y)).mean().item())
        assert values[1] < 0.8 * values[0], spec


def test_unlabelled_examples_teach_vat():
    """Two moons, six labels: cross-entropy does not find the gap between them; with the unlabelled ones it is found."""
    options = {"dataset": "few-labels:dataset=(two-moons:noise=0.05),labels=6", "model": "mlp:hidden=[64,64]"}
    engine = {"epochs": 60, "batch_size": 64, "optimizer": "adamw", "learning_rate": 0.01, "attack": "single-step"}
    found = []
    for objective in ("clean", "vat:epsilon=0.1,iterations=2"):
        *_, last = robustfw.train(**options, **engine, objective=objective)
        found.append(last.clean_accuracy)
    assert found[0] < 0.9
    assert found[1] > 0.97
