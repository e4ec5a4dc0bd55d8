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
from robustfw.evaluation._accuracy import check_measurable, device_of
from robustfw.evaluation._intervals import wilson
from robustfw.evaluation._measurement import check_outputs, read_targets
from robustfw.inner._randomness import generator_for
from robustfw.inner.adversary import TOLERANCE, Adversary
from robustfw.inner.problem import InnerProblem
from robustfw.inner.threat import Threat
from robustfw.inner.worst_case import check_type, frozen, ordinary
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
    """The attacked net's probability of y at x, and of ``label`` at x̃, (n, 2); not a number without classes."""
    index: Tensor
    """The row of x in its split."""
    set: Tensor
    """The index of the set that δ is a member of."""

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, rows: Tensor) -> Examples:
        return Examples(**{name: tensor[rows] for name, tensor in self.tensors().items()})

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name."""
        return {field.name: getattr(self, field.name) for field in attrs.fields(Examples)}

    @classmethod
    def concatenate(cls, parts: Sequence[Examples]) -> Examples:
        """Several as one, in their order."""
        tensors = {}
        for field in attrs.fields(cls):
            tensors[field.name] = torch.cat([getattr(part, field.name) for part in parts])
        return cls(**tensors)


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
    """Adversarial examples: what the net has right and the attack fools, for each of the threats, batch by batch.

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
    rows_of_batches = torch.arange(len(split)).split(batch_size)
    for number, (x, y) in enumerate(split.batches(rows_of_batches, device_of(model))):
        generator = generator_for(seed, "attack", number)
        with frozen(model):
            # 1. what the net has right
            x = ordinary(x)
            check_type(model, x)
            for threat in threats:
                check_range(x, threat.bounds)
            targets = read_targets(task, x, ordinary(y), classes)
            with torch.no_grad():
                outputs = task.read(model(x.clone()), len(x))
            check_outputs(task, outputs, targets, classes)
            right = ~task.wrong(outputs, targets)
            index = rows_of_batches[number].to(x.device)[right]

            # 2. the attack within each set
            problem: InnerProblem | None = None
            crafted = []
            for member, threat in enumerate(threats):
                adversary = Adversary(threat, attack, generator, task, loss)
                region = threat.region(x[right], checked=True)
                if problem is None:
                    problem = adversary.problem(model, x[right], targets[right], goal=task.wrong, region=region)
                problem = problem.over(region)
                crafted.append(_craft_within(adversary, problem, task, outputs[right], index, member))
        for examples in crafted:
            yield Examples(**{name: tensor.cpu() for name, tensor in examples.tensors().items()})


def _craft_within(
    adversary: Adversary, problem: InnerProblem, task: Task, outputs: Tensor, index: Tensor, member: int
) -> Examples:
    """The rows of a problem that the attack fools within one set, as adversarial examples.

    Args:
        adversary: the attack within the set.
        problem: the rows that are attacked.
        task: what the outputs are for.
        outputs: of the net at x, before the attack.
        index: the row of each example in its split.
        member: the index of the set.
    """
    attempt = adversary.attempt(problem)
    label, confidence = _predict(task, problem.y, outputs, attempt.outputs)
    examples = Examples(
        original=problem.x,
        adversarial=attempt.moved,
        delta=attempt.delta,
        y=problem.y,
        label=label,
        confidence=confidence,
        index=index,
        set=torch.full((len(problem),), member, device=index.device),
    )
    return examples[attempt.wrong]


def _predict(task: Task, y: Tensor, clean_outputs: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor]:
    """What the net says of each x̃, and its probabilities (n, 2) of y at x and of what it says at x̃."""
    if not task.labelled:
        prediction = outputs.argmax(1) if y.dtype == torch.int64 else outputs.detach()
        return prediction, torch.full((len(y), 2), torch.nan, device=y.device)
    # at a tie with the label it is the other class that counts
    is_label = torch.nn.functional.one_hot(y, outputs.shape[1]).bool()
    is_largest = outputs == outputs.amax(1, keepdim=True)
    rivals = outputs.masked_fill(is_label & is_largest, -torch.inf)
    largest = outputs.argmax(1)
    label = torch.where(largest == y, rivals.argmax(1), largest)
    probability_of_y = clean_outputs.double().softmax(1).gather(1, y[:, None])[:, 0]
    probability_of_label = outputs.double().softmax(1).gather(1, label[:, None])[:, 0]
    confidence = torch.stack([probability_of_y, probability_of_label], 1)
    return label, confidence.float()


@attrs.frozen
class Share:
    """How many examples that were crafted within one set a net has right."""

    uncertainty: str
    """The spec of the set."""
    n: int
    """Examples within the set."""
    correct: int
    """Examples that the net has right."""
    accuracy: float | None
    """correct / n; None where there is no example."""
    interval: tuple[float, float]
    """95 % interval of the accuracy."""

    @classmethod
    def of(cls, uncertainty: str, right: Tensor) -> Share:
        """The share of a mask over the examples of a set, (n,)."""
        n = len(right)
        correct = int(right.sum())
        accuracy = correct / n if n else None
        return cls(uncertainty, n, correct, accuracy, wilson(correct, n))


@attrs.frozen
class Transfer:
    """How a net does on examples that were crafted against another; intervals are Wilson's, 95 %."""

    n: int
    """Examples of all sets."""
    correct: int
    """Examples that the net has right."""
    accuracy: float
    """correct / n."""
    interval: tuple[float, float]
    """95 % interval of the accuracy."""
    accuracy_8bit: float
    """The accuracy after rounding to the 256 values that an image file keeps."""
    sets: tuple[Share, ...]
    """The share of each of the sets."""

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

        Raises:
            DataError: there is no example, or outputs do not fit the task.
        """
        if not len(examples):
            raise DataError("the collection is empty: nothing fooled the net that it was crafted against")
        right = correct(model, examples.adversarial, examples.y, task)
        rounded = round_to_8_bits(examples.adversarial, bounds)
        right_rounded = correct(model, rounded, examples.y, task)
        shares = []
        for number, spec in enumerate(sets):
            shares.append(Share.of(spec, right[examples.set == number]))
        n = len(right)
        count = int(right.sum())
        return cls(
            n=n,
            correct=count,
            accuracy=count / n,
            interval=wilson(count, n),
            accuracy_8bit=float(right_rounded.double().mean()),
            sets=tuple(shares),
        )


def correct(model: nn.Module, x: Tensor, y: Tensor, task: Task | None = None, batch_size: int = 500) -> Tensor:
    """Which examples a net has right, (n,).

    Args:
        model: outputs of x (batch, *shape).
        x: examples (n, *shape).
        y: targets in the form of the task.
        task: what the outputs are for; classification by default.
        batch_size: examples in a forward pass.

    Raises:
        DataError: outputs do not fit the task.
    """
    task = task or Classification()
    device = device_of(model)
    right = [torch.zeros(0, dtype=torch.bool)]
    with frozen(model), torch.no_grad():
        for batch, targets in zip(x.split(batch_size), y.split(batch_size), strict=True):
            if len(batch):
                outputs = task.read(model(batch.to(device).clone()), len(batch))
                check_outputs(task, outputs, targets, None)
                right.append(~task.wrong(outputs, targets.to(device)).cpu())
    return torch.cat(right)


def round_to_8_bits(x: Tensor, bounds: Bounds) -> Tensor:
    """x as an image file of 8 bits keeps it: the nearest of 256 values of the range (of [0, 1] where there is none)."""
    low, high = (torch.as_tensor(end).to(x) for end in ends(bounds or (0.0, 1.0), x))
    width = (high - low).where(high > low, torch.ones_like(high - low))
    return ((x - low) / width * 255).round().clamp(0, 255) / 255 * width + low


def verify(examples: Examples, split: Split, threats: Sequence[Threat], task: Task | None = None) -> None:
    """Refuse a collection that was altered or belongs to other data; an empty one passes.

    Args:
        examples: adversarial examples of one or more sets.
        split: the examples that they were made from.
        threats: the sets in the data range, in the order of ``examples.set``.
        task: what the targets are for; classification by default.

    Raises:
        DataError: an x̃ is not made from its example of the split, or lies outside its set or the data range.
    """
    if not len(examples):
        return
    if int(examples.index.max()) >= len(split):
        raise DataError(f"the collection has examples beyond the {len(split)} of the split: it belongs to other data")
    batches = list(split.subset(examples.index).in_order(500))
    x = torch.cat([x for x, _ in batches])
    y = torch.cat([y for _, y in batches])
    targets = (task or Classification()).targets(y)
    if not (torch.equal(x, examples.original) and torch.equal(targets, examples.y)):
        raise DataError("originals of the collection are not the examples of this data: it belongs to other data")
    for number, threat in enumerate(threats):
        _verify_set(examples[(examples.set == number).nonzero()[:, 0]], threat)


def _verify_set(examples: Examples, threat: Threat) -> None:
    if not len(examples):
        return
    region = threat.region(examples.original)
    outside = region.violation(examples.delta) > TOLERANCE * (1 + norms(examples.delta.double()))
    perturbed = threat.apply(region, examples.original, examples.delta)
    altered = (perturbed != examples.adversarial).flatten(1).any(1)
    if bool(outside.any() or altered.any()):
        raise DataError(
            f"{int((outside | altered).sum())} of {len(examples)} adversarial examples are not in their set within the "
            "data range: the collection was altered, or made by something else; craft it again"
        )
