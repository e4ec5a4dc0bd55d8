"""Baselines that perturb the input at random instead of in the worst way: noise and dropout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, final

import attrs
from attrs.validators import ge, in_

from robustfw import DataError, Objective

if TYPE_CHECKING:
    from torch import Tensor, nn

    from robustfw.training.batch import Batch


def _check_bounds(
    _: object, field: attrs.Attribute[Any], value: tuple[float, ...] | None
) -> None:
    """Validator of attrs: two ascending numbers, or None."""
    if value is not None and not (len(value) == 2 and value[0] < value[1]):
        raise ValueError(
            f"{field.name} must be two ascending numbers like [0,1], or none, not {value}"
        )


def _check_rate(_: object, field: attrs.Attribute[Any], value: float) -> None:
    """Validator of attrs: a share in [0, 1)."""
    if not 0 <= value < 1:
        raise ValueError(
            f"{field.name} must be a share, at least 0 and less than 1, not {value}"
        )


@final
@attrs.frozen
class Noise(Objective):
    """J(θ, clip(x + n), y) with n random in each coordinate: the baseline of training with noise (Bishop 1995).

    Gaussian: n ~ N(0, scale²). Uniform: n ~ U(−scale, scale), of which the worst case over ``linf:radius=scale`` is the
    robust counterpart. Clipped to the data range, and drawn anew for each batch.
    """

    scale: Annotated[
        float,
        "standard deviation, or half the width of the interval; in units of the data",
    ] = attrs.field(default=0.1, validator=ge(0))
    kind: Annotated[
        Literal["gaussian", "uniform"], "distribution of each coordinate"
    ] = attrs.field(default="gaussian", validator=in_(("gaussian", "uniform")))
    bounds: Annotated[
        tuple[float, ...] | None,
        "the data range, which noisy examples keep; none: they need not",
    ] = attrs.field(default=(0.0, 1.0), validator=_check_bounds)

    @property
    def attacks(self) -> bool:
        """False: noise is no attack."""
        return False

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, batch: Batch) -> Tensor:
        """The loss on noisy examples, (batch,): one forward pass, none on clean examples.

        Args:
            model: the net.
            x: examples, (batch, *shape).
            y: targets, (batch,).
            batch: gives the loss, and draws the noise.

        Raises:
            DataError: x itself is outside the bounds, so that clipping would change it; checked on a CPU only, where
                the check does not wait for a device.
        """
        return batch.loss(model(self.add_noise(x, batch)))

    def add_noise(self, x: Tensor, batch: Batch) -> Tensor:
        """clip(x + n), (batch, *shape), n from the batch's own draws.

        Raises:
            DataError: x itself is outside the bounds (checked on a CPU only).
        """
        noise = (
            batch.normal_like(x)
            if self.kind == "gaussian"
            else 2 * batch.uniform_like(x) - 1
        )
        perturbed = x + self.scale * noise
        if self.bounds is None:
            return perturbed
        low, high = self.bounds
        if x.device.type == "cpu" and bool(((x < low) | (x > high)).any()):
            raise DataError(
                f"x is outside [{low:g}, {high:g}]: give noise the data's own range by its option bounds"
            )
        return perturbed.clamp(low, high)


@final
@attrs.frozen
class Dropout(Objective):
    """J(θ, m·x/(1 − rate), y) with m ∈ {0, 1} random in each coordinate: dropout on the input (Srivastava et al. 2014).

    Layers are left alone; a net that is to have dropout inside has it as layers of its own. What remains is scaled, so
    that the mean stays x, and may then leave the data range.
    """

    rate: Annotated[float, "share of the coordinates that become 0"] = attrs.field(
        default=0.2, validator=_check_rate
    )

    @property
    def attacks(self) -> bool:
        """False: dropout is no attack."""
        return False

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, batch: Batch) -> Tensor:
        """The loss on masked examples, (batch,): one forward pass.

        Args:
            model: the net.
            x: examples, (batch, *shape).
            y: targets, (batch,).
            batch: gives the loss, and draws the mask.
        """
        mask = batch.uniform_like(x) >= self.rate
        return batch.loss(model(x * mask / (1 - self.rate)))
