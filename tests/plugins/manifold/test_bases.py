"""Bases of tangent spaces: each against its definition, and all on held-out digits."""

from __future__ import annotations

import os
from collections.abc import Callable

import attrs
import pytest
import torch
from torch import nn

import robustfw
from robustfw import TensorSplit, UsageError
from robustfw.regions import norms, per_row
from robustfw.testing import check, findings
from robustfw_manifold.autoencoder import TrainingPlan, load_or_train, train
from robustfw_manifold.bases import Basis, Cae, Decoder, GivenDecoder, KnnPca, Transform
from robustfw_manifold.linear import orthonormal
from robustfw_manifold.tangent import Tangent
from robustfw_manifold.transforms import tangents


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def examples(split, count):
    return next(split.first(count).iterate(count))


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
    basis = KnnPca(neighbors=10, n_components=4).fit(TensorSplit(points, torch.zeros(400, dtype=torch.int64)))
    rows = basis.at(points[:30]).flatten(2)
    assert (norms(rows.flatten(0, 1)) > 0.5).reshape(30, 4).sum(1).tolist() == [2] * 30
    torch.testing.assert_close(rows.mT @ rows, (plane.T @ plane).expand(30, 12, 12), atol=1e-5, rtol=0)


def test_the_jacobian_of_the_encoder_is_autograds():
    x = torch.rand(40, 1, 4, 4, generator=generator()).double()
    plan = TrainingPlan(hidden=(6, 5), contraction=0.1, epochs=2, learning_rate=0.01, seed=0)
    net = train(x.flatten(1), plan).convert(x)
    expected = torch.func.vmap(torch.func.jacrev(lambda each: net.encode(each[None])[0]))(x.flatten(1))
    torch.testing.assert_close(net.jacobian(x.flatten(1)), expected)


def test_an_autoencoder_learns_and_the_penalty_makes_it_contract(digits):
    x, _ = examples(digits.train, 600)
    flat = x.flatten(1)
    plan = TrainingPlan(hidden=(32,), contraction=0.0, epochs=15, learning_rate=0.01, seed=0)
    free, contracted = train(flat, plan), train(flat, attrs.evolve(plan, contraction=1.0))
    untaught = train(flat, attrs.evolve(plan, epochs=0))

    def error(net):
        return float((net.decode(net.encode(flat)) - flat).square().sum(1).mean())

    assert error(free) < 0.5 * error(untaught)
    assert contracted.jacobian(flat).square().sum() < 0.5 * free.jacobian(flat).square().sum()


def test_a_cached_autoencoder_is_the_fresh_one_and_other_data_or_options_are_another(tmp_path):
    x = torch.rand(50, 9, generator=generator())
    plan = TrainingPlan(hidden=(4, 3), contraction=0.1, epochs=2, learning_rate=0.01, seed=0)
    fresh = load_or_train(x, plan, "data", tmp_path)
    (file,) = tmp_path.iterdir()
    again = load_or_train(
        torch.zeros_like(x), plan, "data", tmp_path
    )  # by the name of the data: what is there is not looked at
    for name, tensor in fresh.tensors().items():
        assert torch.equal(tensor, again.tensors()[name])
    load_or_train(x, attrs.evolve(plan, seed=1), "data", tmp_path)
    load_or_train(x, plan, "other data", tmp_path)
    assert len(list(tmp_path.iterdir())) == 3
    file.write_bytes(b"no tensors")
    mended = load_or_train(x, plan, "data", tmp_path)
    assert all(torch.equal(tensor, mended.tensors()[name]) for name, tensor in fresh.tensors().items())


def test_the_basis_of_a_fitted_cae_is_kept_in_the_cache_folder(digits, monkeypatch, tmp_path):
    monkeypatch.setenv("ROBUSTFW_CACHE", str(tmp_path))
    split = digits.train.first(100)
    x, _ = examples(digits.test, 10)
    basis = Cae(epochs=1, hidden=(10,))
    first, second = basis.fit(split).at(x), basis.fit(split).at(x)
    assert len(list((tmp_path / "autoencoders").iterdir())) == 1
    assert torch.equal(first, second)


@pytest.mark.skipif(os.name == "nt", reason="home directories are found otherwise there")
def test_without_a_home_an_autoencoder_is_trained_and_kept_nowhere(digits, monkeypatch, tmp_path):
    def nobody(_):
        raise KeyError

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("ROBUSTFW_CACHE", raising=False)
    monkeypatch.setattr("pwd.getpwuid", nobody)
    monkeypatch.chdir(tmp_path)
    x, _ = examples(digits.test, 10)
    assert len(Cae(epochs=1, hidden=(10,)).fit(digits.train.first(100)).at(x)) == 10
    assert not list(tmp_path.iterdir())


def test_a_given_decoder_gives_the_space_that_it_moves_in():
    net = nn.Linear(3, 8)
    basis = GivenDecoder(lambda z: net(z).reshape(-1, 2, 4), lambda x: x.flatten(1)[:, :3], n_components=5)
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
    known = Tangent(basis=basis).fit(digits.train.first(30))
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
    region = Tangent(radius=1.0, basis=basis).fit(digits.train).at(x)
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
