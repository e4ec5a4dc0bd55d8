"""Regions with corners: the hull of given vertices, and the solutions of given inequalities.

Support over vertices is a maximum over a list, and over inequalities a linear program. Projections are exact active-set
solutions by non-negative least squares (Lawson & Hanson 1974, ch. 23), row after row on the CPU: these sets are for
programs of some hundred constraints, not for images.
"""

from __future__ import annotations

from typing import final

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linprog, nnls
from torch import Tensor

from robustfw import PluginError
from robustfw.regions import Bound, Polyhedron, Region, exact_bound, normal_like, norms, per_row, uniform_like

TOLERANCE = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
ROUNDING = 1e-12
"""How far from the hull, relative to its size, a point that least squares finds inside may be."""

Array = NDArray[np.float64]


@final
@attrs.frozen(eq=False)
class PolytopeRegion(Region):
    """The convex hull of vertices, which contains 0; δ is (batch, n)."""

    like: Tensor
    vertices: Tensor
    """(batch, k, n)."""

    def violation(self, delta: Tensor) -> Tensor:
        """The distance to the hull."""
        exact = delta.to(self.vertices)
        distance = norms(exact - self._nearest(exact))
        eps = max(ROUNDING, 64 * torch.finfo(delta.dtype).eps)
        size = norms(exact) + self.vertices.abs().flatten(1).amax(1)
        return torch.where(distance > eps * size, distance, 0).to(delta.dtype)

    def project(self, point: Tensor) -> Tensor:
        inside = per_row(self.violation(point), point) <= 0
        return torch.where(inside, point, self._nearest(point.to(self.vertices)).to(point.dtype))

    def support(self, direction: Tensor) -> Tensor:
        """A vertex; the first at a tie, and 0 where the direction vanishes."""
        best = torch.einsum("bkn,bn->bk", self.vertices, direction.to(self.vertices)).argmax(1)
        vertex = self.vertices[torch.arange(len(best), device=best.device), best]
        return torch.where(norms(direction)[:, None] > 0, vertex, 0).to(direction.dtype)

    def support_bound(self, direction: Tensor) -> Tensor:
        """The value at the best vertex."""
        towards = direction.to(self.vertices)
        return exact_bound(towards, self.support(towards))

    def sample(self, generator: torch.Generator) -> Tensor:
        """Vertices with weights that are uniform on the simplex."""
        weights = -torch.log1p(-uniform_like(self.vertices[:, :, 0], generator))
        weights = (weights / weights.sum(1, keepdim=True)).to(self.vertices)
        return torch.einsum("bkn,bk->bn", self.vertices, weights).to(self.like.dtype)

    def _nearest(self, point: Tensor) -> Tensor:
        rows = zip(self.vertices.cpu().numpy(), point.cpu().numpy(), strict=True)
        found = [_nearest_in_hull(vertices, z) for vertices, z in rows]
        return torch.as_tensor(np.array(found).reshape(point.shape)).to(point)


def _nearest_in_hull(vertices: Array, point: Array) -> Array:
    """argmin ‖Vᵀλ − z‖ over the simplex.

    Without the sum in the constraints: min ‖Wᵀy‖² + (1ᵀy − 1)² over y ≥ 0, W = V − z, is at a multiple of the best λ,
    since for y = sλ its least value over s, ν/(1 + ν) with ν = ‖Wᵀλ‖², increases with ν.
    """
    apart = vertices - point
    size = float(np.abs(apart).max()) or 1.0
    weights, _ = nnls(np.vstack([apart.T / size, np.ones(len(vertices))]), np.append(np.zeros(len(point)), 1.0))
    return np.asarray(weights / weights.sum() @ vertices)


@final
@attrs.frozen(eq=False)
class PolyhedronRegion(Region):
    """{δ : D δ ≤ d} with d ≥ 0, bounded; δ is (batch, n)."""

    like: Tensor
    normals: Tensor
    """D, (batch, k, n)."""
    offsets: Tensor
    """d, (batch, k)."""

    def violation(self, delta: Tensor) -> Tensor:
        """The largest distance to a half-space, max_k (D δ − d)_k / ‖D_k‖."""
        beyond = torch.einsum("bkn,bn->bk", self.normals, delta.to(self.normals)) - self.offsets
        lengths = torch.linalg.vector_norm(self.normals, dim=2)
        return (beyond / torch.where(lengths > 0, lengths, 1)).amax(1).clamp(min=0).to(delta.dtype)

    def project(self, point: Tensor) -> Tensor:
        """The nearest point; members stay as they are."""
        outside = self.violation(point) > 0
        found = point.clone()
        chosen = (tensor[outside].double().cpu().numpy() for tensor in (self.normals, self.offsets, point))
        for row, (normals, offsets, z) in zip(outside.nonzero()[:, 0], zip(*chosen, strict=True), strict=True):
            found[row] = torch.as_tensor(_nearest_under(normals, offsets, z)).to(point)
        return found

    def support(self, direction: Tensor) -> Tensor:
        """A corner, by a linear program for each row that differs; 0 where the direction vanishes.

        In a robust program all rows ask in the same direction, so that one program serves them all. A joint program
        would choose among equally good corners of a row by what the others are.
        """
        found = torch.zeros_like(direction)
        corners: dict[tuple[bytes, ...], Array] = {}
        parts = (tensor.double().cpu().numpy() for tensor in (direction, self.normals, self.offsets))
        for row, (gains, normals, offsets) in enumerate(zip(*parts, strict=True)):
            if gains.any():
                key = (gains.tobytes(), normals.tobytes(), offsets.tobytes())
                if key not in corners:
                    corners[key] = _farthest(gains, normals, offsets)
                found[row] = torch.as_tensor(corners[key]).to(direction)
        return found

    def within(self, lower: Bound, upper: Bound) -> Region:
        """The inequalities and the box together, all rows in one interior-point method."""
        return self._bounded().within(lower, upper)

    def _bounded(self) -> Polyhedron:
        """The same set as a polyhedron of `robustfw.regions`, whose rows have all inequalities in common."""
        normals = self.normals[0] if len(self) else self.normals.new_zeros(self.normals.shape[1:])
        return Polyhedron.of(self.like, normals, self.offsets)

    def sample(self, generator: torch.Generator) -> Tensor:
        """A random share of the way from 0 to the corner in a random direction."""
        corner = self.support(normal_like(self.like, generator).to(self.like.dtype))
        return corner * uniform_like(self.like[:, :1], generator).to(corner)


def _farthest(gains: Array, normals: Array, offsets: Array) -> Array:
    """argmax ⟨g, δ⟩ over Dδ ≤ d."""
    answer = linprog(-gains / np.abs(gains).max(), normals, offsets, bounds=(None, None), options=TOLERANCE)
    if answer.x is None:
        raise PluginError(f"no farthest point of a polyhedron was found: {answer.message}")
    return np.asarray(answer.x)


def _nearest_under(normals: Array, offsets: Array, point: Array) -> Array:
    """argmin ‖δ − z‖ over Dδ ≤ d: with x = δ − z, least distance programming for −Dx ≥ Dz − d (Lawson & Hanson)."""
    needed = normals @ point - offsets
    lengths = np.linalg.norm(normals, axis=1)
    lengths[lengths == 0] = 1
    normals, needed = normals / lengths[:, None], needed / lengths
    size = needed.max()
    system = np.vstack([-normals.T, needed / size])
    weights, _ = nnls(system, np.append(np.zeros(len(point)), 1.0))
    rest = system @ weights - np.append(np.zeros(len(point)), 1.0)
    return np.asarray(point - size * rest[:-1] / rest[-1])
