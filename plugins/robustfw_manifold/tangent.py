"""The ball in the tangent space of the data, as an uncertainty set."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Self, final

import attrs

from robustfw import Ratio, UncertaintySet
from robustfw_manifold.bases import Transform
from robustfw_manifold.basis import Basis

if TYPE_CHECKING:
    from torch import Tensor

    from robustfw.data.splits import Split
    from robustfw_manifold.region import TangentBall


def _check_radius(_: object, field: attrs.Attribute[Any], value: Ratio) -> None:
    """Validator of attrs: a finite number, not negative."""
    if not 0 <= float(value) < math.inf:
        raise ValueError(f"{field.name} must be finite and not negative, not {value}")


@final
@attrs.frozen
class Tangent(UncertaintySet):
    """{δ ∈ Γ(x) : ‖δ‖₂ ≤ r}, Γ(x) the tangent space of the data at x (Shaham et al. 2015, eqs. 12-13).

    Where most pixels lie at an end of the data range, next to no move along the tangents stays in it. Of a radius of 2,
    half of 400 MNIST images had less than 10⁻⁷ left in a random direction, 90 % less than 0.08 (``basis=transform``):
    train with ``mnist:box=false``.
    """

    radius: Annotated[Ratio, "r; 128/255 is kept exactly"] = attrs.field(
        default=1.0, validator=_check_radius
    )
    basis: Annotated[
        Basis, "what spans the tangent space, in brackets: (knn-pca:n_components=8)"
    ] = attrs.field(factory=Transform)

    def fit(self, train: Split) -> Self:
        """The set with its basis fitted."""
        return attrs.evolve(self, basis=self.basis.fit(train))

    def at(self, x: Tensor) -> TangentBall:
        """The ball in the tangent space at each row of x, (batch, *shape); the basis is computed here, once."""
        from robustfw_manifold.region import TangentBall

        return TangentBall.build(
            x.detach(), self.basis.at(x.detach()), float(self.radius)
        )
