"""A net that begins with the weights of another run, as a model like any other."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, final

import attrs
from attrs.validators import ge, in_, optional

from robustfw.hookspecs import hookimpl
from robustfw.model import Model
from robustfw.training.recipe import make_by_name

if TYPE_CHECKING:
    from torch import nn

    from robustfw.data.spec import DataSpec
    from robustfw.hookspecs import Add


def _absolute(path: Any) -> Any:
    """A path as a place that is the same from every folder."""
    if path is None:
        return None
    return Path(path).expanduser().absolute()


@final
@attrs.frozen
class FineTuned(Model):
    """The net of another run, to be trained further: ``robustfw train --from RUN`` writes this spec.

    Training begins with the run's weights, normalisation included. Where the data has another number of classes, the
    last layer is replaced by a fresh one. Frozen layers keep their weights, and their batch norm its statistics.
    """

    run: Annotated[
        Path | None, "the run directory that it begins as; none: fresh weights"
    ] = attrs.field(default=None, converter=_absolute)
    model: Annotated[Model, "spec of the net in that run"] = attrs.field(
        factory=functools.partial(make_by_name, "model", "mlp")
    )
    weights: Annotated[Literal["best", "last"], "which of the run's weights"] = (
        attrs.field(default="best", validator=in_(("best", "last")))
    )
    classes: Annotated[
        int | None, "classes of the data in that run; none: those of the data here"
    ] = attrs.field(default=None, validator=optional(ge(1)))
    mean: Annotated[
        tuple[float, ...] | None,
        "mean of the data in that run, by which nets standardise",
    ] = None
    std: Annotated[
        tuple[float, ...] | None, "standard deviation of the data in that run"
    ] = None
    freeze: Annotated[
        tuple[str, ...],
        "layers that keep their weights, by name or pattern: [conv1, 'layer1*']; [body]: all but the last layer",
    ] = ()
    head: Annotated[
        Literal["auto", "keep", "new"],
        "the last layer: kept, new, or new where the number of classes is another",
    ] = attrs.field(default="auto", validator=in_(("auto", "keep", "new")))

    def build(self, spec: DataSpec) -> nn.Module:
        """The net with the run's weights.

        Raises:
            RunError: there is no run, or its weights do not fit.
            UsageError: a name in ``freeze`` is that of no layer, or the last layer cannot be replaced.
        """
        from robustfw.training import _starting

        return _starting.build(self, spec)

    def build_untrained(self, spec: DataSpec) -> nn.Module:
        """The net without the run's weights; the run may be gone."""
        from robustfw.training import _starting

        return _starting.build(attrs.evolve(self, run=None), spec)


@hookimpl
def robustfw_register(add: Add) -> None:
    """Register the model by name."""
    add("fine-tuned", FineTuned)
