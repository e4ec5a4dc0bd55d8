"""Averages of the weights over the training, which are evaluated in place of the last ones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Annotated, final

import attrs
from attrs.validators import ge, gt, lt

from robustfw.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor, nn
    from torch.optim.swa_utils import AveragedModel

    from robustfw.hookspecs import Add


class Averaging(ABC):
    """How weights are averaged. A subclass is a frozen attrs class whose fields are its options."""

    @abstractmethod
    def build(self, model: nn.Module) -> AveragedModel:
        """torch's AveragedModel of a net; its ``module`` is the net that is evaluated."""

    @abstractmethod
    def update(self, average: AveragedModel, model: nn.Module, progress: float) -> None:
        """Add the weights after an update to the average.

        Args:
            average: the average, which is changed.
            model: the net as the update has left it.
            progress: the share of the training that is done, from 0 to 1.
        """

    def finish(self, average: AveragedModel, batches: Iterable[Tensor]) -> None:
        """Prepare the average for its evaluation after an epoch; by default nothing is done.

        Args:
            average: the average, which may be changed.
            batches: training examples x, (batch, *shape) each.
        """
        del average, batches


@final
@attrs.frozen
class Ema(Averaging):
    """θ̄ ← decay·θ̄ + (1 − decay)·θ after each update, buffers too: the exponential moving average."""

    decay: Annotated[float, "share of the average that is kept at each update"] = (
        attrs.field(default=0.999, validator=[gt(0), lt(1)])
    )

    def build(self, model: nn.Module) -> AveragedModel:
        """An average that begins as the net."""
        from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

        return AveragedModel(
            model, multi_avg_fn=get_ema_multi_avg_fn(self.decay), use_buffers=True
        )

    def update(self, average: AveragedModel, model: nn.Module, progress: float) -> None:
        """Move the average towards the weights by the share 1 − decay.

        Args:
            average: the average, which is changed.
            model: the net.
            progress: not used.
        """
        average.update_parameters(model)


@final
@attrs.frozen
class Swa(Averaging):
    """The mean of the weights from a share of the training on: stochastic weight averaging (Izmailov et al. 2018).

    The net's batch norm statistics do not belong to the mean of its weights, so they are measured anew before each
    evaluation, on training examples without augmentation. Until averaging begins, the net itself is evaluated.
    """

    start: Annotated[float, "share of the training after which it begins"] = (
        attrs.field(default=0.75, validator=[ge(0), lt(1)])
    )
    batches: Annotated[
        int, "training batches by which batch norm's statistics are measured"
    ] = attrs.field(default=100, validator=ge(1))

    def build(self, model: nn.Module) -> AveragedModel:
        """An average that begins as the net."""
        from torch.optim.swa_utils import AveragedModel

        return AveragedModel(model)

    def update(self, average: AveragedModel, model: nn.Module, progress: float) -> None:
        """Add the weights to the mean; before averaging begins, copy them.

        Args:
            average: the average, which is changed.
            model: the net.
            progress: the share of the training that is done, from 0 to 1.
        """
        import torch

        if progress >= self.start:
            average.update_parameters(model)
            return
        means = average.module.state_dict().values()
        values = model.state_dict().values()
        with torch.no_grad():
            for mean, value in zip(means, values, strict=True):
                mean.copy_(value)

    def finish(self, average: AveragedModel, batches: Iterable[Tensor]) -> None:
        """Measure batch norm's statistics at the mean weights, over the first batches."""
        import itertools

        from torch.optim.swa_utils import update_bn

        if int(average.n_averaged) > 0:
            update_bn(itertools.islice(batches, self.batches), average.module)


@hookimpl
def robustfw_register(add: Add) -> None:
    """Register the averages by name."""
    add("ema", Ema)
    add("swa", Swa)
