"""How the oracles of ℓ1 and ℓ2 search: each way to the same answer, whatever the sizes, and in few steps."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import robustfw
from robustfw_norms import l1, l2


def within(corner):
    """The sides of a box whose corner that is: nothing moves the other way."""
    return corner.clamp(max=0), corner.clamp(min=0)


@given(seed=st.integers(0, 2**31), ties=st.booleans(), boxed_in=st.booleans(), scale=st.sampled_from([1e-3, 1.0, 1e4]))
def test_sorting_and_climbing_find_the_same_level(seed, ties, boxed_in, scale):
    """Also where coordinates are tied, have no room, or are 0; the sorted search is what other devices use."""
    draw = torch.Generator().manual_seed(seed)
    size = torch.rand(12, 9, generator=draw, dtype=torch.float64)
    size = (size * 4).round() / 4 if ties else size
    room = torch.rand(12, 9, generator=draw, dtype=torch.float64).mul(2).sub(0.5).clamp(min=0) if boxed_in else None
    radius = torch.rand(12, 1, generator=draw, dtype=torch.float64) * 3
    case = scale * size, None if room is None else scale * room, scale * radius
    climbed = l1.shrink(*case)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(l1, "may_look", lambda _: False)
        torch.testing.assert_close(climbed, l1.shrink(*case), rtol=0, atol=1e-12 * scale)


@given(seed=st.integers(0, 2**31), ties=st.booleans(), zeros=st.booleans(), scale=st.sampled_from([1e-25, 1.0, 1e25]))
def test_sorting_and_climbing_find_the_same_stretch(seed, ties, zeros, scale):
    """Also where weights are of all sizes, are tied, or are 0, and where the room that can move fits into the ball."""
    draw = torch.Generator().manual_seed(seed)
    size = torch.randn(12, 9, generator=draw, dtype=torch.float64)
    size = (size * 2).round() / 2 if ties else size * 10 ** (8 * torch.rand(12, 9, generator=draw, dtype=torch.float64))
    size *= torch.rand(12, 9, generator=draw).round() if zeros else 1
    radius = 2 * torch.rand(12, 1, generator=draw, dtype=torch.float64)
    room = torch.minimum(torch.rand(12, 9, generator=draw, dtype=torch.float64).mul(2).sub(0.5).clamp(min=0), radius)
    case = scale * size, within(size.sign() * room), radius
    climbed = l2.support(*case)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(l2, "may_look", lambda _: False)
        torch.testing.assert_close(climbed, l2.support(*case), rtol=0, atol=1e-11)


@given(
    seed=st.integers(0, 2**31), ties=st.booleans(), part=st.sampled_from([0.02, 0.3, 3, 60]), d=st.sampled_from([3, 70])
)
def test_filling_one_by_one_and_in_the_sorted_order_give_the_same_bits(seed, ties, part, d):
    """However many coordinates a row takes: one, a few, more than are selected at first, or all that there are."""
    draw = torch.Generator().manual_seed(seed)
    g = torch.randn(12, d, generator=draw)
    g = (g * 2).round() if ties else g
    radius = part * torch.rand(12, 1, generator=draw) + torch.arange(2).repeat(6)[:, None] / 2
    room = torch.minimum(torch.rand(12, d, generator=draw).mul(2).sub(0.5).clamp(min=0), radius)
    case = g, within(g.sign() * room), radius
    filled = l1.support(*case)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(l1, "may_look", lambda _: False)
        assert torch.equal(filled, l1.support(*case))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("faint", [0.0101, 1e-3, 1e-6, 1e-12])
def test_a_faint_gradient_takes_what_the_others_leave(faint, dtype):
    """maximize δ₁ + faint·δ₂ over ‖δ‖₂ ≤ 1, δ₁ ≤ 1/2: the second coordinate gets √3/2, however little it counts."""
    g = torch.tensor([[1, faint, 0]], dtype=dtype)
    sides = within(torch.tensor([[0.5, 1, 0]], dtype=dtype))
    radius = torch.ones(1, 1, dtype=dtype)
    expected = torch.tensor([[0.5, 0.75**0.5, 0]], dtype=dtype)
    torch.testing.assert_close(l2.support(g, sides, radius), expected)


@pytest.mark.parametrize("size", [1e-37, 1e-25, 1e-13, 1e-11, 1e11, 1e13, 1e25, 1e37])
def test_the_size_of_a_gradient_does_not_matter(size, monkeypatch):
    """Squares of the first two and of the last two are 0 or ∞: a few steps do nevertheless, nothing is sorted."""
    monkeypatch.setattr(l2, "_solve_by_sorting", None)
    draw = torch.Generator().manual_seed(0)
    g = torch.randn(6, 50, generator=draw).clamp(-3, 3)
    room = torch.rand(6, 50, generator=draw).minimum(torch.rand(6, 50, generator=draw)) / 2
    sizes = torch.tensor([1, size, 0, size, 1, 1])[:, None]
    for sides in (None, within(g.sign() * room)):
        expected = l2.support(g, sides, torch.ones(6, 1)) * (sizes > 0)
        torch.testing.assert_close(l2.support(sizes * g, sides, torch.ones(6, 1)), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("look", [True, False])
def test_rows_whose_length_is_not_the_radius(look, monkeypatch):
    """No radius, no gradient, no room, room that fits into the ball, any radius: beside one as others are."""
    monkeypatch.setattr(l2, "may_look", lambda _: look)
    draw = torch.Generator().manual_seed(0)
    g, room = torch.randn(6, 20, generator=draw), torch.rand(6, 20, generator=draw)
    g[2], room[3] = 0, 0
    radius = torch.tensor([1, 0, 1, 1, 9, torch.inf])[:, None]
    delta = l2.support(g, (-room, room), radius)
    torch.testing.assert_close(delta.norm(dim=1)[:4], torch.tensor([1.0, 0, 0, 0]))
    torch.testing.assert_close(delta[4:], (g.sign() * room)[4:])
    one, endless = torch.ones(6, 1), torch.full_like(g, torch.inf)
    torch.testing.assert_close(l2.support(g, (-endless, endless), one), l2.support(g, None, one))


@pytest.mark.parametrize("radius", [0.1, 0.55, 2.0])
def test_few_lengths_are_measured_on_images(radius, monkeypatch):
    """That of the gradient, and five on the way: after four secants no row of a hundred is left."""
    measured = []
    length = l2._square_sum
    monkeypatch.setattr(l2, "_square_sum", lambda rows: measured.append(1) or length(rows))
    draw = torch.Generator().manual_seed(0)
    x = (1.5 * torch.rand(100, 1, 28, 28, generator=draw) - 0.75).clamp(min=0)  # half of it black
    g = torch.randn(x.shape, generator=draw) * torch.rand(x.shape, generator=draw)
    delta = robustfw.make("uncertainty", f"l2:radius={radius}").at(x).clip(0 - x, 1 - x).support(g)
    assert len(measured) <= 6
    torch.testing.assert_close(delta.flatten(1).norm(dim=1), torch.full((100,), radius))
