"""Measurements from Python: accuracy with its interval, and crafted examples."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import attrs
from torch import nn

from robustfw import evaluation as evaluation_
from robustfw import losses
from robustfw.api._making import load_data, make, make_loss
from robustfw.data.bounds import Bounds, check_range
from robustfw.data.convert import as_split
from robustfw.data.splits import Split, Splits
from robustfw.errors import RobustfwWarning
from robustfw.inner.threat import Threat
from robustfw.task import Classification, Task

if TYPE_CHECKING:
    from robustfw.attack import Attack
    from robustfw.evaluation import Evaluation, Examples, KnownCases
    from robustfw.plugin.options import Spec
    from robustfw.uncertainty import UncertaintySet


@attrs.frozen(eq=False)
class _Examples:
    """What is measured, and on what terms."""

    split: Split
    task: Task
    classes: int | None
    threats: list[Threat]


def _read(
    data: Any,
    uncertainties: Sequence[Any],
    *,
    examples: int | None,
    classes: int | None,
    bounds: Bounds | Literal["auto"],
    task: Task | Spec | None,
    masked: bool,
) -> _Examples:
    """The examples of data in any form, with the facts that are given, else those of the data, else the defaults.

    Sets that learn from data see the training examples of `Splits`, if there are any.
    """
    data = load_data(data)
    split = as_split(data, examples=examples)
    sets = [make("uncertainty", uncertainty) for uncertainty in uncertainties]
    if isinstance(data, Splits):
        spec = attrs.evolve(data.spec, masked=data.spec.masked or masked)
        threats = [Threat.on(uncertainty, spec) for uncertainty in sets]
        if len(data.train):
            threats = [threat.fit(data.learning_split()) for threat in threats]
        known_task = spec.task
        classes = classes or spec.classes
    else:
        threats = [Threat(uncertainty, masked=masked) for uncertainty in sets]
        known_task = Classification()
    if not isinstance(bounds, str):
        threats = [attrs.evolve(threat, bounds=bounds) for threat in threats]
    x, _ = next(split.first(8).iterate(8), (None, None))
    for threat in threats:
        if x is not None and x.is_floating_point():
            check_range(x, threat.bounds)
            threat.warn_of_unit(x)
    return _Examples(
        split, known_task if task is None else make("task", task), classes, threats
    )


def evaluate(
    model: nn.Module,
    data: Any,
    *,
    uncertainty: UncertaintySet | Spec,
    attack: Attack | Spec | Sequence[Attack | Spec],
    examples: int | None = None,
    classes: int | None = None,
    bounds: Bounds | Literal["auto"] = "auto",
    task: Task | Spec | None = None,
    loss: losses.LossFunction | Spec | None = None,
    masked: bool = False,
    batch_size: int = 500,
    seed: int = 0,
    keep_examples: bool = False,
    escalate: bool = False,
    known: KnownCases | None = None,
) -> Evaluation:
    """Measure a net's accuracy on clean examples and under attack, each with a 95 % interval.

    An example counts as robust if it is right and no attack finds a perturbation in the set, within the data range,
    that makes it wrong. An attack may miss some, so the robust accuracy is an upper bound. No attack is trusted: that
    its perturbations are members, and that the output is wrong, is checked by a forward pass of its own.

    Args:
        model: a net; its outputs are what the task says, logits (batch, classes) for instance.
        data: the examples in any form that `robustfw.as_split` takes: (x, y), a torch Dataset, a DataLoader, Splits,
            whose test examples are measured; or a data set's spec, ``"npz:examples.npz"``.
        uncertainty: the set 𝒰, or its spec.
        attack: the attack, or its spec; or a list of these.
        examples: measure the first so many; None: all.
        classes: how many classes, labels or targets there are; by default as many as the net has outputs.
        bounds: the data range, (lower, upper): numbers, or one for each feature or channel; None where there is none;
            "auto": what Splits or a data set say, else (0, 1).
        task: what outputs and targets are: classification, binary, multilabel, regression:tolerance=…, segmentation;
            by default what Splits or a data set say, else classification.
        loss: what the attack raises, or its spec; the task's by default.
        masked: whether x are sequences (n, time, features) whose last feature is a mask, 0 at padded steps.
        batch_size: examples that are attacked together.
        seed: seeds the attack's randomness.
        keep_examples: keep x, its worst case x̃ and the outputs of both, for ``examples`` of the result. It takes twice
            the memory of the examples, on the CPU: 2.4 GB for 10,000 images of 3x100x100.
        escalate: look for evidence that gradient attacks are blind to the net (steps without a gradient, saturated
            outputs, randomness), and attack through them; ``escalation`` of the result names what was found.
        known: what has fooled this net before, by the places of the examples (`robustfw.evaluation.KnownCases`): it is
            tried first, and what is found is added to it.

    Returns:
        An `Evaluation`: ``clean_accuracy``, ``robust_accuracy`` and their Wilson intervals, counts per class, passes,
        seconds, memory, what became of each example (``examples``), and reasons to doubt the number (``doubts``).

    Raises:
        DataError: x, y or outputs do not fit each other, the task or the range.
        PluginError: an attack left its set.
        UsageError: there is no attack.

    Warns:
        RobustfwWarning: the number may mean less than it says: no gradient; tied outputs; outputs that are no numbers,
            are the same for all examples, or random. Or a batch was halved, since memory had no room for it.
    """
    attacks = attack if isinstance(attack, list | tuple) else [attack]
    subject = _read(
        data,
        [uncertainty],
        examples=examples,
        classes=classes,
        bounds=bounds,
        task=task,
        masked=masked,
    )
    attacks_made = [make("attack", spec) for spec in attacks]
    loss_made = make_loss(loss)
    escalation = None
    if escalate and attacks_made:
        escalation = evaluation_.find_escalation(
            model,
            subject.split,
            threat=subject.threats[0],
            attack=attacks_made[0],
            classes=subject.classes,
            task=subject.task,
            loss=loss_made,
            seed=seed,
        )
        if escalation.has("useless"):
            attacks_made.append(make("attack", evaluation_.SEARCH))
    evaluation = evaluation_.evaluate(
        model,
        subject.split,
        threat=subject.threats[0],
        attacks=attacks_made,
        classes=subject.classes,
        task=subject.task,
        loss=loss_made,
        known=known,
        escalation=escalation,
        batch_size=batch_size,
        seed=seed,
        keep_examples=keep_examples,
    )
    for doubt in evaluation.doubts:
        warnings.warn(doubt, RobustfwWarning, stacklevel=2)
    return evaluation


def craft(
    model: nn.Module,
    data: Any,
    *,
    uncertainty: UncertaintySet | Spec | Sequence[UncertaintySet | Spec],
    attack: Attack | Spec,
    examples: int | None = None,
    classes: int | None = None,
    bounds: Bounds | Literal["auto"] = "auto",
    task: Task | Spec | None = None,
    loss: losses.LossFunction | Spec | None = None,
    masked: bool = False,
    batch_size: int = 500,
    seed: int = 0,
) -> Examples:
    """Craft adversarial examples: what the net has right and the attack fools, as ``robustfw craft`` does.

    Args:
        model: a net; its outputs are what the task says.
        data: the examples, in any form that `robustfw.as_split` takes, or a data set's spec.
        uncertainty: the set 𝒰, or its spec; or a list of these, each of which is tried.
        attack: the attack, or its spec.
        examples: try the first so many; None: all.
        classes: how many classes, labels or targets there are; by default as many as the net has outputs.
        bounds: the data range, as in `robustfw.evaluate`.
        task: what outputs and targets are, as in `robustfw.evaluate`.
        loss: what the attack raises, or its spec; the task's by default.
        masked: whether x are sequences whose last feature is a mask.
        batch_size: examples that are attacked together.
        seed: seeds the attack's randomness.

    Returns:
        The examples that are fooled: ``original``, ``adversarial``, ``delta``, ``y``, what the net says (``label``) and
        how sure it is (``confidence``), and the row and the set that each belongs to (``index``, ``set``).

    Raises:
        DataError: x, y or outputs do not fit each other, the task or the range.
        PluginError: the attack left its set.
    """
    sets = uncertainty if isinstance(uncertainty, list | tuple) else [uncertainty]
    subject = _read(
        data,
        sets,
        examples=examples,
        classes=classes,
        bounds=bounds,
        task=task,
        masked=masked,
    )
    batches = evaluation_.craft(
        model,
        subject.split,
        threats=subject.threats,
        attack=make("attack", attack),
        classes=subject.classes,
        task=subject.task,
        loss=make_loss(loss),
        batch_size=batch_size,
        seed=seed,
    )
    return evaluation_.Examples.concatenate(list(batches))
