"""Adversarial examples in 8 bits: rounded so that they stay in their set where that is possible, and measured again."""

from __future__ import annotations

from typing import final

import attrs
import torch
from torch import Tensor, nn

from robustfw.data.bounds import Bounds, ends
from robustfw.evaluation._accuracy import device_of
from robustfw.inner.adversary import TOLERANCE
from robustfw.inner.freezing import freeze
from robustfw.inner.threat import Threat
from robustfw.regions import norms
from robustfw.task import Task

SNAP = 1e-3
"""Distance from a level, in levels, within which a value is on it: rounding of k/255 in single precision."""


@final
@attrs.frozen(eq=False)
class Levels:
    """The 256 values of an image file, spread over the range of the data."""

    low: Tensor
    """The value of level 0, which broadcasts to a batch."""
    width: Tensor
    """The distance from level 0 to level 255."""

    @classmethod
    def over(cls, bounds: Bounds, *examples: Tensor) -> Levels:
        """The levels of a data range; where there is none, of the range of the given batches of examples."""
        like = examples[0]
        if bounds is None:
            low = torch.stack([batch.min() for batch in examples]).min()
            high = torch.stack([batch.max() for batch in examples]).max()
        else:
            lower, upper = ends(bounds, like)
            low = torch.as_tensor(lower)
            high = torch.as_tensor(upper)
        width = (high - low).to(like)
        return cls(low.to(like), width.where(width > 0, torch.ones_like(width)))

    def positions(self, x: Tensor) -> Tensor:
        """Where values lie between the levels: 0 to 255."""
        return (x - self.low) / self.width * 255

    def encode(self, x: Tensor) -> Tensor:
        """The nearest levels, uint8."""
        return self.positions(x).round().clamp(0, 255).to(torch.uint8)

    def encode_towards(self, perturbed: Tensor, x: Tensor) -> Tensor:
        """The levels next to x̃ on the side of x, uint8: no value changes by more than in x̃, where x is on a level."""
        position = self.positions(perturbed)
        rises = perturbed > x
        rounded = torch.where(rises, position.floor(), position.ceil())
        nearest = position.round()
        on_a_level = (position - nearest).abs() < SNAP
        rounded = torch.where(on_a_level, nearest, rounded)
        rounded = torch.where(perturbed == x, self.positions(x).round(), rounded)
        return rounded.clamp(0, 255).to(torch.uint8)

    def decode(self, levels: Tensor) -> Tensor:
        """The values of levels."""
        return levels.to(self.width) / 255 * self.width + self.low


@attrs.frozen(eq=False)
class RoundedExamples:
    """Adversarial examples in 8 bits, and whether each still lies in its set."""

    levels: Tensor
    """x̃ in 8 bits, (n, *shape), uint8."""
    towards: Tensor
    """Whether an example was rounded towards the original, since the nearest levels lie outside its set, (n,)."""
    excess: Tensor | None
    """How far each lies outside its set, (n,), 0 for members; None where δ is not added to x, and it cannot be told."""


def round_inside(
    x: Tensor, perturbed: Tensor, threat: Threat, levels: Levels
) -> RoundedExamples:
    """Round x̃ to 8 bits: to the nearest levels where these lie in the set, else to those towards the original.

    Rounding towards the original lowers |δ| in each value where x lies on levels itself, as the pixels of an image file
    do; balls of norms have such members inside. Elsewhere an example may leave its set by up to half a level.

    Args:
        x: the originals, (n, *shape).
        perturbed: x̃, (n, *shape).
        threat: the set within the data range.
        levels: the values of an image file.
    """
    nearest = levels.encode(perturbed)
    outside = measure_excess(x, levels.decode(nearest), threat)
    if outside is None:
        none = torch.zeros(len(x), dtype=torch.bool)
        return RoundedExamples(nearest, none, None)
    towards = outside > 0
    inner = levels.encode_towards(perturbed, x)
    mask = towards.reshape(-1, *[1] * (x.dim() - 1))
    chosen = torch.where(mask, inner, nearest)
    excess = measure_excess(x, levels.decode(chosen), threat)
    return RoundedExamples(chosen, towards, excess)


def measure_excess(x: Tensor, perturbed: Tensor, threat: Threat) -> Tensor | None:
    """How far x̃ − x lies outside the set, (n,), 0 within rounding of floating point.

    Args:
        x: the originals, (n, *shape).
        perturbed: x̃, (n, *shape).
        threat: the set within the data range.

    Returns:
        None where a perturbation is not what is added to x.
    """
    if not len(x):
        return torch.zeros(0)
    region = threat.region(x)
    if region.like.shape != x.shape or not region.additive:
        return None
    delta = perturbed - x
    excess = region.violation(delta)
    tolerated = TOLERANCE * (1 + norms(delta.double()))
    return excess.where(excess > tolerated, torch.zeros_like(excess))


def find_outputs(
    model: nn.Module, x: Tensor, task: Task, batch_size: int = 500
) -> Tensor:
    """The net's outputs at x in the form of the task, (n, …), in the memory of the CPU; n is 1 at least.

    Args:
        model: outputs of x (batch, *shape).
        x: the examples, (n, *shape).
        task: what the outputs are for.
        batch_size: examples of one forward pass.
    """
    device = device_of(model)
    outputs = []
    with freeze(model), torch.no_grad():
        for batch in x.split(batch_size):
            outputs.append(task.read(model(batch.to(device).clone()), len(batch)).cpu())
    return torch.cat(outputs)
