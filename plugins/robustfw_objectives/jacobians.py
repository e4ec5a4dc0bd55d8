"""Penalties on derivatives: of the loss in x, of each layer in its input, and on the layers' operator norms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, final

import attrs
from attrs.validators import ge

from robustfw import Penalty

if TYPE_CHECKING:
    from torch import Tensor, nn

    from robustfw.training.batch import Batch


@final
@attrs.frozen
class InputGradient(Penalty):
    """β · ‖∇ₓJ(θ, x, y)‖₂², squared: double backpropagation (Drucker & LeCun 1992; Ross & Doshi-Velez 2018).

    To first order max over ‖δ‖₂ ≤ r of J(θ, x + δ, y) is J + r‖∇ₓJ‖₂; the square is differentiable at 0, too. The
    net is in evaluation mode for the gradient. An example without a label has none.
    """

    beta: Annotated[float, "weight beside the loss's 1"] = attrs.field(
        default=1.0, validator=ge(0)
    )

    def penalty(self, model: nn.Module, x: Tensor, y: Tensor, batch: Batch) -> Tensor:
        """β‖∇ₓJ‖₂² of each example, (batch,): one forward and one backward pass, which is differentiated.

        Args:
            model: the net as the training runs it; the penalty uses the batch's plain one.
            x: examples, (batch, *shape).
            y: targets, (batch,).
            batch: gives the net and the loss.
        """
        import torch

        from robustfw_objectives.layers import evaluation_mode

        net = batch.plain  # a compiled one cannot be differentiated twice
        with evaluation_mode(net, x), torch.enable_grad():
            x = x.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(
                batch.loss(net(x)).sum(), x, create_graph=True
            )
        return self.beta * gradient.flatten(1).square().sum(1)


@final
@attrs.frozen
class Contractive(Penalty):
    """β Σ_l ‖∂h_{l+1}/∂h_l‖_F²: the layer-wise Jacobian penalty of the deep contractive network (Gu & Rigazio 2014).

    h_0, h_1, … are the inputs of the linear and convolutional layers in the order of their calls, and the last is the
    logits: each step is a layer with what follows it, activation and pool. The squared norms are estimated without bias
    by Hutchinson's probes, E‖vᵀ∂h_{l+1}/∂h_l‖² with random signs v; for outputs of no more units than there are probes
    the unit vectors are taken, which is exact. The net is in evaluation mode; no label is used.
    """

    beta: Annotated[float, "weight beside the loss's 1"] = attrs.field(
        default=0.01, validator=ge(0)
    )
    probes: Annotated[
        int,
        "random sign vectors per layer and example: a backward pass through it each",
    ] = attrs.field(default=1, validator=ge(1))

    def penalty(self, model: nn.Module, x: Tensor, y: Tensor, batch: Batch) -> Tensor:
        """β Σ_l ‖∂h_{l+1}/∂h_l‖_F² of each example, (batch,): a forward pass, and ``probes`` backward ones.

        Args:
            model: the net as the training runs it; the penalty uses the batch's plain one.
            x: examples, (batch, *shape).
            y: targets, which are not used.
            batch: gives the net, and draws the signs.
        """
        import torch

        from robustfw_objectives.layers import evaluation_mode
        from robustfw_objectives.probing import estimate_jacobians

        net = batch.plain  # a compiled one calls no hooks
        with evaluation_mode(net, x), torch.enable_grad():
            x = x.detach().requires_grad_()
            return self.beta * estimate_jacobians(
                net, x, self.probes, batch.uniform_like
            )


@final
@attrs.frozen
class OperatorNorm(Penalty):
    """β Σ_l ‖W_l‖₂: the largest singular value of each linear and convolutional layer (Szegedy et al. 2013, sec. 4.3).

    ‖W_l‖₂ is the Lipschitz constant of its layer, biases aside, as an operator on inputs of the size that it gets here:
    a convolution with its stride, padding, dilation and groups, not its reshaped kernel. It is found in the power
    method's Krylov space (Lanczos), anew and from the same vector each time: nothing is remembered, nothing is random.
    Batch norm's scale is not counted. All examples have this penalty; no label is used.
    """

    beta: Annotated[float, "weight beside the loss's 1"] = attrs.field(
        default=0.01, validator=ge(0)
    )
    iterations: Annotated[
        int, "applications of each layer and of its adjoint to one vector"
    ] = attrs.field(default=20, validator=ge(1))

    def penalty(self, model: nn.Module, x: Tensor, y: Tensor, batch: Batch) -> Tensor:
        """β Σ_l ‖W_l‖₂ for each example, (batch,): one forward pass of one example for the sizes, then layers alone.

        Args:
            model: the net as the training runs it; the penalty uses the batch's plain one.
            x: examples, (batch, *shape).
            y: targets, which are not used.
            batch: gives the net.
        """
        from robustfw_objectives.layers import evaluation_mode
        from robustfw_objectives.spectral import operator_norms

        net = batch.plain  # a compiled one calls no hooks
        with evaluation_mode(net, x):
            total = operator_norms(net, x, self.iterations).sum()
        return (self.beta * total).expand(len(x))
