"""Transfer sets: adversarial examples crafted against one net, to be tried on others (A_mnist in section 5.1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs
import torch
from torch import Tensor, nn

from robustfw import losses
from robustfw.attack import Attack
from robustfw.errors import DataError
from robustfw.evaluation.accuracy import TOLERANCE, check_membership
from robustfw.evaluation.intervals import wilson
from robustfw.inner import Bounds, applied, frozen, maximized, region_at
from robustfw.problem import InnerProblem
from robustfw.regions import norms
from robustfw.splits import Split
from robustfw.uncertainty import UncertaintySet


@attrs.frozen(eq=False)
class Examples:
    """Adversarial examples with what they were made from; the first axis of every tensor is the example's."""

    original: Tensor
    """x, (n, *shape)."""
    adversarial: Tensor
    """x̃, (n, *shape)."""
    delta: Tensor
    """The member of the set that x̃ was made by."""
    y: Tensor
    label: Tensor
    """What the attacked net says of x̃; never y."""
    confidence: Tensor
    """(n, 2): the attacked net's probability of y at x, and of ``label`` at x̃."""
    index: Tensor
    """Which example of its split x is."""
    set: Tensor
    """Which of the sets δ is a member of, as an index."""

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, rows: Tensor) -> Examples:
        return Examples(**{name: tensor[rows] for name, tensor in self.tensors().items()})

    def tensors(self) -> dict[str, Tensor]:
        """All of them, by name."""
        return {field.name: getattr(self, field.name) for field in attrs.fields(Examples)}

    @classmethod
    def joined(cls, parts: Sequence[Examples]) -> Examples:
        """Several as one."""
        return cls(**{f.name: torch.cat([getattr(part, f.name) for part in parts]) for f in attrs.fields(cls)})


def craft(
    model: nn.Module,
    split: Split,
    *,
    uncertainties: Sequence[UncertaintySet],
    attack: Attack,
    bounds: Bounds = (0.0, 1.0),
    loss: losses.Loss = losses.cross_entropy,
    batch_size: int = 500,
    seed: int = 0,
) -> Iterator[Examples]:
    """Batch by batch: of the examples that the net has right, those that the attack fools, for each of the sets.

    Raises:
        PluginError: a perturbation lies outside its set or the data range.
    """
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    generator = torch.Generator().manual_seed(seed)
    seen = 0
    for x, y in split.in_order(batch_size, device):
        index = torch.arange(seen, seen + len(y), device=device)
        seen += len(y)
        with frozen(model):
            with torch.no_grad():
                logits = model(x)
            right = ~losses.misclassified(logits, y)
            problem: InnerProblem | None = None
            for number, uncertainty in enumerate(uncertainties):
                region = region_at(x[right], uncertainty, bounds)
                if problem is None:
                    problem = InnerProblem(model, loss, x[right], y[right], region, losses.misclassified)
                problem = problem.over(region)
                found = _fooled(problem, attack, bounds, generator, logits[right], index[right], number)
                yield Examples(**{name: tensor.cpu() for name, tensor in found.tensors().items()})


def _fooled(
    problem: InnerProblem,
    attack: Attack,
    bounds: Bounds,
    generator: torch.Generator,
    logits: Tensor,
    index: Tensor,
    number: int,
) -> Examples:
    """Of the rows of a problem, with their logits and numbers, those that the attack fools within the set."""
    delta = maximized(attack, problem, generator)
    check_membership(problem.region.violation(delta), delta, attack)
    moved = applied(problem.region, problem.x, delta, bounds)
    with torch.no_grad():
        before, after = (each.double().softmax(1) for each in (logits, problem.forward(moved)))
    label = after.argmax(1)
    rows = label != problem.y
    confidence = torch.stack([before.gather(1, problem.y[:, None])[:, 0], after.amax(1)], 1).float()
    return Examples(problem.x, moved, delta, problem.y, label, confidence, index, torch.full_like(problem.y, number))[
        rows
    ]


@attrs.frozen
class Share:
    """How many examples that were crafted within one set a net has right."""

    uncertainty: str
    n: int
    correct: int
    accuracy: float | None
    """None where there is no example."""
    interval: tuple[float, float]

    @classmethod
    def of(cls, uncertainty: str, right: Tensor) -> Share:
        """From a mask over the examples."""
        n, count = len(right), int(right.sum())
        return cls(uncertainty, n, count, count / n if n else None, wilson(count, n))


@attrs.frozen
class Transfer:
    """How a net does on examples that were crafted against another; intervals are Wilson's, 95 %."""

    n: int
    correct: int
    accuracy: float
    interval: tuple[float, float]
    accuracy_8bit: float
    """After rounding to the 256 values that an image file keeps."""
    sets: tuple[Share, ...]
    """The same for each of the sets."""

    @classmethod
    def of(cls, model: nn.Module, examples: Examples, sets: Sequence[str], bounds: Bounds) -> Transfer:
        """Measure; no attack is run."""
        if not len(examples):
            raise DataError("the collection is empty: nothing fooled the net that it was crafted against")
        right = correct(model, examples.adversarial, examples.y)
        saved = correct(model, rounded(examples.adversarial, bounds), examples.y)
        whole, shares = (
            Share.of("", right),
            tuple(Share.of(spec, right[examples.set == number]) for number, spec in enumerate(sets)),
        )
        return cls(
            whole.n, whole.correct, whole.correct / whole.n, whole.interval, float(saved.double().mean()), shares
        )


def correct(model: nn.Module, x: Tensor, y: Tensor, batch_size: int = 500) -> Tensor:
    """Which examples a net has right, (n,)."""
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    with frozen(model), torch.no_grad():
        parts = [
            ~losses.misclassified(model(some.to(device)), labels.to(device)).cpu()
            for some, labels in zip(x.split(batch_size), y.split(batch_size), strict=True)
        ]
    return torch.cat([torch.zeros(0, dtype=torch.bool), *parts])


def rounded(x: Tensor, bounds: Bounds) -> Tensor:
    """x as an image file of 8 bits keeps it: the nearest of 256 values of the range (of [0, 1] where there is none)."""
    low, high = bounds or (0.0, 1.0)
    return ((x - low) / (high - low) * 255).round().clamp(0, 255) / 255 * (high - low) + low


def verify(examples: Examples, split: Split, uncertainties: Sequence[UncertaintySet], bounds: Bounds) -> None:
    """Raise a `DataError` unless each x̃ is made from its example of the split, in its set, and in the data range."""
    if len(examples) and int(examples.index.max()) >= len(split):
        raise DataError(f"the collection has examples beyond the {len(split)} of the split: it belongs to other data")
    parts = list(split.subset(examples.index).in_order(500))
    x, y = (torch.cat([part[i] for part in parts]) if parts else examples.original for i in (0, 1))
    if len(examples) and not (torch.equal(x, examples.original) and torch.equal(y, examples.y)):
        raise DataError("originals of the collection are not the examples of this data: it belongs to other data")
    for number, uncertainty in enumerate(uncertainties):
        _verify_set(examples[(examples.set == number).nonzero()[:, 0]], uncertainty, bounds)


def _verify_set(examples: Examples, uncertainty: UncertaintySet, bounds: Bounds) -> None:
    if not len(examples):
        return
    region = region_at(examples.original, uncertainty, bounds)
    outside = region.violation(examples.delta) > TOLERANCE * (1 + norms(examples.delta))
    away = (applied(region, examples.original, examples.delta, bounds) != examples.adversarial).flatten(1).any(1)
    if bool(outside.any() or away.any()):
        raise DataError(
            f"{int((outside | away).sum())} of {len(examples)} adversarial examples are not in their set within the "
            "data range: the collection was altered, or made by something else; craft it again"
        )
