"""DeepFool: straight to the nearest border of the linearised net, again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, final

import attrs
from attrs.validators import ge, gt, in_

from robustfw import Attack
from robustfw_attacks.nearest import Nearest, euclidean, largest
from robustfw_attacks.targets import has_classes, mask_finitely, rank_rivals

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from torch import Tensor

    from robustfw.inner.problem import InnerProblem
    from robustfw.regions import Region

GROWTH = 4.0
"""The factor by which the overshoot grows from step to step."""
MOST = 0.02
"""The paper's overshoot, 2 %, which no step exceeds: as a share of the way, and of the logits' size."""
LARGEST_POWER = 64
"""The largest exponent of `GROWTH`: both overshoots have reached `MOST` before, and higher powers overflow."""


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

    **With a criterion** the result is the nearest solved δ that was met; of a row that is never solved, the δ of
    highest J.
    **Without a criterion** a row ends once it is misclassified, just beyond the border, and the δ of highest J is kept:
    no worst case of a large set, whose members go on from there.

    A target leaves one border, that between it and its strongest rival. A problem without classes has no borders at
    all; the best member of its linear model is `Region.support`, which is returned.
    """

    steps: Annotated[int, "most steps per example"] = attrs.field(
        default=50, validator=ge(1)
    )
    norm: Annotated[Literal["l2", "linf"], "in which distances are measured"] = (
        attrs.field(default="l2", validator=in_(("l2", "linf")))
    )
    candidates: Annotated[
        int, "wrong classes that are considered, the likeliest at x"
    ] = attrs.field(default=10, validator=ge(1))
    overshoot: Annotated[
        float, "of the first step, relative; later ones grow to 0.02"
    ] = attrs.field(default=1e-6, validator=gt(0))

    @property
    def minimal(self) -> bool:
        """True: the attack looks for the nearest solved member."""
        return True

    def maximize(self, problem: InnerProblem, generator: torch.Generator) -> Tensor:
        """Each example's nearest solved δ, or the one of highest J, (batch, *shape).

        Each step takes two forward passes and a backward pass for each candidate; the end takes a forward pass.
        """
        import torch

        from robustfw import losses

        delta = problem.region.zero()
        if not len(problem):
            return delta
        problem = mask_finitely(problem)
        nearest = Nearest.empty(problem, self._measure)
        rows = torch.arange(len(problem), device=delta.device)
        classes = (
            None  # the wrong classes whose borders are considered, chosen at δ = 0
        )
        for k in range(self.steps + 1):
            # 1. evaluate the net, and drop the rows that are solved
            attacked = problem[rows]
            logits = attacked.logits(delta)
            if not has_classes(attacked, logits):
                return problem.region.support(problem.linearize()[1])
            value = attacked.evaluate_outputs(logits)
            nearest.offer(delta, value, rows)
            solved = (
                value.isposinf()
                if problem.criterion
                else losses.misclassified(logits, attacked.y)
            )
            if classes is None:
                classes = rank_rivals(logits, attacked.y)[:, : self.candidates]
            if k == self.steps or solved.all():
                break
            rows = rows[~solved]
            delta = delta[~solved]
            classes = classes[~solved]
            # 2. step across the nearest border; a row that does not move once never will
            crossed = self._cross_border(problem[rows], delta, classes, k)
            alive = (crossed != delta).flatten(1).any(1)
            rows = rows[alive]
            delta = crossed[alive]
            classes = classes[alive]
            if not len(rows):
                break
        return nearest.delta

    def _cross_border(
        self, problem: InnerProblem, delta: Tensor, classes: Tensor, k: int
    ) -> Tensor:
        """The members just beyond the nearest border of the linearised net, in step number k."""
        import torch

        from robustfw import losses
        from robustfw.regions import wide

        def heights(logits: Tensor) -> Tensor:
            if problem.target is not None:
                return -losses.margin(logits, problem.target)[:, None]
            return logits.gather(1, classes) - logits.gather(1, problem.y[:, None])

        dtype = wide(delta.dtype)
        logits, height, slopes = problem.jacobian(delta, heights)
        depth = (-height.to(dtype)).clamp(min=0)
        # overshoot by a share of the way, and by the rounding of the logits
        growth = GROWTH ** min(k, LARGEST_POWER)
        share = min(torch.finfo(logits.dtype).eps * growth, MOST)
        rounding = share * self._logit_size(problem, logits.to(dtype), classes)
        rise = depth * (1 + min(self.overshoot * growth, MOST)) + rounding
        return self._nearest_crossing(problem.region, delta, rise, slopes.to(dtype))

    @staticmethod
    def _logit_size(problem: InnerProblem, logits: Tensor, classes: Tensor) -> Tensor:
        """The larger of the two logits that meet at each border, (rows, k): the border's height is rounded like it."""
        import torch

        label = problem.y if problem.target is None else problem.target
        rivals = (
            classes if problem.target is None else rank_rivals(logits, label)[:, :1]
        )
        return torch.maximum(
            logits.gather(1, rivals).abs(), logits.gather(1, label[:, None]).abs()
        )

    def _nearest_crossing(
        self, region: Region, delta: Tensor, rise: Tensor, slopes: Tensor
    ) -> Tensor:
        """The nearest of the k members P(δ + λw), each as far away as its border is.

        What a projection holds back counts as way still to go, so that a border which the set does not let δ approach
        is never the nearest.

        Args:
            region: n sets.
            delta: n members.
            rise: (n, k), by how much each border's function must rise.
            slopes: (n, k, *shape), the gradients of these functions.
        """
        import torch

        from robustfw.regions import inner_products, per_row
        from robustfw_attacks.directions import unit_rows

        n, k = rise.shape
        row = torch.arange(n, device=delta.device)
        slope = slopes.flatten(0, 1)
        start = delta.repeat_interleave(k, 0)
        # 1. measure in units of each slope's largest entry: no square of a slope underflows, however flat the net is
        unit = unit_rows(slope)
        height = rise.flatten() / slope.flatten(1).abs().amax(1)
        way = unit if self.norm == "l2" else unit.sign()
        # 2. go as far as the border is, at most to where squares can still be summed; nowhere where there is no slope
        largest_delta = torch.finfo(delta.dtype).max / 4
        largest_root = torch.finfo(slope.dtype).max ** 0.5
        farthest = min(largest_delta, largest_root / slope[0].numel())
        height = height.nan_to_num(0, farthest).clamp(max=farthest)
        length = height / inner_products(unit, way)
        length = length.nan_to_num(0, 0, 0)
        point = start.to(slope) + per_row(length, slope) * way
        regions = region[row.repeat_interleave(k)]
        projected = regions.project(point.to(delta.dtype))
        # 3. compare the ways to the borders, as if the projection let δ go on at the rate of this step
        step = (projected - start).to(slope)
        progress = inner_products(unit, step)
        way_to_border = self._measure(step) * (height / progress)
        distance = torch.where(progress > 0, way_to_border, torch.inf)
        nearest = distance.reshape(n, k).argmin(1)
        return projected[row * k + nearest]

    @property
    def _measure(self) -> Callable[[Tensor], Tensor]:
        """The length of each row in the chosen norm."""
        return euclidean if self.norm == "l2" else largest
