"""Fooling images: from noise to an image that a net is sure to be of a class (Nguyen, Yosinski & Clune 2015).

Whether a person sees that class in it is for people to say: in a robust net's, one often can. There are two searches,
one by the gradient and one that only asks for outputs. Both begin with uniform noise over the data range, stay within
it, and search for all classes at once. One that ends below its target says so by its confidence; it proves nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import final

import attrs
import torch
from safetensors.torch import save
from torch import Tensor, nn

from robustfw.data.spec import Bound, DataSpec
from robustfw.data.splits import Split
from robustfw.errors import RunError
from robustfw.inner.freezing import freeze
from robustfw.regions import norms, per_row, uniform_like
from robustfw.storage.files import advice, write_whole

TARGET = 0.99
"""Confidence at which the search for a class ends."""
STEP = 0.02
"""Length of a gradient step in ℓ2, as a share of the diagonal of the data range, (upper − lower)√d."""
RATE = 0.1
"""Share of values that a mutation changes."""
HALVED_AFTER = 1000
"""Generations after which the share of values that a mutation changes is halved."""
STRENGTH = 15.0
"""Exponent of polynomial mutation: the larger, the smaller its steps."""


@attrs.frozen(eq=False)
class FoolingImages:
    """The best image for each class so far."""

    images: Tensor
    """An image for each class, (classes, *shape)."""
    confidence: Tensor
    """The probability that the net gives the class of each image, (classes,)."""
    rounds: Tensor
    """Steps or generations until the target was reached, or those spent in vain, (classes,)."""

    @property
    def success(self) -> Tensor:
        """Which classes' images have the target confidence, (classes,)."""
        return self.confidence >= TARGET


@final
@attrs.frozen
class SearchSpace:
    """Where images are searched for: ``classes`` of them, of a shape, with values from ``low`` to ``high``."""

    classes: int
    shape: tuple[int, ...]
    low: float
    high: float

    @classmethod
    def from_data(cls, spec: DataSpec, split: Split) -> SearchSpace:
        """The range of the data, or that of the examples where the data has none."""
        if spec.bounds is not None:
            low, high = _extremes(spec.bounds)
            return cls(classes=spec.classes, shape=spec.shape, low=low, high=high)
        lows = []
        highs = []
        for x, _ in split.iterate(500):
            low_of_batch, high_of_batch = x.aminmax()
            lows.append(float(low_of_batch))
            highs.append(float(high_of_batch))
        return cls(
            classes=spec.classes, shape=spec.shape, low=min(lows), high=max(highs)
        )

    def noise(self, like: Tensor, generator: torch.Generator) -> Tensor:
        """Uniform noise, one image for each class, of the type and on the device of ``like``."""
        images = like.new_empty(self.classes, *self.shape)
        shares = uniform_like(images, generator)
        noise = self.low + (self.high - self.low) * shares
        return noise.to(like.dtype)


def _extremes(bounds: tuple[Bound, Bound]) -> tuple[float, float]:
    """The lowest and the highest value of a range, over all features."""
    lower, upper = bounds
    low = min(lower) if isinstance(lower, tuple) else lower
    high = max(upper) if isinstance(upper, tuple) else upper
    return low, high


def ascent(
    model: nn.Module,
    space: SearchSpace,
    like: Tensor,
    *,
    steps: int = 200,
    seed: int = 0,
) -> Iterator[FoolingImages]:
    """Gradient ascent on log p(class | x), a step of one length after the other, clamped to the range.

    Ends early when every class has reached `TARGET`. An image that has is left alone. Where there is no gradient
    nothing moves.

    Args:
        model: logits of x (batch, *shape).
        space: where images are searched for.
        like: an example, for the type and the device of the images.
        steps: at most.
        seed: of the noise that the images begin as.

    Yields:
        The images after each step.
    """
    labels = torch.arange(space.classes, device=like.device)
    length = STEP * (space.high - space.low) * math.prod(space.shape) ** 0.5
    x = space.noise(like, torch.Generator().manual_seed(seed))
    rounds = torch.zeros_like(labels)
    with freeze(model):
        for _ in range(steps):
            # 1. which classes are not reached yet
            log_probability, gradient = _log_probability_and_gradient(model, x, labels)
            unreached = ~(log_probability.exp() >= TARGET)
            if not unreached.any():
                break

            # 2. a step of one length in ℓ2 along the gradient of each of them
            size = norms(gradient)
            safe_size = size.clamp(min=torch.finfo(size.dtype).tiny)
            moves = unreached & (size > 0)
            step_size = torch.where(moves, length / safe_size, 0.0)
            step = per_row(step_size, x) * gradient.nan_to_num()
            x = (x + step).clamp(space.low, space.high)
            rounds = rounds + unreached
            yield FoolingImages(x, _confidence(model, x), rounds)
        else:
            return
        yield FoolingImages(x, _confidence(model, x), rounds)


def _log_probability_and_gradient(
    model: nn.Module, x: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    """log p(label | x) and its gradient; 0 where nothing on the way is differentiable."""
    with torch.enable_grad():
        point = x.detach().requires_grad_()
        log_probabilities = model(point).log_softmax(1)
        value = log_probabilities.gather(1, labels[:, None])[:, 0]
        if not value.requires_grad:
            return value, torch.zeros_like(x)
        (gradient,) = torch.autograd.grad(value.sum(), point)
    return value.detach(), gradient


def _confidence(model: nn.Module, x: Tensor) -> Tensor:
    """The probability of each image's own class; 0 where the net gives no number, (classes,)."""
    with torch.no_grad():
        probabilities = model(x).softmax(1)
        return probabilities.diagonal().nan_to_num()


def evolution(
    model: nn.Module,
    space: SearchSpace,
    like: Tensor,
    *,
    generations: int = 1000,
    children: int = 4,
    seed: int = 0,
) -> Iterator[FoolingImages]:
    """MAP-Elites with a direct encoding: one champion for each class, and only the net's outputs are asked for.

    In each generation, each of ``children`` × classes children is a mutated champion of a random class; it replaces the
    champion of every class that the net is surer to see in it. A mutation changes each value with probability `RATE`,
    halved after each `HALVED_AFTER` generations, by polynomial mutation of exponent `STRENGTH`, clamped to the range.

    Ends early when every class has reached `TARGET`.

    Args:
        model: logits of x (batch, *shape).
        space: where images are searched for.
        like: an example, for the type and the device of the images.
        generations: at most.
        children: in each generation, for each class.
        seed: of the noise that the images begin as, and of the mutations.

    Yields:
        The champions after each generation.
    """
    generator = torch.Generator().manual_seed(seed)
    champions = space.noise(like, generator)
    log_probabilities = _log_probabilities(model, champions)
    best = log_probabilities.amax(0)
    champions = champions[log_probabilities.argmax(0)]
    rounds = torch.zeros(space.classes, dtype=torch.int64, device=like.device)
    with freeze(model):
        for generation in range(generations):
            # 1. which classes are not reached yet
            unreached = best.exp() < TARGET
            if not unreached.any():
                break
            rounds = rounds + unreached

            # 2. mutated copies of random champions
            count = children * space.classes
            parents = torch.randint(space.classes, (count,), generator=generator)
            rate = RATE * 0.5 ** (generation // HALVED_AFTER)
            offspring = _mutate(
                champions[parents.to(like.device)],
                space=space,
                rate=rate,
                generator=generator,
            )

            # 3. the best child of each class replaces a champion that it beats
            value, child = _log_probabilities(model, offspring).max(0)
            better = value > best
            replaced = per_row(better, champions).bool()
            champions = torch.where(replaced, offspring[child], champions)
            best = torch.where(better, value, best)
            yield FoolingImages(champions, best.exp(), rounds)
        else:
            return
        yield FoolingImages(champions, best.exp(), rounds)


def _log_probabilities(model: nn.Module, x: Tensor) -> Tensor:
    """Log probabilities, (n, classes); what is not a number counts as impossible."""
    with freeze(model), torch.no_grad():
        log_probabilities = model(x).log_softmax(1)
    return log_probabilities.nan_to_num(nan=-torch.inf, neginf=-torch.inf)


def _mutate(
    x: Tensor, space: SearchSpace, rate: float, generator: torch.Generator
) -> Tensor:
    """Polynomial mutation (Deb & Goyal 1996) of some values: a step in (−1, 1) of the range, most often a small one."""
    chosen = uniform_like(x, generator) < rate
    u = uniform_like(x, generator)
    power = 1 / (STRENGTH + 1)
    step_down = (2 * u) ** power - 1
    step_up = 1 - (2 * (1 - u)) ** power
    step = torch.where(u < 0.5, step_down, step_up).to(x.dtype)
    perturbed = x + (space.high - space.low) * step
    mutated = torch.where(chosen, perturbed, x)
    return mutated.clamp(space.low, space.high)


def keep(path: Path, **searches: FoolingImages) -> None:
    """Write images and confidences of the searches as safetensors: ``<search>`` and ``<search>_confidence``.

    Args:
        path: the file.
        **searches: what each search has found, by its name.

    Raises:
        RunError: the file cannot be written.
    """
    tensors = {}
    for name, result in searches.items():
        tensors[name] = result.images.cpu().contiguous()
        tensors[f"{name}_confidence"] = result.confidence.cpu().contiguous()
    content = save(tensors)
    try:
        path.parent.mkdir(exist_ok=True)
        write_whole(path, content)
    except OSError as error:
        raise RunError(
            f"cannot write {path}: {error.strerror}; {advice(error)}, then try again"
        ) from error
