"""Cross-entropy on clean examples, at worst cases (eq. 9), and their mixture (eq. 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, final

import attrs
from attrs.validators import ge, le, lt

from robustfw import Objective

if TYPE_CHECKING:
    from torch import Tensor, nn

    from robustfw.objective import WorstCase


def cross_entropy(logits: Tensor, y: Tensor, smoothing: float = 0.0) -> Tensor:
    """As `robustfw.losses.cross_entropy`, imported when it is needed."""
    from robustfw import losses

    return losses.cross_entropy(logits, y, smoothing)


SMOOTHING = "share of the label that all classes get alike"


def _smoothing() -> float:
    field: float = attrs.field(default=0.0, validator=[ge(0), lt(1)])
    return field


@final
@attrs.frozen
class Clean(Objective):
    """J(θ, x, y): standard training, cross-entropy on the data as it is."""

    smoothing: Annotated[float, SMOOTHING] = _smoothing()

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, worst_case: WorstCase) -> Tensor:
        """Asks for no worst case."""
        return cross_entropy(model(x), y, self.smoothing)


@final
@attrs.frozen
class Robust(Objective):
    """max_{δ ∈ 𝒰(x)} J(θ, x + δ, y): adversarial training, never on the clean data (eq. 9, Algorithm 1).

    The ascent raises J without smoothing: where a net is surer of the label than smoothing wants it to be, the smoothed
    loss is raised by making it surer still.
    """

    smoothing: Annotated[float, SMOOTHING] = _smoothing()

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, worst_case: WorstCase) -> Tensor:
        """Cross-entropy at the worst cases."""
        return cross_entropy(model(worst_case()), y, self.smoothing)


@final
@attrs.frozen
class Mixed(Objective):
    """α·J(θ, x, y) + (1 − α)·J(θ, x̃, y) (eq. 3, Goodfellow et al. 2014)."""

    alpha: Annotated[float, "weight of the clean loss"] = attrs.field(default=0.5, validator=[ge(0), le(1)])

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, worst_case: WorstCase) -> Tensor:
        """Two forward passes, so that batch norm sees clean and perturbed batches apart, as in training on either."""
        perturbed = worst_case()
        return self.alpha * cross_entropy(model(x), y) + (1 - self.alpha) * cross_entropy(model(perturbed), y)
