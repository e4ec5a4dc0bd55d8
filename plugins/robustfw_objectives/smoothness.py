"""Smooth predictions: the Kullback-Leibler divergence between those at x and near x, which needs no label."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, final

import attrs
from attrs.validators import ge, gt

from robustfw import Objective, Penalty

if TYPE_CHECKING:
    from torch import Tensor, nn

    from robustfw.training.batch import Batch


@final
@attrs.frozen
class Vat(Penalty):
    """β · KL(p(·|x) ‖ p(·|x + r)), ‖r‖₂ = ε in the direction in which it grows fastest: virtual adversarial training.

    r = ε d, d the dominant eigenvector of the divergence's Hessian at x, by power iteration from a random direction:
    d ← H d / ‖H d‖, H d ≈ ∇_r KL(p(·|x) ‖ p(·|x + r)) / ξ at r = ξ d (Miyato et al. 2015). p(·|x) is held fixed, and no
    label is used. r belongs to the ball, not to the data range: x + r may leave it.

    Where few examples have labels, a β or ε that is too large keeps the net from learning these: one prediction for all
    is smoothest. On MNIST with 100 labels, a fifth of an epoch, β = 0.2 and ε = 1 help and β = 1 with ε = 2 ruins.

    The net is in evaluation mode and in full precision for this: other dropout masks at x and x + r, or rounding to
    bf16, would be greater than a difference over ξ. In float32 a ξ of 1e-6, which is often found, leaves nothing of H d
    but rounding; 0.01 leaves a cosine of 0.997 to the exact one (a net on 784 pixels).
    """

    beta: Annotated[float, "weight beside the loss's 1"] = attrs.field(
        default=1.0, validator=ge(0)
    )
    epsilon: Annotated[
        float, "ε: ℓ2 length of the perturbation, in units of the data"
    ] = attrs.field(default=1.0, validator=ge(0))
    xi: Annotated[
        float, "ξ: ℓ2 length of the step that the Hessian is estimated by"
    ] = attrs.field(default=0.01, validator=gt(0))
    iterations: Annotated[
        int, "of the power method: a forward and a backward pass each"
    ] = attrs.field(default=1, validator=ge(1))

    def penalty(self, model: nn.Module, x: Tensor, y: Tensor, batch: Batch) -> Tensor:
        """β · KL(p(·|x) ‖ p(·|x + r)) of each example, (batch,): 2 forward passes and 1 per iteration.

        Args:
            model: the net as the training runs it; the penalty uses the batch's plain one.
            x: examples, (batch, *shape).
            y: targets, which are not used.
            batch: gives the net, and draws the first directions.
        """
        from robustfw_objectives import divergence
        from robustfw_objectives.layers import evaluation_mode

        net = divergence.class_logits(batch, batch.plain)
        with evaluation_mode(batch.plain, x):
            start = batch.normal_like(x)
            reference, perturbed = divergence.virtual(
                net, x, start, self.epsilon, self.xi, self.iterations
            )
            return self.beta * divergence.kl(reference, net(perturbed))


@final
@attrs.frozen
class Trades(Objective):
    """J(θ, x, y) + β · KL(p(·|x) ‖ p(·|x̃)), x̃ the worst case of the divergence over 𝒰(x) (Zhang et al. 2019).

    Both predictions are learnt, each batch normalised by itself, as in the authors' code; β is their 1/λ.

    The divergence is least, and its gradient 0, at x̃ = x, where an attack without a random start would remain. What the
    attack raises is therefore the divergence from the prediction at x + n, n Gaussian noise of standard deviation
    0.001, the authors' noise at the start: a single step from x then goes where the divergence's curvature turns n.
    """

    beta: Annotated[float, "weight of the divergence; the authors take 1 to 10"] = (
        attrs.field(default=6.0, validator=ge(0))
    )

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, batch: Batch) -> Tensor:
        """The objective of each example, (batch,): an ascent, and two forward passes.

        Without a label only the divergence counts.

        Args:
            model: the net.
            x: examples, (batch, *shape).
            y: targets, (batch,).
            batch: gives worst cases, the loss and the task.
        """
        from robustfw_objectives import divergence

        net = divergence.class_logits(batch, model)
        perturbed = batch(
            loss=divergence.FromPrediction.near(model, net, x, batch.normal_like(x))
        )
        outputs = model(x)
        logits = batch.task.read(outputs, len(x))
        return batch.loss(outputs) + self.beta * divergence.kl(logits, net(perturbed))
