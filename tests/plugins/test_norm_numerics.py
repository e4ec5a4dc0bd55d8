"""Norm balls in numbers of the machine: single rows, half precision, large points, no numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import robustfw

from ..perturbations import at
from .balls import boxed, column

P = {"linf": np.inf, "l2": 2, "l1": 1}


@pytest.mark.parametrize("norm", ["linf", "l2", "l1", "l0"])
def test_a_batch_equals_its_rows_bit_for_bit(norm):
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(9, 1, 28, 28, generator=generator)
    z = torch.randn(9, 1, 28, 28, generator=generator)
    z *= torch.tensor([1, 1e-30, 1, 1e-13, 1, 1e15, 1, 0, 1])[:, None, None, None]
    for region in (at(norm, x), boxed(norm, x)):
        for name in ("violation", "project", "support"):
            whole = getattr(region, name)(z)
            for i in range(len(x)):
                assert torch.equal(getattr(region[i : i + 1], name)(z[i : i + 1]), whole[i : i + 1])


@pytest.mark.parametrize("norm", ["linf", "l2", "l1", "l0"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_members_are_members_exactly(norm, dtype):
    """Rounded toward zero: not even the last bit leaves the set or the data range."""
    x = torch.rand(20, 3, 6, 6).to(dtype)
    region = at(norm, x).clip(0 - x.float(), 1 - x.float())
    for delta in (region.project(torch.randn_like(x)), region.support(torch.randn_like(x))):
        moved = x.double() + delta.double()
        assert float(moved.min()) >= 0
        assert float(moved.max()) <= 1
        if norm != "l0":
            radius = float(robustfw.make("uncertainty", norm).radius)
            reached = torch.linalg.vector_norm(delta.double().flatten(1), P[norm], dim=1)
            assert float(reached.max()) <= radius * (1 + 1e-6)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_large_points_and_many_dimensions_lose_no_accuracy(norm):
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(4, 3, 64, 64, generator=generator)
    for scale in (1e-8, 1.0, 1e6):
        z = scale * torch.randn(4, 3, 64, 64, generator=generator)
        region, exact = boxed(f"{norm}:radius=5", x), boxed(f"{norm}:radius=5", x.double())
        for name in ("project", "support"):
            narrow, wide = getattr(region, name)(z), getattr(exact, name)(z.double())
            if name == "project":  # as exact as if the point had been rounded once
                torch.testing.assert_close(narrow.double(), wide, atol=2e-6 + 2e-7 * scale, rtol=1e-5)
            assert float(region.violation(narrow).max()) <= 1e-5
            gained, possible = ((d.double() * z.double()).sum((1, 2, 3)) for d in (narrow, wide))
            torch.testing.assert_close(gained, possible, rtol=1e-5, atol=1e-6 * scale)


def test_peers_first_cases():
    """Defects found in other libraries, as inputs: a row inside beside a row outside, ties, radius 0, a spike."""
    mixed = torch.stack([torch.full((4,), 0.01), torch.full((4,), 3.0)]).double()
    projected = at("l1:radius=1", mixed).project(mixed)
    torch.testing.assert_close(projected[0], mixed[0])
    torch.testing.assert_close(projected[1], torch.full((4,), 0.25, dtype=torch.float64))
    ties = column(2, 2, 2)
    assert float(at("l1:radius=1", ties).support(ties).abs().sum()) == 1
    assert float(at("l1:radius=0", ties).project(ties).abs().sum()) == 0
    assert float(at("l1:radius=1", ties).violation(column(5, -5, 0))) == pytest.approx(9)
    spike = torch.zeros(1, 1, 2, 2, dtype=torch.float64)
    spike[0, 0, 0, 0] = 7
    assert float(at("l1:radius=1", spike).project(spike)[0, 0, 0, 0]) == 1


def test_a_row_that_is_not_a_number_leaks_into_no_other():
    z = torch.randn(3, 5, dtype=torch.float64)
    z[1, 2] = torch.nan
    for norm in ("linf", "l2", "l1"):
        projected = at(norm, z).project(z)
        assert projected[[0, 2]].isfinite().all()
