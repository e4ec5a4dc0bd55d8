"""The penalty of the manifold tangent classifier."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self, final

import attrs
from attrs.validators import ge, in_

from robustfw import Objective
from robustfw_manifold.bases import Basis, Transform

if TYPE_CHECKING:
    from torch import Tensor, nn

    from robustfw.objective import WorstCase
    from robustfw.splits import Split


@final
@attrs.frozen
class TangentProp(Objective):
    """J(θ, x, y) + β Σ_u ⟨u, ∇ₓo(x)⟩², u in a basis of the tangent space at x (eq. 4; Rifai et al. 2011)."""

    beta: Annotated[float, "β, weight of the penalty"] = attrs.field(default=0.1, validator=ge(0))
    basis: Annotated[Basis, "what spans the tangent space, in brackets: (knn-pca:dim=8)"] = attrs.field(
        factory=Transform
    )
    output: Annotated[
        Literal["logits", "label", "loss"], "o: every logit, summed over; that of the label; or the loss J itself"
    ] = attrs.field(default="logits", validator=in_(("logits", "label", "loss")))

    def fitted(self, train: Split) -> Self:
        """The objective with its basis fitted."""
        return attrs.evolve(self, basis=self.basis.fitted(train))

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, worst_case: WorstCase) -> Tensor:
        """Cross-entropy on the data as it is, and the penalty."""
        from robustfw import losses

        return losses.cross_entropy(model(x), y) + self.penalty(model, x, y, worst_case)

    def penalty(self, model: nn.Module, x: Tensor, y: Tensor, worst_case: WorstCase) -> Tensor:
        """β Σ_u ⟨u, ∇ₓo(x)⟩², (batch,); asks for no worst case."""
        from robustfw_manifold.directional import squares

        return self.beta * squares(model, x, y, self.basis.at(x.detach()), self.output)
