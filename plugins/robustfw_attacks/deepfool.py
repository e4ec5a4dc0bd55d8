"""DeepFool: straight to the nearest border of the linearised net, again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, final

import attrs
from attrs.validators import ge, gt, in_

from robustfw import Attack
from robustfw_attacks.nearest import Nearest, euclidean, largest
from robustfw_attacks.targets import others

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from torch import Tensor

    from robustfw.problem import InnerProblem
    from robustfw.regions import Region

GROWTH, MOST = 4.0, 0.02
"""The overshoot grows from step to step, up to the paper's 2 %."""


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
    as much: nets that are nearly linear where it matters are met at their border. A row ends when it is solved or, in
    a problem without a goal, misclassified; of a row that is never solved the δ of highest J is kept.

    A target leaves one border, that between it and its strongest rival. A problem without labels has no borders at
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

    def maximize(self, problem: InnerProblem, generator: torch.Generator) -> Tensor:
        """For each step two forward passes and a backward pass for each candidate, and a forward pass at the end."""
        import torch

        from robustfw import losses

        delta = problem.region.zero()
        if not problem.labelled:
            return problem.region.support(problem.value_and_grad(delta)[1])
        nearest = Nearest.none_yet(problem, self._measure)
        rows = torch.arange(len(problem), device=delta.device)
        borders = None
        for k in range(self.steps + 1):
            rest = problem[rows]
            logits = rest.logits(delta)
            value = rest.judged(logits)
            nearest.offer(delta, value, rows)
            solved = value.isposinf() if problem.goal else losses.misclassified(logits, rest.y)
            borders = others(logits, rest.y)[:, : self.candidates] if borders is None else borders
            if k == self.steps or solved.all() or not borders.shape[1]:
                break
            rows, delta, borders = rows[~solved], delta[~solved], borders[~solved]
            moved = self._moved(problem[rows], delta, borders, k)
            alive = (moved != delta).flatten(1).any(1)  # what does not move once never will
            rows, delta, borders = rows[alive], moved[alive], borders[alive]
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
        noise = torch.finfo(logits.dtype).eps * logits.to(kind).abs().amax(1, keepdim=True) * GROWTH**k
        wanted = depth * (1 + min(self.overshoot * GROWTH**k, MOST)) + noise
        return self._nearest(problem.region, delta, wanted, slopes.to(kind))

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

        n, k = wanted.shape
        row = torch.arange(n, device=delta.device)
        slope, far = slopes.flatten(0, 1), delta.repeat_interleave(k, 0)
        way = slope if self.norm == "l2" else slope.sign()
        length = (wanted.flatten() / inner_products(slope, way)).nan_to_num(0, 0, 0)
        moved = region[row.repeat_interleave(k)].project((far.to(slope) + per_row(length, slope) * way).to(delta.dtype))
        step = (moved - far).to(slope)
        distance = self._measure(step) * wanted.flatten() / inner_products(slope, step)
        distance = torch.where(inner_products(slope, step) > 0, distance, torch.inf)
        return moved[row * k + distance.reshape(n, k).argmin(1)]

    @property
    def _measure(self) -> Callable[[Tensor], Tensor]:
        return euclidean if self.norm == "l2" else largest
