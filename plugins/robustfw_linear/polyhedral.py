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
from robustfw.regions import (
    Bound,
    Polyhedron,
    Region,
    exact_bound,
    normal_like,
    norms,
    per_row,
    uniform_like,
)

TOLERANCE = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
"""Options of the linear programs' solver."""
ROUNDING = 1e-12
"""Largest distance from the hull that counts as 0, relative to the size of hull and point."""

Array = NDArray[np.float64]


@final
@attrs.frozen(eq=False)
class PolytopeRegion(Region):
    """The convex hull of vertices, which contains 0; δ is (batch, n)."""

    like: Tensor
    vertices: Tensor
    """(batch, k, n)."""

    def violation(self, delta: Tensor) -> Tensor:
        """The distance to the hull, (batch,); 0 where only rounding is left."""
        exact = delta.to(self.vertices)
        distance = norms(exact - self._nearest(exact))
        eps = max(ROUNDING, 64 * torch.finfo(delta.dtype).eps)
        size = norms(exact) + self.vertices.abs().flatten(1).amax(1)
        return torch.where(distance > eps * size, distance, 0).to(delta.dtype)

    def project(self, point: Tensor) -> Tensor:
        """The nearest point of the hull; members stay as they are."""
        inside = per_row(self.violation(point), point) <= 0
        nearest = self._nearest(point.to(self.vertices))
        return torch.where(inside, point, nearest.to(point.dtype))

    def support(self, direction: Tensor) -> Tensor:
        """A vertex; the first at a tie, and 0 where the direction vanishes."""
        exact = direction.to(self.vertices)
        values = torch.einsum("bkn,bn->bk", self.vertices, exact)
        best = values.argmax(1)
        rows = torch.arange(len(best), device=best.device)
        vertex = self.vertices[rows, best]
        farthest = torch.where(norms(direction)[:, None] > 0, vertex, 0)
        return farthest.to(direction.dtype)

    def support_bound(self, direction: Tensor) -> Tensor:
        """The value at the best vertex, with room for rounding, (batch,)."""
        exact = direction.to(self.vertices)
        return exact_bound(exact, self.support(exact))

    def sample(self, generator: torch.Generator) -> Tensor:
        """Averages of the vertices with weights that are uniform on the simplex."""
        weights = -torch.log1p(-uniform_like(self.vertices[:, :, 0], generator))
        total = weights.sum(1, keepdim=True)
        weights = (weights / total).to(self.vertices)
        average = torch.einsum("bkn,bk->bn", self.vertices, weights)
        return average.to(self.like.dtype)

    def _nearest(self, point: Tensor) -> Tensor:
        """The nearest point of the hull to each row, members included."""
        all_vertices = self.vertices.cpu().numpy()
        points = point.cpu().numpy()
        nearest = [
            _nearest_in_hull(vertices, z)
            for vertices, z in zip(all_vertices, points, strict=True)
        ]
        rows = np.array(nearest).reshape(point.shape)
        return torch.as_tensor(rows).to(point)


def _nearest_in_hull(vertices: Array, point: Array) -> Array:
    """argmin ‖Vᵀλ − z‖ over the simplex.

    Without the sum in the constraints: min ‖Wᵀy‖² + (1ᵀy − 1)² over y ≥ 0, W = V − z, is at a multiple of the best λ,
    since for y = sλ its least value over s, ν/(1 + ν) with ν = ‖Wᵀλ‖², increases with ν.
    """
    differences = vertices - point
    size = float(np.abs(differences).max()) or 1.0
    sum_row = np.ones(len(vertices))
    system = np.vstack([differences.T / size, sum_row])
    right = np.append(np.zeros(len(point)), 1.0)
    weights, _ = nnls(system, right)
    shares = weights / weights.sum()
    return np.asarray(shares @ vertices)


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
        """The largest distance to a half-space, max_k (D δ − d)_k / ‖D_k‖, (batch,); 0 inside."""
        values = torch.einsum("bkn,bn->bk", self.normals, delta.to(self.normals))
        excess = values - self.offsets
        lengths = torch.linalg.vector_norm(self.normals, dim=2)
        safe_lengths = torch.where(lengths > 0, lengths, 1)
        distance = (excess / safe_lengths).amax(1)
        return distance.clamp(min=0).to(delta.dtype)

    def project(self, point: Tensor) -> Tensor:
        """The nearest point; members stay as they are."""
        projected = point.clone()
        rows = (self.violation(point) > 0).nonzero()[:, 0]
        all_normals = self.normals[rows].double().cpu().numpy()
        all_offsets = self.offsets[rows].double().cpu().numpy()
        points = point[rows].double().cpu().numpy()
        problems = zip(rows, all_normals, all_offsets, points, strict=True)
        for row, normals, offsets, z in problems:
            nearest = _nearest_in_polyhedron(normals, offsets, z)
            projected[row] = torch.as_tensor(nearest).to(point)
        return projected

    def support(self, direction: Tensor) -> Tensor:
        """A corner, by a linear program for each row that differs; 0 where the direction vanishes.

        In a robust program all rows ask in the same direction, so that one program serves them all. A joint program
        would choose among equally good corners of a row by what the others are.
        """
        farthest = torch.zeros_like(direction)
        corners: dict[tuple[bytes, ...], Array] = {}
        all_gains = direction.double().cpu().numpy()
        all_normals = self.normals.double().cpu().numpy()
        all_offsets = self.offsets.double().cpu().numpy()
        problems = zip(all_gains, all_normals, all_offsets, strict=True)
        for row, (gains, normals, offsets) in enumerate(problems):
            if not gains.any():
                continue
            key = (gains.tobytes(), normals.tobytes(), offsets.tobytes())
            if key not in corners:
                corners[key] = _farthest(gains, normals, offsets)
            farthest[row] = torch.as_tensor(corners[key]).to(direction)
        return farthest

    def clip(self, lower: Bound, upper: Bound) -> Region:
        """The members between two bounds, as a `robustfw.regions.Polyhedron` within a box."""
        # the rows of that polyhedron have their normals in common, as all rows of this one do
        nothing = self.normals.new_zeros(self.normals.shape[1:])
        normals = self.normals[0] if len(self) else nothing
        polyhedron = Polyhedron.from_inequalities(self.like, normals, self.offsets)
        return polyhedron.clip(lower, upper)

    def sample(self, generator: torch.Generator) -> Tensor:
        """Random members: a random share of the way from 0 to the corner in a random direction."""
        direction = normal_like(self.like, generator).to(self.like.dtype)
        corner = self.support(direction)
        share = uniform_like(self.like[:, :1], generator)
        return corner * share.to(corner)


def _farthest(gains: Array, normals: Array, offsets: Array) -> Array:
    """argmax ⟨g, δ⟩ over Dδ ≤ d, for gains g, normals D and offsets d."""
    largest = np.abs(gains).max()
    answer = linprog(
        -gains / largest,
        normals,
        offsets,
        bounds=(None, None),
        options=TOLERANCE,
    )
    if answer.x is None:
        raise PluginError(
            f"no farthest point of a polyhedron was found: {answer.message}"
        )
    return np.asarray(answer.x)


def _nearest_in_polyhedron(normals: Array, offsets: Array, point: Array) -> Array:
    """argmin ‖δ − z‖ over Dδ ≤ d: with x = δ − z, least distance programming for −Dx ≥ Dz − d (Lawson & Hanson)."""
    # 1. unit normals, so that the excess is a distance
    excess = normals @ point - offsets
    lengths = np.linalg.norm(normals, axis=1)
    lengths[lengths == 0] = 1
    normals = normals / lengths[:, None]
    excess = excess / lengths
    # 2. non-negative least squares, whose residual is in the direction of x
    size = excess.max()
    system = np.vstack([-normals.T, excess / size])
    right = np.append(np.zeros(len(point)), 1.0)
    weights, _ = nnls(system, right)
    residual = system @ weights - right
    step = size * residual[:-1] / residual[-1]
    return np.asarray(point - step)
