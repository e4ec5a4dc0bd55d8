"""The penalty of the manifold tangent classifier."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self, final

import attrs
from attrs.validators import ge, in_

from robustfw import Penalty, UsageError
from robustfw_manifold.bases import Transform
from robustfw_manifold.basis import Basis

if TYPE_CHECKING:
    from torch import Tensor, nn

    from robustfw.data.splits import Split
    from robustfw.training.batch import Batch


@final
@attrs.frozen
class TangentProp(Penalty):
    """β Σ_u ⟨u, ∇ₓo(x)⟩², u in a basis of the tangent space at x (eq. 4; Rifai et al. 2011).

    The net is in evaluation mode for the derivatives. With ``output=logits`` no label is used; with the others an
    example without a label has no penalty.
    """

    beta: Annotated[float, "β, weight of the penalty"] = attrs.field(
        default=0.1, validator=ge(0)
    )
    basis: Annotated[
        Basis, "what spans the tangent space, in brackets: (knn-pca:n_components=8)"
    ] = attrs.field(factory=Transform)
    output: Annotated[
        Literal["logits", "label", "loss"],
        "o: every logit, summed over; that of the label; or the loss J itself",
    ] = attrs.field(default="logits", validator=in_(("logits", "label", "loss")))

    def fit(self, train: Split) -> Self:
        """The objective with its basis fitted."""
        return attrs.evolve(self, basis=self.basis.fit(train))

    def penalty(self, model: nn.Module, x: Tensor, y: Tensor, batch: Batch) -> Tensor:
        """β Σ_u ⟨u, ∇ₓo(x)⟩² of each example, (batch,).

        It takes one pass in forward mode, of each example once for each direction, and no worst case.

        Args:
            model: the net as the training runs it; the penalty uses the batch's plain one.
            x: examples, (batch, *shape).
            y: labels, (batch,).
            batch: gives the net and the task.

        Raises:
            UsageError: the output needs classes, and the task has none.
        """
        from robustfw_manifold.directional import squares

        if self.output != "logits" and not batch.task.labelled:
            raise UsageError(
                f"output={self.output} is for classes, which this data has not: take output=logits"
            )
        read = batch.task.read if batch.task.labelled else None
        return self.beta * squares(
            batch.plain, x, y, self.basis.at(x.detach()), self.output, read
        )
