"""Adversarial examples crafted against one net, to be tried on others (A_mnist in section 5.1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs
import torch
from torch import Tensor, nn

from robustfw import losses
from robustfw.attack import Attack
from robustfw.data.bounds import check_range
from robustfw.data.splits import Split
from robustfw.evaluation._accuracy import check_measurable, device_of
from robustfw.evaluation._batches import MeasuredBatch, measure_batches
from robustfw.evaluation._checks import check_outputs, read_targets
from robustfw.inner.adversary import Adversary
from robustfw.inner.freezing import freeze, leave_inference, match_type
from robustfw.inner.problem import InnerProblem
from robustfw.inner.threat import Threat
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
        return Examples(
            **{name: tensor[rows] for name, tensor in self.tensors().items()}
        )

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name."""
        return {
            field.name: getattr(self, field.name) for field in attrs.fields(Examples)
        }

    def cpu(self) -> Examples:
        """These examples in the memory of the CPU."""
        return Examples(
            **{name: tensor.cpu() for name, tensor in self.tensors().items()}
        )

    @classmethod
    def concatenate(cls, parts: Sequence[Examples]) -> Examples:
        """Several as one, in their order."""
        tensors = {}
        for field in attrs.fields(cls):
            tensors[field.name] = torch.cat(
                [getattr(part, field.name) for part in parts]
            )
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
        batch_size: examples that are attacked together; halved where memory does not suffice (`measure_batches`).
        seed: of the attack's randomness.

    Raises:
        PluginError: a perturbation lies outside its set or the data range.
        DataError: outputs or labels do not fit the task.
    """
    batches = craft_batches(
        model,
        split,
        threats=threats,
        attack=attack,
        classes=classes,
        task=task,
        loss=loss,
        batch_size=batch_size,
        seed=seed,
    )
    for batch in batches:
        yield from batch.examples


@attrs.frozen(eq=False)
class CraftedBatch:
    """What a batch of the split has given."""

    tried: int
    """Examples of the batch."""
    examples: tuple[Examples, ...]
    """The adversarial ones within each of the sets."""


def craft_batches(
    model: nn.Module,
    split: Split,
    *,
    threats: Sequence[Threat],
    attack: Attack,
    classes: int | None,
    task: Task | None,
    loss: losses.LossFunction | None,
    batch_size: int,
    seed: int,
) -> Iterator[CraftedBatch]:
    """What `craft` finds in each batch, with the number of examples that were tried; the arguments are the same."""
    task = Classification() if task is None else task
    check_measurable(model, split=split, attacks=[attack], batch_size=batch_size)

    def measure(batch: MeasuredBatch) -> CraftedBatch:
        """Attack one batch within each of the sets."""
        generator = batch.generator
        with freeze(model):
            # 1. what the net has right
            x = leave_inference(batch.x)
            net = match_type(model, x)
            for threat in threats:
                check_range(x, threat.bounds)
            y = leave_inference(batch.y)
            targets = read_targets(task, x=x, y=y, classes=classes)
            with torch.no_grad():
                outputs = task.read(net(x.clone()), len(x))
            check_outputs(task, outputs, targets, classes)
            right = ~task.wrong(outputs, targets)
            index = batch.rows.to(x.device)[right]

            # 2. the attack within each set
            problem: InnerProblem | None = None
            crafted = []
            for member, threat in enumerate(threats):
                adversary = Adversary(threat, attack, generator, task, loss)
                region = threat.region(x[right], checked=True)
                if problem is None:
                    problem = adversary.problem(
                        net,
                        x[right],
                        targets[right],
                        criterion=task.wrong,
                        region=region,
                    )
                problem = problem.with_region(region)
                examples = _craft_within(
                    adversary,
                    problem=problem,
                    task=task,
                    outputs=outputs[right],
                    index=index,
                    member=member,
                )
                crafted.append(examples.cpu())
        return CraftedBatch(tried=len(x), examples=tuple(crafted))

    yield from measure_batches(
        split,
        measure,
        batch_size=batch_size,
        seed=seed,
        device=device_of(model),
    )


def _craft_within(
    adversary: Adversary,
    problem: InnerProblem,
    task: Task,
    outputs: Tensor,
    index: Tensor,
    member: int,
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
    label, confidence = _predict(
        task, y=problem.y, clean_outputs=outputs, outputs=attempt.outputs
    )
    examples = Examples(
        original=problem.x,
        adversarial=attempt.perturbed,
        delta=attempt.delta,
        y=problem.y,
        label=label,
        confidence=confidence,
        index=index,
        set=torch.full((len(problem),), member, device=index.device),
    )
    return examples[attempt.wrong]


def _predict(
    task: Task, y: Tensor, clean_outputs: Tensor, outputs: Tensor
) -> tuple[Tensor, Tensor]:
    """What the net says of each x̃, and its probabilities (n, 2) of y at x and of what it says at x̃."""
    if not task.labelled:
        no_confidence = torch.full((len(y), 2), torch.nan, device=y.device)
        if y.dtype == torch.int64:
            return outputs.argmax(1), no_confidence
        return outputs.detach(), no_confidence
    # 1. the label; at a tie with y it is the other class that counts
    is_y = torch.nn.functional.one_hot(y, outputs.shape[1]).bool()
    is_largest = outputs == outputs.amax(1, keepdim=True)
    rivals = outputs.masked_fill(is_y & is_largest, -torch.inf)
    largest = outputs.argmax(1)
    label = torch.where(largest == y, rivals.argmax(1), largest)
    # 2. the confidence, before in y and afterwards in the label
    clean_probabilities = clean_outputs.double().softmax(1)
    probabilities = outputs.double().softmax(1)
    confidence_in_y = clean_probabilities.gather(1, y[:, None])
    confidence_in_label = probabilities.gather(1, label[:, None])
    confidence = torch.cat([confidence_in_y, confidence_in_label], 1)
    return label, confidence.float()
