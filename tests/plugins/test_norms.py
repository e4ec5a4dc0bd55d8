"""Norm balls: known values worked by hand, and independent solvers on small random cases."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.optimize import linprog, minimize

import robustfw
import robustfw_norms
from robustfw import UsageError

from ..perturbations import at
from .balls import boxed, column

P = {"linf": np.inf, "l2": 2, "l1": 1}
ZERO = column(0, 0, 0)
# (spec, point, projection): inside, on the border, outside, worked by hand.
PROJECTIONS = [
    ("linf:radius=1", (0.5, -0.5, 0), (0.5, -0.5, 0)),
    ("linf:radius=1", (1, -1, 0), (1, -1, 0)),
    ("linf:radius=1", (3, -2, 0.5), (1, -1, 0.5)),
    ("l2:radius=5", (3, 0, 0), (3, 0, 0)),
    ("l2:radius=5", (3, -4, 0), (3, -4, 0)),
    ("l2:radius=5", (6, -8, 0), (3, -4, 0)),
    ("l1:radius=2", (1, -0.5, 0), (1, -0.5, 0)),
    ("l1:radius=2", (1, -1, 0), (1, -1, 0)),
    ("l1:radius=2", (3, -2, 0), (1.5, -0.5, 0)),
    ("l1:radius=2", (5, 0, 0), (2, 0, 0)),
    ("l1:radius=3", (2, 2, -2), (1, 1, -1)),
    ("l0:radius=1,limit=10", (0, -3, 2), (0, -3, 0)),
    ("l0:radius=1", (0.4, -3, 2), (0, -1, 0)),
]
SUPPORTS = [
    ("linf:radius=2", (3, -0.1, 0), (2, -2, 0)),
    ("l2:radius=5", (3, -4, 0), (3, -4, 0)),
    ("l1:radius=2", (3, -4, 0), (0, -2, 0)),
    ("l1:radius=2", (4, -4, 0), (2, 0, 0)),
    ("l0:radius=2,limit=1", (3, -4, 1), (1, -1, 0)),
    ("linf:radius=1", (0, 0, 0), (0, 0, 0)),
    ("l2:radius=1", (0, 0, 0), (0, 0, 0)),
    ("l1:radius=1", (0, 0, 0), (0, 0, 0)),
]


@pytest.mark.parametrize(("spec", "point", "expected"), PROJECTIONS)
def test_projection_by_hand(spec, point, expected):
    torch.testing.assert_close(at(spec, ZERO).project(column(*point)), column(*expected))


@pytest.mark.parametrize(("spec", "direction", "expected"), SUPPORTS)
def test_support_by_hand(spec, direction, expected):
    torch.testing.assert_close(at(spec, ZERO).support(column(*direction)), column(*expected))


def test_l1_support_within_the_data_range_fills_coordinates_in_the_order_of_the_gradient():
    """Pitfall C6: one pixel is right only while the radius fits its room."""
    x = column(0.5, 0.9, 0.0, 0.2)
    g = column(1, 5, 3, -2)
    torch.testing.assert_close(boxed("l1:radius=1.25", x).support(g), column(0, 0.1, 1.0, -0.15))


def test_l2_support_within_the_data_range_spends_the_whole_radius():
    """Normalise, then clip leaves part of the radius unspent; the exact maximizer does not."""
    x = column(0.9, 0.5, 0.5)
    delta = boxed("l2:radius=0.5", x).support(column(10, 1, 1))
    torch.testing.assert_close(delta.norm(), torch.tensor(0.5, dtype=torch.float64))
    torch.testing.assert_close(delta, column(0.1, (0.24 / 2) ** 0.5, (0.24 / 2) ** 0.5))


@pytest.mark.parametrize(("norm", "moved"), [("l2", (0, 0.06, 0.08)), ("l1", (0, 0, 0.1)), ("linf", (0, 0.1, 0.1))])
def test_a_steep_pixel_without_room_does_not_drown_the_others(norm, moved):
    """Relative to it the squares of the others' gradients vanish in float32."""
    x, g = column(1.0, 0.5, 0.5).float(), column(1.0, 3e-30, 4e-30).float()
    torch.testing.assert_close(boxed(f"{norm}:radius=0.1", x).support(g), column(*moved).float())


def test_a_saturated_l2_support_stops_at_the_corner():
    x = column(0.9, 0.5, 0.5)
    torch.testing.assert_close(boxed("l2:radius=9", x).support(column(1, -1, 0)), column(0.1, -0.5, 0))


def random_case(seed, d=6):
    rng = np.random.default_rng(seed)
    x = rng.random(d)
    x[rng.random(d) < 0.3] = np.round(x[rng.random(d).argmax()])
    return x, rng.normal(size=d) * rng.choice([0.1, 1, 5]), rng.random() * 2


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("norm", ["linf", "l1"])
def test_support_equals_a_linear_program(norm, seed):
    """max ⟨g, u − v⟩ over u, v ≥ 0 with the box and the norm as linear constraints."""
    x, g, radius = random_case(seed)
    d = len(x)
    most = np.minimum(1 - x, radius if norm == "linf" else np.inf)
    least = np.minimum(x, radius if norm == "linf" else np.inf)
    rows, sides = (np.ones((1, 2 * d)), [radius]) if norm == "l1" else (None, None)
    answer = linprog(np.concatenate([-g, g]), rows, sides, bounds=[*((0, b) for b in most), *((0, b) for b in least)])
    delta = boxed(f"{norm}:radius={radius}", torch.tensor(x[None])).support(torch.tensor(g[None]))
    assert float((delta * torch.tensor(g)).sum()) == pytest.approx(-answer.fun, abs=1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_l2_support_equals_a_conic_solver(seed):
    x, g, radius = random_case(seed)
    constraint = {"type": "ineq", "fun": lambda s: radius**2 - s @ s, "jac": lambda s: -2 * s}
    answer = minimize(
        lambda s: -g @ s, np.zeros_like(x), jac=lambda s: -g, bounds=list(zip(-x, 1 - x, strict=True)),
        constraints=[constraint], method="SLSQP", options={"ftol": 1e-14, "maxiter": 500},
    )  # fmt: skip
    delta = boxed(f"l2:radius={radius}", torch.tensor(x[None])).support(torch.tensor(g[None]))
    assert float((delta * torch.tensor(g)).sum()) == pytest.approx(-answer.fun, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_projection_equals_a_quadratic_program(norm, seed):
    """min ‖u − v − z‖² over u, v ≥ 0, u ≤ 1 − x, v ≤ x, and the norm of u + v."""
    x, z, radius = random_case(seed)
    d = len(x)
    most = np.minimum(np.concatenate([1 - x, x]), radius if norm == "linf" else np.inf)
    constraints = {
        "linf": [],
        "l1": [{"type": "ineq", "fun": lambda s: radius - s.sum()}],
        "l2": [{"type": "ineq", "fun": lambda s: radius**2 - np.sum((s[:d] - s[d:]) ** 2)}],
    }
    answer = minimize(
        lambda s: np.sum((s[:d] - s[d:] - z) ** 2), np.zeros(2 * d), bounds=[(0, b) for b in most],
        constraints=constraints[norm], method="SLSQP", options={"ftol": 1e-15, "maxiter": 1000},
    )  # fmt: skip
    delta = boxed(f"{norm}:radius={radius}", torch.tensor(x[None])).project(torch.tensor(z[None]))
    np.testing.assert_allclose(delta[0].numpy(), answer.x[:d] - answer.x[d:], atol=3e-5)


@pytest.mark.parametrize("norm", list(P))
@given(
    z=arrays.arrays(np.float32, (3, 5), elements=st.floats(-8, 8, width=32)),
    x=arrays.arrays(np.float32, (3, 5), elements=st.floats(0, 1, width=32)),
    radius=st.sampled_from([0.0, 0.25, 1.0, 20.0]),
)
def test_oracles_on_shrinkable_cases(norm, z, x, radius):
    """The variational inequality and the norm, on small numbers with ties and zeros."""
    z, x = torch.tensor(z, dtype=torch.float64), torch.tensor(x, dtype=torch.float64)
    for region in (at(f"{norm}:radius={radius}", x), boxed(f"{norm}:radius={radius}", x)):
        projected = region.project(z)
        assert float(torch.linalg.vector_norm(projected, P[norm], dim=1).max()) <= radius + 1e-12
        assert float(region.violation(projected).max()) <= 1e-12
        rest = z - projected
        gap = (rest * (region.support(rest) - projected)).sum(1)
        assert float(gap.max()) <= 1e-10 * (1 + float(rest.abs().sum()))


def test_a_radius_per_channel_is_a_ball_per_channel():
    x = torch.rand(5, 3, 4, 4, dtype=torch.float64)
    z = torch.randn(5, 3, 4, 4, dtype=torch.float64)
    for norm in ("linf", "l2"):
        together = at(f"{norm}:radius=[0.1,0.2,0.3]", x)
        for channel, radius in enumerate((0.1, 0.2, 0.3)):
            alone = at(f"{norm}:radius={radius}", x[:, channel : channel + 1])
            for name in ("project", "support"):
                expected = getattr(alone, name)(z[:, channel : channel + 1])
                torch.testing.assert_close(getattr(together, name)(z)[:, channel : channel + 1], expected)
    with pytest.raises(UsageError, match="2 radii do not fit 3 channels"):
        at("linf:radius=[0.1,0.2]", x)


def test_a_ratio_is_kept_exactly():
    linf = robustfw.make("uncertainty", "linf:radius=8/255")
    assert linf.radius == Fraction(8, 255)
    assert float(linf.at(torch.zeros(1, 1, dtype=torch.float64)).radius) == 8 / 255


def test_pixels_are_counted_with_all_their_channels():
    x = torch.full((1, 3, 2, 2), 0.5, dtype=torch.float64)
    g = torch.zeros_like(x)
    g[0, :, 0, 1] = 1.0
    g[0, 0, 1, 1] = 2.0
    delta = boxed("l0:radius=1,unit=pixel", x).support(g)
    assert delta[0, :, 0, 1].tolist() == [0.5, 0.5, 0.5]
    assert int((delta != 0).sum()) == 3


def test_l0_says_that_it_is_not_convex():
    assert not at("l0", ZERO).convex
    assert at("l1", ZERO).convex


def test_uniform_samples_fill_the_ball():
    """‖δ‖₂/r of uniform points has the distribution U^{1/d}: its mean is d/(d + 1)."""
    x = torch.zeros(4000, 6, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    for norm, p in P.items():
        lengths = torch.linalg.vector_norm(at(f"{norm}:radius=2", x).sample(generator), p, dim=1) / 2
        assert float(lengths.mean()) == pytest.approx(6 / 7, abs=0.01)


@pytest.mark.parametrize("spec", ["linf:radius=-1", "l2:radius=inf", "l1:radius=nan", "l0:radius=1.5", "l0:unit=blob"])
def test_a_wrong_radius_is_refused(spec):
    with pytest.raises(UsageError):
        robustfw.make("uncertainty", spec)


def test_a_step_on_an_l1_ball_is_the_support_then_sparse_then_along_the_gradient():
    x, g = torch.full((1, 30), 0.5, dtype=torch.float64), torch.linspace(1, 4, 30, dtype=torch.float64)[None]
    region = boxed("l1:radius=1.5", x)
    delta = region.zero()
    whole, long, short = (region.ascent(g, delta, step) for step in (1.0, 0.9, 0.3))
    assert torch.equal(whole, region.support(g))
    assert float(long.sum()) == pytest.approx(3 * 0.9 * 1.5)
    assert int((long > 0).sum()) == 9  # half a unit each, the last one in part
    assert torch.nn.functional.cosine_similarity(short, g).item() == pytest.approx(1)
    assert float(short.norm()) == pytest.approx(3 * 0.3 * float(region.support(g).norm()))
    assert region.ascent(torch.zeros_like(g), delta, 0.3).isfinite().all()


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("linf:radius=8/255", robustfw_norms.Linf(radius=8 / 255)),
        ("linf:radius=[8/255,1]", robustfw_norms.Linf(radius=(8 / 255, 1))),
        ("l2:radius=128/255", robustfw_norms.L2(radius=128 / 255)),
        ("l1:radius=1/3", robustfw_norms.L1(radius=1 / 3)),
        ("l0:limit=1/3", robustfw_norms.L0(limit=1 / 3)),
    ],
)
def test_a_radius_from_the_shell_is_the_same_number_from_python(text, made):
    read = robustfw.make("uncertainty", text)
    assert read == made
    assert hash(read) == hash(made)
