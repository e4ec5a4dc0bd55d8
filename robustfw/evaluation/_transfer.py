"""Transfer sets: adversarial examples crafted against one net, to be tried on others (A_mnist in section 5.1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs
import torch
from torch import Tensor, nn

from robustfw import losses
from robustfw.attack import Attack
from robustfw.data.bounds import Bounds, check_range, ends
from robustfw.data.splits import Split
from robustfw.errors import DataError
from robustfw.evaluation._accuracy import check_measurable, check_outputs, checked_targets, device_of
from robustfw.evaluation._intervals import wilson
from robustfw.inner._randomness import generator_for
from robustfw.inner.adversary import TOLERANCE, Adversary
from robustfw.inner.freezing import check_type, freeze, leave_inference
from robustfw.inner.problem import InnerProblem
from robustfw.inner.threat import Threat
from robustfw.regions import norms
from robustfw.task import Classification, Task


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
    """Targets in the form of the task."""
    label: Tensor
    """What the attacked net says of x̃: a class, never y, or numbers of the shape of y."""
    confidence: Tensor
    """(n, 2): the attacked net's probability of y at x, and of ``label`` at x̃; not a number without classes."""
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
    threats: Sequence[Threat],
    attack: Attack,
    classes: int | None = None,
    task: Task | None = None,
    loss: losses.LossFunction | None = None,
    batch_size: int = 500,
    seed: int = 0,
) -> Iterator[Examples]:
    """Batch by batch: of the examples that the net has right, those that the attack fools, for each of the threats.

    Args:
        model: outputs of x (batch, *shape).
        split: the examples.
        threats: sets in one data range, each of which is tried.
        attack: what is tried.
        classes: how many classes, labels or targets there are; None: as many as the net has outputs.
        task: what the outputs are for; classification by default.
        loss: what the attack raises; None: the task's.
        batch_size: examples that are attacked together.
        seed: of the attack's randomness.

    Raises:
        PluginError: a perturbation lies outside its set or the data range.
        DataError: outputs or labels do not fit the task.
    """
    task = task or Classification()
    check_measurable(model, split, [attack], batch_size)
    numbers = torch.arange(len(split)).split(batch_size)
    for number, (x, y) in enumerate(split.batches(numbers, device_of(model))):
        generator = generator_for(seed, "attack", number)
        with freeze(model):
            x = leave_inference(x)
            check_type(model, x)
            for threat in threats:
                check_range(x, threat.bounds)
            targets = checked_targets(task, x, leave_inference(y), classes)
            with torch.no_grad():
                outputs = task.read(model(x.clone()), len(x))
            check_outputs(task, outputs, targets, classes)
            right = ~task.wrong(outputs, targets)
            index = numbers[number].to(x.device)[right]
            problem: InnerProblem | None = None
            crafted = []
            for member, threat in enumerate(threats):
                adversary = Adversary(threat, attack, generator, task, loss)
                region = threat.region(x[right], checked=True)
                if problem is None:
                    problem = adversary.problem(model, x[right], targets[right], goal=task.wrong, region=region)
                problem = problem.over(region)
                crafted.append(_fooled(adversary, problem, task, outputs[right], index, member))
        for found in crafted:
            yield Examples(**{name: tensor.cpu() for name, tensor in found.tensors().items()})


def _fooled(
    adversary: Adversary, problem: InnerProblem, task: Task, outputs: Tensor, index: Tensor, member: int
) -> Examples:
    """Of the rows of a problem, with their outputs and numbers, those that the attack fools within the set."""
    attempt = adversary.attempt(problem)
    label, confidence = _said(task, problem.y, outputs, attempt.outputs)
    number = torch.full((len(problem),), member, device=index.device)
    found = Examples(problem.x, attempt.perturbed, attempt.delta, problem.y, label, confidence, index, number)
    return found[attempt.wrong]


def _said(task: Task, y: Tensor, before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
    """What the net says of each x̃, and its probabilities (n, 2) of y at x and of that at x̃."""
    if not task.labelled:
        said = after.argmax(1) if y.dtype == torch.int64 else after.detach()
        return said, torch.full((len(y), 2), torch.nan, device=y.device)
    own = torch.nn.functional.one_hot(y, after.shape[1]).bool()
    rivals = after.masked_fill(own & (after == after.amax(1, keepdim=True)), -torch.inf)  # a tie is the other's
    label = torch.where(after.argmax(1) == y, rivals.argmax(1), after.argmax(1))
    share, shares = before.double().softmax(1), after.double().softmax(1)
    confidence = torch.stack([share.gather(1, y[:, None])[:, 0], shares.gather(1, label[:, None])[:, 0]], 1)
    return label, confidence.float()


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
    def of(
        cls, model: nn.Module, examples: Examples, sets: Sequence[str], bounds: Bounds, task: Task | None = None
    ) -> Transfer:
        """Measure; no attack is run.

        Args:
            model: outputs of x (batch, *shape).
            examples: adversarial examples that were crafted against another net.
            sets: the specs of their sets.
            bounds: the data range.
            task: what the outputs are for; classification by default.
        """
        if not len(examples):
            raise DataError("the collection is empty: nothing fooled the net that it was crafted against")
        right = correct(model, examples.adversarial, examples.y, task)
        saved = correct(model, rounded(examples.adversarial, bounds), examples.y, task)
        whole, shares = (
            Share.of("", right),
            tuple(Share.of(spec, right[examples.set == number]) for number, spec in enumerate(sets)),
        )
        return cls(
            whole.n, whole.correct, whole.correct / whole.n, whole.interval, float(saved.double().mean()), shares
        )


def correct(model: nn.Module, x: Tensor, y: Tensor, task: Task | None = None, batch_size: int = 500) -> Tensor:
    """Which examples a net has right, (n,).

    Args:
        model: outputs of x (batch, *shape).
        x: examples (n, *shape).
        y: targets in the form of the task.
        task: what the outputs are for; classification by default.
        batch_size: examples in a forward pass.
    """
    task, device = task or Classification(), device_of(model)
    parts = [torch.zeros(0, dtype=torch.bool)]
    with freeze(model), torch.no_grad():
        for some, targets in zip(x.split(batch_size), y.split(batch_size), strict=True):
            if len(some):
                outputs = task.read(model(some.to(device).clone()), len(some))
                check_outputs(task, outputs, targets, None)
                parts.append(~task.wrong(outputs, targets.to(device)).cpu())
    return torch.cat(parts)


def rounded(x: Tensor, bounds: Bounds) -> Tensor:
    """x as an image file of 8 bits keeps it: the nearest of 256 values of the range (of [0, 1] where there is none)."""
    low, high = (torch.as_tensor(end).to(x) for end in ends(bounds or (0.0, 1.0), x))
    width = (high - low).where(high > low, torch.ones_like(high - low))
    return ((x - low) / width * 255).round().clamp(0, 255) / 255 * width + low


def verify(examples: Examples, split: Split, threats: Sequence[Threat], task: Task | None = None) -> None:
    """Raise a `DataError` unless each x̃ is made from its example of the split, in its set, and in the data range."""
    if len(examples) and int(examples.index.max()) >= len(split):
        raise DataError(f"the collection has examples beyond the {len(split)} of the split: it belongs to other data")
    parts = list(split.subset(examples.index).in_order(500))
    x, y = (torch.cat([part[i] for part in parts]) if parts else examples.original for i in (0, 1))
    targets = (task or Classification()).targets(y) if len(examples) else y
    if len(examples) and not (torch.equal(x, examples.original) and torch.equal(targets, examples.y)):
        raise DataError("originals of the collection are not the examples of this data: it belongs to other data")
    for number, threat in enumerate(threats):
        _verify_set(examples[(examples.set == number).nonzero()[:, 0]], threat)


def _verify_set(examples: Examples, threat: Threat) -> None:
    if not len(examples):
        return
    region = threat.region(examples.original)
    outside = region.violation(examples.delta) > TOLERANCE * (1 + norms(examples.delta.double()))
    away = (threat.apply(region, examples.original, examples.delta) != examples.adversarial).flatten(1).any(1)
    if bool(outside.any() or away.any()):
        raise DataError(
            f"{int((outside | away).sum())} of {len(examples)} adversarial examples are not in their set within the "
            "data range: the collection was altered, or made by something else; craft it again"
        )
