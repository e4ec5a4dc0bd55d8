"""Tangent spaces: their bases, the set (eqs. 12-13), the penalty (eq. 4), and how the two are related."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar

import attrs
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from scipy.optimize import linprog, minimize
from torch import nn

import robustfw
from robustfw import TensorSplit, UsageError, losses, make, report, results
from robustfw.inner import within_range
from robustfw.regions import inner_products, norms, per_row
from robustfw.testing import check, findings
from robustfw_manifold import Basis, Cae, Decoder, GivenDecoder, KnnPca, Tangent, TangentProp, Transform
from robustfw_manifold.autoencoder import Plan, cached, trained
from robustfw_manifold.command import drawn
from robustfw_manifold.command import tangents as tangents_command
from robustfw_manifold.linear import leading, orthonormal
from robustfw_manifold.region import TangentBall
from robustfw_manifold.transforms import tangents


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


@pytest.fixture(scope="module")
def digits():
    return robustfw.make("dataset", "digits").load(None)


def examples(split, count):
    return next(split.first(count).in_order(count))


def ball(rows=20, directions=4, dimension=9, radius=1.5, seed=0):
    """A ball in a random subspace of each row, and points of its space."""
    basis = orthonormal(normal(rows, directions, dimension, seed=seed))
    return TangentBall.of(normal(rows, dimension, seed=seed + 1), basis, radius)


# Linear algebra


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_become_orthonormal_and_span_the_same_space(dtype):
    vectors = normal(30, 5, 40).to(dtype)
    vectors[:, 3] = 1e-5 * vectors[:, 3]  # short, but a direction of its own
    rows = orthonormal(vectors)
    eye = torch.eye(5, dtype=dtype).expand(30, 5, 5)
    torch.testing.assert_close(rows @ rows.mT, eye)
    torch.testing.assert_close(vectors @ rows.mT @ rows, vectors)


def test_directions_that_are_not_there_are_dropped():
    vectors = normal(3, 4, 10)
    vectors[0, 2] = 2 * vectors[0, 0] - vectors[0, 1]
    vectors[1] = 0
    rows = orthonormal(vectors)
    assert (norms(rows.flatten(0, 1)) > 0.5).reshape(3, 4).sum(1).tolist() == [3, 0, 4]
    torch.testing.assert_close(vectors @ rows.mT @ rows, vectors)


def test_leading_rows_are_the_right_singular_vectors_in_their_order():
    matrix = normal(8, 6, 12)
    _, _, expected = torch.linalg.svd(matrix, full_matrices=False)
    found = leading(matrix, 3)
    torch.testing.assert_close((found @ expected[:, :3].mT).abs(), torch.eye(3, dtype=torch.float64).expand(8, 3, 3))


def test_nearly_dependent_rows_stay_orthonormal():
    vectors = normal(10, 3, 50)
    vectors[:, 1] = vectors[:, 0] + 1e-3 * vectors[:, 1]
    rows = orthonormal(vectors)
    torch.testing.assert_close(rows @ rows.mT, torch.eye(3, dtype=torch.float64).expand(10, 3, 3), atol=1e-12, rtol=0)


# The region


def test_the_projector_is_that_of_least_squares_idempotent_and_self_adjoint():
    region, z, w = ball(), normal(20, 9, seed=5), normal(20, 9, seed=6)
    for basis, point, found in zip(region.basis.numpy(), z.numpy(), region.tangential(z).numpy(), strict=True):
        np.testing.assert_allclose(found, basis.T @ np.linalg.lstsq(basis.T, point, rcond=None)[0], atol=1e-12)
    torch.testing.assert_close(region.tangential(region.tangential(z)), region.tangential(z))
    torch.testing.assert_close(inner_products(region.tangential(z), w), inner_products(z, region.tangential(w)))


def test_the_support_is_the_radius_times_the_unit_vector_of_the_projected_gradient():
    region, g = ball(), normal(20, 9, seed=5)
    pulled = region.tangential(g)
    torch.testing.assert_close(region.support(g), 1.5 * pulled / per_row(norms(pulled), g))
    torch.testing.assert_close(inner_products(g, region.support(g)), 1.5 * norms(pulled))


def test_inside_on_the_border_and_outside_by_hand():
    """The plane of the first two of three coordinates, radius 5."""
    region = TangentBall.of(torch.zeros(4, 3), torch.eye(3)[:2].expand(4, 2, 3), 5.0)
    points = torch.tensor([[1.0, 2, 0], [3, 4, 0], [6, 8, 7], [0, 0, 2]])
    torch.testing.assert_close(region.project(points), torch.tensor([[1.0, 2, 0], [3, 4, 0], [3, 4, 0], [0, 0, 0]]))
    torch.testing.assert_close(region.violation(points), torch.tensor([0.0, 0, 149**0.5 - 5, 2]))
    torch.testing.assert_close(region.support(points)[2:], torch.tensor([[3.0, 4, 0], [0, 0, 0]]))


def test_a_gradient_that_is_normal_to_the_tangents_moves_nothing():
    region, g = ball(), normal(20, 9, seed=5)
    assert (region.support(g - region.tangential(g)) == 0).all()


def test_samples_fill_the_ball_uniformly():
    region = ball(rows=4000, directions=3)
    lengths = norms(region.sample(generator())) / 1.5
    assert lengths.max() <= 1
    # the volume within half the radius is an eighth; three standard deviations of the share are 0.016
    assert abs(float((lengths < 0.5).double().mean()) - 1 / 8) < 0.016


# Within a box


def boxed(seed, radius, zero=0.3):
    """A tangent ball in a box, some of whose sides are at 0."""
    region = ball(rows=12, directions=3, dimension=7, radius=radius, seed=seed)
    room = torch.rand(2, 12, 7, generator=generator(seed), dtype=torch.float64)
    room[torch.rand(room.shape, generator=generator(seed + 1)) < zero] = 0
    return region.within(-room[0], room[1])


@given(st.integers(0, 1000))
def test_the_support_within_a_box_is_that_of_a_linear_program(seed):
    """With a radius that does not bind."""
    region, g = boxed(seed, radius=100.0), normal(12, 7, seed=seed + 2)
    found = region.support(g)
    for i in range(len(g)):
        basis = region.ball.basis[i].numpy()
        sides = np.concatenate([region.upper[i].numpy(), -region.lower[i].numpy()])
        plane = np.concatenate([basis.T, -basis.T])
        best = linprog(-basis @ g[i].numpy(), A_ub=plane, b_ub=sides, bounds=(None, None))
        # Where two sides of the box are nearly opposite in the plane, the 1e-10 by which they may be left add up.
        assert -best.fun - 1e-6 <= float(g[i] @ found[i]) <= -best.fun + 1e-4
    assert (region.violation(found) == 0).all()


@pytest.mark.parametrize("seed", range(3))
def test_the_oracles_within_a_box_are_those_of_a_general_solver(seed):
    region, g = boxed(seed, radius=0.4, zero=0.1), normal(12, 7, seed=seed + 2)
    farthest, nearest = region.support(g), region.project(g)
    for i in range(len(g)):
        basis, along = region.ball.basis[i].numpy(), g[i].numpy()
        limits = [
            {"type": "ineq", "fun": lambda c, b=basis, i=i: region.upper[i].numpy() - b.T @ c},
            {"type": "ineq", "fun": lambda c, b=basis, i=i: b.T @ c - region.lower[i].numpy()},
            {"type": "ineq", "fun": lambda c: 0.4**2 - c @ c},
        ]
        options = {"maxiter": 500, "ftol": 1e-13}
        linear = minimize(lambda c, b=basis, g=along: -g @ (b.T @ c), np.zeros(3), constraints=limits, options=options)
        square = minimize(
            lambda c, b=basis, g=along: ((g - b.T @ c) ** 2).sum(), np.zeros(3), constraints=limits, options=options
        )
        assert float(g[i] @ farthest[i]) >= -linear.fun - 1e-6
        assert float((g[i] - nearest[i]).square().sum()) <= square.fun + 1e-6
    assert (region.violation(farthest) == 0).all()
    assert (region.violation(nearest) == 0).all()


@given(st.integers(0, 1000), st.sampled_from([0.3, 1.0, 100.0]))
def test_the_gap_bounds_what_any_member_could_gain_and_is_small(seed, radius):
    region, g = boxed(seed, radius), normal(12, 7, seed=seed + 2)
    found = region.support(g)
    gap = region.gap(g, found)
    assert (gap <= 1e-6 * (1 + norms(g))).all()
    half = region.gap(g, found / 2)
    gain = inner_products(g, found)
    assert (half >= gain / 2 - 1e-4).all()  # members may leave the box by 1e-10 and so gain a little more
    rival = region.project(1000 * g)
    assert (inner_products(g, rival - found / 2) <= half + 1e-4).all()


def test_the_gap_is_finite_where_the_box_has_no_bound():
    region, g = ball().within(-torch.inf, 1.0), normal(20, 9, seed=5)
    assert (region.gap(g, region.support(g)) <= 1e-6 * (1 + norms(g))).all()


def test_where_the_plane_only_touches_the_box_nothing_moves():
    """Two tangents, each of which would leave a corner of the box whichever way one goes."""
    rows = torch.tensor([[1.0, -1, 0, 0], [0, 0, 1, -1]], dtype=torch.float64) / 2**0.5
    region = TangentBall.of(torch.zeros(1, 4, dtype=torch.float64), rows[None], 1.0).within(0.0, 1.0)
    for found in (region.support(normal(1, 4)), region.project(normal(1, 4)), region.sample(generator())):
        assert float(norms(found)) < 1e-8
        assert float(region.violation(found)) == 0


def test_real_images_within_their_range(digits):
    """Black and white images: solved to the end, though hardly a tangent stays in [0, 1]."""
    x, _ = examples(digits.test, 60)
    region = within_range(Tangent(radius=1.0).at(x), x, (0.0, 1.0))
    g = torch.randn(x.shape, generator=generator())
    found = region.support(g)
    assert (region.gap(g, found) <= 1e-4 * norms(g)).all()
    assert (region.violation(found) == 0).all()
    assert float((x + found).min()) >= -1e-6
    assert float((x + found).max()) <= 1 + 1e-6


# Bases


def test_a_translation_is_the_difference_of_the_neighbours():
    x = torch.zeros(1, 1, 5, 5)
    x[0, 0, 2, 2] = 1
    (right, down, grown) = tangents(x, ("horizontal", "vertical", "thickness"), 1.0)[0, :, 0]
    assert right[2].tolist() == [0, 0.5, 0, -0.5, 0]  # the value of the pixel at its right less that at its left
    assert down[:, 2].tolist() == [0, 0.5, 0, -0.5, 0]
    assert right.abs().sum() == down.abs().sum() == 1
    assert grown[1:4, 1:4].flatten().tolist() == [0.5] * 9
    assert grown.sum() == 4.5


def test_a_rotation_does_not_move_a_disc_and_a_scaling_does():
    row = torch.arange(15.0) - 7
    disc = torch.exp(-(row[:, None] ** 2 + row**2) / 8)[None, None]
    turned, grown = tangents(disc, ("rotation", "scaling"), 0.25)[0]
    assert turned.norm() < 0.03 * grown.norm()


def test_a_ramp_knows_how_fast_it_is_moved():
    """x = column: moved to the right by one pixel a unit of time, the value under a pixel grows by 1."""
    ramp = torch.arange(9.0).expand(1, 1, 9, 9)
    found = tangents(ramp, ("horizontal", "scaling", "shear"), 1.0)[0, :, 0]
    place = (torch.arange(9.0) - 4) / 4
    inner = slice(1, -1)
    torch.testing.assert_close(found[0][inner, inner], torch.ones(7, 7))
    torch.testing.assert_close(found[1][inner, inner], place.expand(9, 9)[inner, inner])
    torch.testing.assert_close(found[2][inner, inner], place[:, None].expand(9, 9)[inner, inner])


def test_a_plain_image_has_no_tangents_and_its_set_is_a_point():
    x = torch.full((2, 1, 6, 6), 0.5)
    region = Tangent().at(x)
    assert (region.basis == 0).all()
    for delta in (region.support(torch.ones_like(x)), region.sample(generator()), region.project(x)):
        assert (delta == 0).all()


def test_local_components_find_the_plane_that_points_lie_in():
    plane = orthonormal(normal(1, 2, 12))[0]
    points = (normal(400, 2, seed=1) @ plane).reshape(400, 1, 3, 4)
    basis = KnnPca(neighbors=10, dim=4).fitted(TensorSplit(points, torch.zeros(400, dtype=torch.int64)))
    rows = basis.at(points[:30]).flatten(2)
    assert (norms(rows.flatten(0, 1)) > 0.5).reshape(30, 4).sum(1).tolist() == [2] * 30
    torch.testing.assert_close(rows.mT @ rows, (plane.T @ plane).expand(30, 12, 12), atol=1e-5, rtol=0)


def test_the_jacobian_of_the_encoder_is_autograds():
    x = torch.rand(40, 1, 4, 4, generator=generator()).double()
    plan = Plan(hidden=(6, 5), contraction=0.1, epochs=2, learning_rate=0.01, seed=0)
    net = trained(x.flatten(1), plan).to(x)
    expected = torch.func.vmap(torch.func.jacrev(lambda each: net.encode(each[None])[0]))(x.flatten(1))
    torch.testing.assert_close(net.jacobian(x.flatten(1)), expected)


def test_an_autoencoder_learns_and_the_penalty_makes_it_contract(digits):
    x, _ = examples(digits.train, 600)
    flat = x.flatten(1)
    plan = Plan(hidden=(32,), contraction=0.0, epochs=15, learning_rate=0.01, seed=0)
    free, contracted = trained(flat, plan), trained(flat, attrs.evolve(plan, contraction=1.0))
    untaught = trained(flat, attrs.evolve(plan, epochs=0))

    def error(net):
        return float((net.decode(net.encode(flat)) - flat).square().sum(1).mean())

    assert error(free) < 0.5 * error(untaught)
    assert contracted.jacobian(flat).square().sum() < 0.5 * free.jacobian(flat).square().sum()


def test_a_cached_autoencoder_is_the_fresh_one_and_other_data_or_options_are_another(tmp_path):
    x = torch.rand(50, 9, generator=generator())
    plan = Plan(hidden=(4, 3), contraction=0.1, epochs=2, learning_rate=0.01, seed=0)
    fresh = cached(x, plan, "data", tmp_path)
    (file,) = tmp_path.iterdir()
    again = cached(
        torch.zeros_like(x), plan, "data", tmp_path
    )  # by the name of the data: what is there is not looked at
    for name, tensor in fresh.tensors().items():
        assert torch.equal(tensor, again.tensors()[name])
    cached(x, attrs.evolve(plan, seed=1), "data", tmp_path)
    cached(x, plan, "other data", tmp_path)
    assert len(list(tmp_path.iterdir())) == 3
    file.write_bytes(b"no tensors")
    mended = cached(x, plan, "data", tmp_path)
    assert all(torch.equal(tensor, mended.tensors()[name]) for name, tensor in fresh.tensors().items())


def test_the_basis_of_a_fitted_cae_is_kept_in_the_cache_folder(digits, monkeypatch, tmp_path):
    monkeypatch.setenv("ROBUSTFW_CACHE", str(tmp_path))
    split = digits.train.first(100)
    x, _ = examples(digits.test, 10)
    basis = Cae(epochs=1, hidden=(10,))
    first, second = basis.fitted(split).at(x), basis.fitted(split).at(x)
    assert len(list((tmp_path / "autoencoders").iterdir())) == 1
    assert torch.equal(first, second)


def test_a_given_decoder_gives_the_space_that_it_moves_in():
    net = nn.Linear(3, 8)
    basis = GivenDecoder(lambda z: net(z).reshape(-1, 2, 4), lambda x: x.flatten(1)[:, :3], dim=5)
    rows = basis.at(torch.rand(6, 2, 4)).flatten(2)
    plane = torch.linalg.qr(net.weight.detach()).Q
    torch.testing.assert_close(rows.mT @ rows, (plane @ plane.T).expand(6, 8, 8), atol=1e-5, rtol=0)
    nonlinear = Tangent(basis=GivenDecoder(decode=bent, encode=middle))
    check(nonlinear, expected_failures={"plain options": "functions are objects, which repr does not spell"})


def bent(code):
    """A decoder that is not linear, for examples of as many values as codes have."""
    return torch.tanh(code + code.roll(1, 1))


def middle(x):
    return x.flatten(1) - 0.5


@pytest.mark.parametrize(
    ("basis", "shape", "message"),
    [
        (Transform(), (2, 5), "transform needs images"),
        (KnnPca(), (2, 1, 4, 4), "knn-pca has not seen any data"),
        (Cae(), (2, 1, 4, 4), "cae has not seen any data"),
        (Decoder(), (2, 1, 4, 4), "cae has not seen any data"),
        (GivenDecoder(lambda z: z, lambda x: x.flatten(1)[:, :3]), (2, 1, 4, 4), "gives 3 values an example"),
        (GivenDecoder(lambda z: z, lambda x: x), (2, 1, 4, 4), r"give \(batch, code\)"),
    ],
)
def test_what_does_not_fit_is_said(basis, shape, message):
    with pytest.raises(UsageError, match=message):
        Tangent(basis=basis).at(torch.rand(shape))


@pytest.mark.parametrize("basis", [KnnPca(), Cae(epochs=0)])
def test_data_of_another_shape_is_refused(digits, basis):
    known = Tangent(basis=basis).fitted(digits.train.first(30))
    with pytest.raises(UsageError, match="fit the set to the data"):
        known.at(torch.rand(2, 1, 5, 5))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("tangent:basis=pgd", "no basis named 'pgd'"),
        ("tangent:basis=(knn-pca:neighbours=3)", "did you mean neighbors"),
        ("tangent:basis=(transform:moves=[sideways])", "moves"),
        ("tangent:basis=(decoder:autoencoder=transform)", "autoencoder"),
        ("tangent:radius=-1", "not negative"),
    ],
)
def test_wrong_options_are_said(spec, message):
    with pytest.raises(UsageError, match=message):
        robustfw.make("uncertainty", spec)


@pytest.mark.parametrize("basis", [Transform(), KnnPca(), Cae(), Decoder()], ids=lambda basis: type(basis).__name__)
def test_moves_along_the_tangents_stay_nearer_to_held_out_digits_than_random_moves(digits, basis):
    """The distance to the nearest of the held-out examples, which the basis has not seen, grows less."""
    x, _ = examples(digits.test, 150)
    others, _ = examples(digits.validation, 1000)
    region = Tangent(radius=1.0, basis=basis).fitted(digits.train).at(x)
    noise = torch.randn(x.shape, generator=generator())
    random = noise / per_row(norms(noise), noise)

    def growth(delta):
        length = norms(delta)
        assert float(length.min()) > 0.99
        before = torch.cdist(x.flatten(1), others.flatten(1)).amin(1)
        return (torch.cdist((x + delta).flatten(1), others.flatten(1)).amin(1) - before).mean()

    assert growth(region.support(noise)) < 0.8 * growth(random)


@attrs.frozen
class Broken(Basis):
    """The rows of a correct basis, spoilt."""

    wrong: Callable = attrs.field(default=lambda rows: rows, repr=False)

    def at(self, x):
        return self.wrong(Transform().at(x))


@pytest.mark.parametrize(
    ("wrong", "law"),
    [
        (lambda rows: rows * 1.001, "orthonormal"),
        (lambda rows: rows + 0.01 * rows.roll(1, 1), "orthonormal"),
        (lambda rows: rows.flatten(1), "orthonormal"),
        (lambda rows: rows.roll(1, 0), "rows are independent"),
        (lambda rows: rows.requires_grad_(), "manners"),
    ],
)
def test_a_wrong_basis_dies_by_the_law_named(wrong, law):
    assert law in {finding.law for finding in findings(Broken(wrong)) if finding.broken}


# The penalty


def test_the_penalty_of_a_linear_net_is_by_hand():
    net = nn.Linear(3, 2, bias=False)
    net.weight.data = torch.tensor([[1.0, 2.0, 3.0], [0.0, -1.0, 5.0]])
    basis = torch.eye(3)[:2]  # so the columns 0 and 1 count

    class Plane(Basis):
        def at(self, x):
            return basis.expand(len(x), 2, 3)

    x, y = torch.rand(4, 3), torch.tensor([0, 1, 0, 1])
    for output, expected in (("logits", [3.0] * 4), ("label", [2.5, 0.5, 2.5, 0.5])):
        objective = TangentProp(beta=0.5, basis=Plane(), output=output)
        torch.testing.assert_close(objective.penalty(net, x, y, None), torch.tensor(expected))
        torch.testing.assert_close(objective(net, x, y, None), losses.cross_entropy(net(x), y) + torch.tensor(expected))


@pytest.mark.parametrize("output", ["logits", "label", "loss"])
def test_the_penalty_and_its_gradient_are_those_of_double_backpropagation(net, batch, output):
    x, y = batch
    objective = TangentProp(beta=0.3, output=output)
    net.eval()
    found = objective.penalty(net, x, y, None)
    leaf = x.clone().requires_grad_()
    logits = net(leaf)
    chosen = {
        "logits": list(logits.unbind(1)),
        "label": [logits.gather(1, y[:, None])[:, 0]],
        "loss": [losses.cross_entropy(logits, y)],
    }[output]
    gradients = [torch.autograd.grad(each.sum(), leaf, create_graph=True)[0] for each in chosen]
    basis = objective.basis.at(x).flatten(2)
    expected = 0.3 * sum(torch.einsum("bkd,bd->bk", basis, g.flatten(1)).square().sum(1) for g in gradients)
    torch.testing.assert_close(found, expected)
    weights = list(net.parameters())
    pairs = (torch.autograd.grad(v.sum(), weights, allow_unused=True, retain_graph=True) for v in (found, expected))
    for ours, theirs in zip(*pairs, strict=True):
        torch.testing.assert_close(
            torch.zeros(1) if ours is None else ours, torch.zeros(1) if theirs is None else theirs
        )


def test_the_penalty_writes_no_statistics_and_puts_the_flags_back(net, batch):
    before = {name: buffer.clone() for name, buffer in net.named_buffers()}
    net[3].eval()
    TangentProp().penalty(net, *batch, None)
    assert all(torch.equal(buffer, before[name]) for name, buffer in net.named_buffers())
    assert net.training
    assert net[1].training
    assert not net[3].training


def test_half_precision_of_the_training_leaves_the_penalty_in_full(net, batch):
    full = TangentProp().penalty(net, *batch, None)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(TangentProp().penalty(net, *batch, None), full)


def test_an_empty_batch_and_a_net_that_ignores_its_input():
    objective = TangentProp()
    empty = objective.penalty(nn.Flatten(), torch.rand(0, 1, 4, 4), torch.zeros(0, dtype=torch.int64), None)
    assert empty.shape == (0,)
    blind = objective.penalty(
        lambda_net(lambda x: torch.ones(len(x), 3)), torch.rand(2, 1, 4, 4), torch.tensor([0, 1]), None
    )
    assert blind.tolist() == [0, 0]


def lambda_net(function):
    net = nn.Module()
    net.forward = function
    return net


# What the paper claims: the tangent set regularises the derivatives that tangent-prop penalises


def test_on_a_linear_net_the_set_and_the_penalty_measure_one_and_the_same_derivative():
    """First-order increase of J over Γ ∩ B₂(x, r) = r‖Π∇J‖₂ = r·√Σ_u ⟨u, ∇J⟩², to 1e-10."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(36, 4)).double()
    x, y = torch.rand(30, 1, 6, 6, generator=generator()).double(), torch.arange(30) % 4
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(losses.cross_entropy(net(leaf), y).sum(), leaf)
    radius = 0.7
    region = Tangent(radius=radius).at(x)
    steepest = inner_products(gradient, region.support(gradient))
    projected = norms(region.tangential(gradient))
    penalty = TangentProp(beta=1.0, output="loss").penalty(net, x, y, None)
    assert (projected > 1e-3).all()
    torch.testing.assert_close(steepest, radius * projected, atol=1e-10, rtol=0)
    torch.testing.assert_close(penalty.detach(), projected.square(), atol=1e-10, rtol=0)
    # and the increase itself tends to that: J is convex in δ, and its curvature is bounded
    for share in (1e-2, 1e-3):
        small = region.scaled(share)
        rise = losses.cross_entropy(net(x + small.support(gradient)), y) - losses.cross_entropy(net(x), y)
        assert ((rise / share - steepest).abs() <= share * 10).all()


# Learning from data: only from the training split


@attrs.frozen
class Watched(robustfw.UncertaintySet):
    """Keeps what it was shown."""

    radius: float = 0.1
    seen: ClassVar[list[object]] = []

    def fitted(self, train):
        Watched.seen.append(train)
        return self

    def at(self, x):
        return robustfw.make("uncertainty", "linf:radius=0.1").at(x)


def test_a_training_shows_the_set_its_training_split_once(digits):
    Watched.seen.clear()
    for _ in robustfw.train(
        dataset=digits, uncertainty=Watched(), attack="single-step", epochs=1, validation_examples=20
    ):
        pass
    assert len(Watched.seen) == 1
    assert Watched.seen[0] is digits.train


# Pictures


def test_the_tangents_are_drawn_as_pictures(digits):
    x, _ = examples(digits.test, 3)
    basis = Transform().at(x)
    figure = drawn(x, basis)
    assert len(figure.axes) == 3 * 6
    image, first = (panel.images[0] for panel in figure.axes[:2])
    np.testing.assert_array_equal(image.get_array(), x[0, 0])
    np.testing.assert_array_equal(first.get_array(), basis[0, 0, 0])
    low, high = first.get_clim()
    assert -low == high == float(basis[0, 0].abs().max())  # white is no change


def test_the_command_writes_a_picture_and_says_what_is_wrong(tmp_path):
    run = CliRunner()
    said = run.invoke(
        tangents_command, ["--basis", "knn-pca:dim=3", "--examples", "2", "--out", str(tmp_path / "t.png")]
    )
    assert said.exit_code == 0, said.output
    assert "2 images" in said.output
    assert (tmp_path / "t.png").read_bytes().startswith(b"\x89PNG")
    for arguments, message in (
        (["--dataset", "two-moons"], "is no image"),
        (["--out", str(tmp_path / "t.txt")], "choose another ending"),
        (["--out", str(tmp_path / "no" / "t.png")], "choose another --out"),
        ([str(tmp_path / "no-run")], "there is no run"),
    ):
        error = run.invoke(tangents_command, [*arguments, "--examples", "1"]).exception
        assert message in str(error)


def test_the_tangents_of_a_run_are_those_that_it_was_trained_with_and_stand_in_its_report(tmp_path, digits):
    run = tmp_path / "run"
    penalty = "tangent-prop:basis=(knn-pca:dim=3)"
    records = robustfw.train(dataset="digits", objective=["clean", penalty], epochs=1, validation_examples=5, out=run)
    assert len(list(records)) == 1
    invoke = partial(CliRunner().invoke, catch_exceptions=False)
    assert "5 images" in invoke(tangents_command, [str(run)], obj=["tangents", str(run)]).output
    (result,) = results.kept(run, ["pictures"])
    assert result["command"] == f"robustfw tangents {run}"
    assert [row["diverging"] for row in result["rows"]] == [False, True, True, True]
    pictures = load_file(run / "results" / result["images"])
    x, _ = examples(digits.test, 5)
    torch.testing.assert_close(pictures["0"], (x - x.amin()) / (x.amax() - x.amin()))
    expected = make("basis", "knn-pca:dim=3").fitted(digits.train).at(x)[:, 1]
    torch.testing.assert_close(pictures["2"], expected / expected.flatten(1).abs().amax(1)[:, None, None, None])
    page = report.write([run], tmp_path / "report.html").read_text()
    assert "Tangents (knn-pca:dim=3) of run" in page
    said = CliRunner().invoke(tangents_command, [str(run), "--dataset", "digits"]).exception
    assert "leave out --dataset" in str(said)
