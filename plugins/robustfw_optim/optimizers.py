"""Optimizers as recipes with options: torch's own, and Muon. torch is imported when one is built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, final

import attrs
from attrs.validators import ge, gt, lt

from robustfw import Optimizer

if TYPE_CHECKING:
    from collections.abc import Iterable

    import torch
    from torch import nn


@final
@attrs.frozen
class Sgd(Optimizer):
    """Stochastic gradient descent."""

    momentum: Annotated[float, "heavy-ball momentum"] = attrs.field(
        default=0.9, validator=[ge(0), lt(1)]
    )
    nesterov: Annotated[bool, "Nesterov's form of it"] = True
    weight_decay: Annotated[float, "ℓ2 penalty, added to the gradient"] = attrs.field(
        default=5e-4, validator=ge(0)
    )

    def build(
        self, parameters: Iterable[nn.Parameter], learning_rate: float
    ) -> torch.optim.Optimizer:
        """torch.optim.SGD; without momentum it cannot be Nesterov's."""
        from torch.optim import SGD

        nesterov = self.nesterov and self.momentum > 0
        return SGD(
            parameters,
            learning_rate,
            momentum=self.momentum,
            nesterov=nesterov,
            weight_decay=self.weight_decay,
        )


@final
@attrs.frozen
class Muon(Optimizer):
    """Orthogonalised momentum for the filters of convolutions, gradient descent for all other parameters (Jordan 2024).

    A step turns a layer's filters W, a matrix with a row for each, by the learning rate: W ← W − lr · ‖W‖ · O/‖O‖. O is
    roughly the matrix nearest to the momentum among those whose singular values are 1; ‖W‖ stays the same. It is meant
    for nets with a norm after each convolution, where only the direction of W matters.
    """

    momentum: Annotated[float, "heavy-ball momentum, Nesterov's form"] = attrs.field(
        default=0.75, validator=[ge(0), lt(1)]
    )
    others: Annotated[
        float, "learning rate of other parameters, in units of the filters'"
    ] = attrs.field(default=8.0, validator=gt(0))
    weight_decay: Annotated[
        float, "ℓ2 penalty of other parameters, added to their gradient"
    ] = attrs.field(default=5e-4, validator=ge(0))

    def build(
        self, parameters: Iterable[nn.Parameter], learning_rate: float
    ) -> torch.optim.Optimizer:
        """An `OrthogonalSGD`: torch.optim.SGD with other steps for filters."""
        from robustfw_optim.muon import OrthogonalSGD

        return OrthogonalSGD(
            parameters,
            learning_rate,
            others=self.others * learning_rate,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
        )


@final
@attrs.frozen
class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""

    weight_decay: Annotated[float, "decoupled weight decay"] = attrs.field(
        default=0.01, validator=ge(0)
    )
    beta1: Annotated[float, "decay of the mean gradient"] = attrs.field(
        default=0.9, validator=[ge(0), lt(1)]
    )
    beta2: Annotated[float, "decay of the mean square"] = attrs.field(
        default=0.999, validator=[ge(0), lt(1)]
    )

    def build(
        self, parameters: Iterable[nn.Parameter], learning_rate: float
    ) -> torch.optim.Optimizer:
        """torch.optim.AdamW."""
        from torch.optim import AdamW as TorchAdamW

        return TorchAdamW(
            parameters,
            learning_rate,
            betas=(self.beta1, self.beta2),
            weight_decay=self.weight_decay,
        )
