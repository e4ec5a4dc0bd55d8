"""Wavelet scattering: its definition, its frame, the distances that it keeps, and a net that learns on it."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.fft import fft2, ifft2

import robustfw
from robustfw import DataSpec, UsageError
from robustfw_vision.scattering import Scattering2d, energy, filters

GRIDS = st.tuples(st.sampled_from([(8, 8), (8, 16), (16, 8)]), st.integers(1, 3), st.integers(1, 6))
"""Sizes, scales, angles."""


def built(size, *, scales=2, angles=4, order=2):
    return Scattering2d(size, scales=scales, angles=angles, order=order).double()


def images(seed, *shape, dtype=torch.float64):
    return torch.rand(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def convolved(u, spectrum):
    return ifft2(fft2(u) * spectrum)


def one_layer(u, psi, phi, step):
    """W u of each row as it is defined, real and imaginary parts apart."""
    low = step * convolved(u, phi).real[..., ::step, ::step]
    high = torch.view_as_real(convolved(u[:, None], psi.flatten(0, 1)))
    return torch.cat([low.flatten(1), high.flatten(1)], 1)


def largest_stretch(psi, phi, step):
    """The largest singular value of W as an explicit matrix."""
    basis = torch.eye(phi.numel(), dtype=torch.float64).unflatten(1, phi.shape)
    return float(torch.linalg.matrix_norm(one_layer(basis, psi, phi, step), 2))


@settings(max_examples=15)
@given(GRIDS)
def test_the_frame_bound_is_one(grid):
    """Subsampling makes frequencies look alike, and they are counted together."""
    largest = largest_stretch(*filters(*grid), 2 ** grid[1])
    assert largest == pytest.approx(1, abs=1e-5)
    assert largest <= 1


@given(GRIDS)
def test_the_littlewood_paley_sum_is_at_most_one(grid):
    psi, phi = filters(*grid)
    assert float((phi.square() + energy(psi)).amax()) <= 1
    assert float(psi[..., 0, 0].abs().amax()) < 1e-12, "wavelets have no mean"


def test_the_sum_alone_would_not_do():
    """Scaled to a Littlewood-Paley sum of 1, W stretches what aliases onto itself."""
    psi, phi = filters((16, 16), 2, 8)
    scale = (phi.square() + energy(psi)).amax().rsqrt()
    assert largest_stretch(scale * psi, scale * phi, 4) > 1.01


def test_the_definition():
    """Maps one by one: x ⋆ φ, |x ⋆ ψ| ⋆ φ, and ||x ⋆ ψ| ⋆ ψ'| ⋆ φ with ψ' coarser, for each channel."""
    net, x = built((8, 8), scales=3, angles=2), images(0, 2, 3, 8, 8)
    _, phi = filters((8, 8), 3, 2)
    found = iter(net(x).unbind(1))
    for u in x.unbind(1):
        firsts = {(j, a): convolved(u, net.psi[j, a]).abs() for j in range(3) for a in range(2)}
        seconds = [
            convolved(first, net.psi[k, b]).abs()
            for (j, _), first in firsts.items()
            for k in range(j + 1, 3)
            for b in range(2)
        ]
        for each in [u, *firsts.values(), *seconds]:
            torch.testing.assert_close(next(found), 8 * convolved(each, phi).real[:, ::8, ::8])
    assert not list(found)


@pytest.mark.parametrize(("order", "maps"), [(0, 1), (1, 17), (2, 81)])
def test_numbers_of_maps(order, maps):
    net = built((28, 28), angles=8, order=order)
    assert net.maps == maps
    assert net(images(0, 1, 2, 28, 28)).shape == (1, 2 * maps, 7, 7)


def test_sides_that_do_not_divide_are_framed_by_zeros():
    net, x = built((6, 9)), images(0, 1, 1, 6, 9)
    framed = torch.zeros(1, 1, 8, 12, dtype=torch.float64)
    framed[..., :6, :9] = x
    assert net.frame == (8, 12)
    torch.testing.assert_close(net(x), built((8, 12))(framed))


@given(
    seeds=st.tuples(st.integers(0, 1000), st.integers(0, 1000)),
    near=st.sampled_from([0.0, 0.9, 0.999]),
    size=st.tuples(st.integers(8, 11), st.integers(8, 11)),
    scales=st.integers(1, 3),
    order=st.integers(0, 2),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_distances_do_not_grow(seeds, near, size, scales, order, dtype):
    net = built(size, scales=scales, order=order).to(dtype)
    x, other = (images(seed, 2, 2, *size, dtype=dtype) for seed in seeds)
    other = near * x + (1 - near) * other
    rounding = 50 * torch.finfo(dtype).eps * float(x.norm())
    assert float((net(x) - net(other)).norm()) <= net.lipschitz * float((x - other).norm()) + rounding


@pytest.mark.parametrize("seed", range(3))
def test_the_jacobian_has_no_singular_value_above_the_bound(seed):
    """By power iteration on JᵀJ at 28x28; that it comes near 1 says that the bound is not an idle one."""
    net, x = built((28, 28), angles=8), images(seed, 1, 1, 28, 28)
    v = images(seed + 10, 1, 1, 28, 28)
    for _ in range(20):
        _, pushed = torch.autograd.functional.jvp(net, x, v / v.norm())
        (v,) = torch.func.vjp(net, x)[1](pushed)
    assert 0.8 < float(pushed.norm()) <= 1


def test_a_move_by_whole_cells_moves_the_coefficients():
    net, x = built((16, 16)), images(0, 1, 1, 16, 16)
    torch.testing.assert_close(net(x.roll((4, -8), (2, 3))), net(x).roll((1, -2), (2, 3)))


def test_a_move_by_a_pixel_changes_coefficients_less_than_pixels():
    net, x = built((32, 32), scales=3), torch.zeros(1, 1, 32, 32, dtype=torch.float64)
    x[..., 12:20, 14:17] = 1
    moved = x.roll(1, 3)
    assert float((net(x) - net(moved)).norm()) < 0.4 * float((x - moved).norm())


def test_a_constant_image_has_nothing_but_its_mean():
    found = built((8, 8))(torch.full((1, 1, 8, 8), 0.5, dtype=torch.float64))
    mean = 4 * 0.5 * float(filters((8, 8), 2, 4)[1][0, 0])
    torch.testing.assert_close(found[:, :1], torch.full((1, 1, 2, 2), mean).double(), rtol=1e-6, atol=0)
    assert float(found[:, 1:].abs().amax()) < 1e-6


def test_input_gradients_are_true():
    net = built((8, 8), angles=2)
    assert torch.autograd.gradcheck(net, images(0, 2, 1, 8, 8).requires_grad_())


def test_half_precision_is_computed_in_single():
    net, x = Scattering2d((8, 8), scales=2, angles=2, order=2), images(0, 1, 1, 8, 8, dtype=torch.bfloat16)
    assert net(x).dtype == torch.bfloat16
    assert torch.equal(net(x), net(x.float()).bfloat16())
    with torch.autocast("cpu", torch.bfloat16):
        inside = net(x.float())
    assert torch.equal(inside, net(x.float()))


def test_an_empty_batch():
    x = torch.zeros(0, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    found = built((8, 8))(x)
    assert found.shape == (0, 25, 2, 2)
    assert torch.autograd.grad(found.sum(), x)[0].shape == x.shape


def test_filters_are_not_in_the_checkpoint_and_nothing_in_it_is_learnt():
    net = Scattering2d((8, 8), scales=1, angles=2, order=1)
    assert not net.state_dict()
    assert not list(net.parameters())
    assert torch.equal(copy.deepcopy(net).psi, net.psi)


def test_what_it_cannot_be_built_for():
    with pytest.raises(UsageError, match="needs images of at least 16x16, not 8x8: give fewer scales"):
        robustfw.make("model", "scattering:scales=4").build(DataSpec((1, 8, 8), 10))
    with pytest.raises(UsageError, match="scattering needs images"):
        robustfw.make("model", "scattering").build(DataSpec((2,), 2))
    with pytest.raises(UsageError, match="order"):
        robustfw.make("model", "scattering:order=3")


def test_the_net_on_top():
    spec = DataSpec((1, 28, 28), 10, mean=(0.1307,), std=(0.3081,))
    net = robustfw.make("model", "scattering").build(spec)
    assert sum(p.numel() for p in net.parameters()) == 81 * 7 * 7 * 10 + 10
    net = robustfw.make("model", "scattering:order=1,scales=3,angles=4,hidden=[20]").build(spec)
    assert sum(p.numel() for p in net.parameters()) == 13 * 4 * 4 * 20 + 20 + 20 * 10 + 10


def test_it_learns():
    records = robustfw.train(
        dataset="digits", model="scattering:angles=4", objective="clean", epochs=4, batch_size=64, seed=0
    )
    *_, last = records
    assert last.clean_accuracy > 0.9
