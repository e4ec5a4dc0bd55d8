"""DeepFool: straight to the nearest border of the linearised net, again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, final

import attrs
from attrs.validators import ge, gt, in_

from robustfw import Attack
from robustfw_attacks.nearest import Nearest, euclidean, largest
from robustfw_attacks.targets import has_classes, others, with_finite_logits

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from torch import Tensor

    from robustfw.inner.problem import InnerProblem
    from robustfw.regions import Region

GROWTH = 4.0
"""The overshoot grows by this factor from step to step,"""
MOST = 0.02
"""up to the paper's 2 %, of the way as of the logits' own size."""


@final
@attrs.frozen
class DeepFool(Attack):
    """δ ← the nearest member to δ of 𝒰 that crosses a border of the linearised net (Moosavi-Dezfooli et al. 2016).

    Between y and another class k runs a border, z_k − z_y = f_k + ⟨w_k, s⟩ = 0 to first order. A step goes to the
    border that is nearest: in ℓ2 along w_k, to |f_k|/‖w_k‖₂, and with ``norm=linf`` along sign(w_k), to |f_k|/‖w_k‖₁.
    It is projected on the set, and what the projection holds back is left to the next step, with new gradients. Longer
    steps that make up for it at once, and are the nearest for a linear net within the data range, were measured too:
    on MNIST they took half the time and ended a tenth farther away. Where the set holds nothing back, one step is
    exact for a linear net.

    The paper goes 2 % too far each time. Here the first step goes a millionth too far and each further one four times
    as much: nets that are nearly linear where it matters are met at their border.

    **With a goal** the result is the nearest solved δ that was met; of a row that is never solved, the δ of highest J.
    **Without a goal** a row ends once it is misclassified, just beyond the border, and the δ of highest J is kept: no
    worst case of a large set, whose members go on from there.

    A target leaves one border, that between it and its strongest rival. A problem without classes has no borders at
    all; the best member of its linear model is `Region.support`, which is returned.
    """

    steps: Annotated[int, "most steps per example"] = attrs.field(default=50, validator=ge(1))
    norm: Annotated[Literal["l2", "linf"], "in which distances are measured"] = attrs.field(
        default="l2", validator=in_(("l2", "linf"))
    )
    candidates: Annotated[int, "wrong classes that are considered, the likeliest at x"] = attrs.field(
        default=10, validator=ge(1)
    )
    overshoot: Annotated[float, "of the first step, relative; later ones grow to 0.02"] = attrs.field(
        default=1e-6, validator=gt(0)
    )

    @property
    def minimal(self) -> bool:
        """The nearest solved member is what it looks for."""
        return True

    def maximize(self, problem: InnerProblem, generator: torch.Generator) -> Tensor:
        """For each step two forward passes and a backward pass for each candidate, and a forward pass at the end."""
        import torch

        from robustfw import losses

        delta = problem.region.zero()
        if not len(problem):
            return delta
        problem = with_finite_logits(problem)
        nearest = Nearest.none_yet(problem, self._measure)
        rows = torch.arange(len(problem), device=delta.device)
        borders = None
        for k in range(self.steps + 1):
            rest = problem[rows]
            logits = rest.logits(delta)
            if not has_classes(rest, logits):
                return problem.region.support(problem.linearized()[1])
            value = rest.judged(logits)
            nearest.offer(delta, value, rows)
            solved = value.isposinf() if problem.goal else losses.misclassified(logits, rest.y)
            borders = others(logits, rest.y)[:, : self.candidates] if borders is None else borders
            if k == self.steps or solved.all():
                break
            rows, delta, borders = rows[~solved], delta[~solved], borders[~solved]
            moved = self._moved(problem[rows], delta, borders, k)
            alive = (moved != delta).flatten(1).any(1)  # what does not move once never will
            rows, delta, borders = rows[alive], moved[alive], borders[alive]
            if not len(rows):
                break
        return nearest.delta

    def _moved(self, problem: InnerProblem, delta: Tensor, borders: Tensor, k: int) -> Tensor:
        """The members beyond the nearest border of the linearised net."""
        import torch

        from robustfw import losses
        from robustfw.regions import wide

        def heights(logits: Tensor) -> Tensor:
            if problem.target is not None:
                return -losses.margin(logits, problem.target)[:, None]
            return logits.gather(1, borders) - logits.gather(1, problem.y[:, None])

        kind = wide(delta.dtype)
        logits, height, slopes = problem.jacobian(delta, heights)
        depth = (-height.to(kind)).clamp(min=0)
        # GROWTH**k is beyond every float from some k on: both overshoots have an end before
        growth = GROWTH ** min(k, 64)
        noise = min(torch.finfo(logits.dtype).eps * growth, MOST) * self._size(problem, logits.to(kind), borders)
        wanted = depth * (1 + min(self.overshoot * growth, MOST)) + noise
        return self._nearest(problem.region, delta, wanted, slopes.to(kind))

    @staticmethod
    def _size(problem: InnerProblem, logits: Tensor, borders: Tensor) -> Tensor:
        """The larger of the two logits that meet at each border, (rows, k): its height is rounded by a share of it."""
        import torch

        own = problem.y if problem.target is None else problem.target
        rivals = borders if problem.target is None else others(logits, own)[:, :1]
        return torch.maximum(logits.gather(1, rivals).abs(), logits.gather(1, own[:, None]).abs())

    def _nearest(self, region: Region, delta: Tensor, wanted: Tensor, slopes: Tensor) -> Tensor:
        """Of the k members P(δ + λw), each as far as its border is, the one that gets there by the shortest way.

        What a projection holds back counts as way still to go, so that a border which the set does not let δ approach
        is never the nearest.

        Args:
            region: n sets.
            delta: n members.
            wanted: (n, k), the heights of the borders.
            slopes: (n, k, *shape).
        """
        import torch

        from robustfw.regions import inner_products, per_row
        from robustfw_attacks.directions import unit_rows

        n, k = wanted.shape
        row = torch.arange(n, device=delta.device)
        slope, far = slopes.flatten(0, 1), delta.repeat_interleave(k, 0)
        # 1. heights in units of each slope's largest entry: no square of a slope vanishes, however flat the net is
        unit = unit_rows(slope)
        height = wanted.flatten() / slope.flatten(1).abs().amax(1)
        way = unit if self.norm == "l2" else unit.sign()
        # 2. as far as the border is, or as numbers whose squares can be summed go; nowhere where there is no slope
        farthest = min(torch.finfo(delta.dtype).max / 4, torch.finfo(slope.dtype).max ** 0.5 / slope[0].numel())
        height = height.nan_to_num(0, farthest).clamp(max=farthest)
        length = (height / inner_products(unit, way)).nan_to_num(0, 0, 0)
        moved = region[row.repeat_interleave(k)].project((far.to(slope) + per_row(length, slope) * way).to(delta.dtype))
        # 3. the whole way, if the projection lets δ go on as it began
        step = (moved - far).to(slope)
        progress = inner_products(unit, step)
        distance = torch.where(progress > 0, self._measure(step) * (height / progress), torch.inf)
        return moved[row * k + distance.reshape(n, k).argmin(1)]

    @property
    def _measure(self) -> Callable[[Tensor], Tensor]:
        return euclidean if self.norm == "l2" else largest
