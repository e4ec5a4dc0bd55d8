"""The functions that a program calls: make plugins, train, find worst cases, evaluate, load a trained net."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import torch
from torch import Tensor, nn

from robustfw import evaluation as evaluation_
from robustfw import losses
from robustfw.data.bounds import Bounds
from robustfw.data.splits import Split, Splits
from robustfw.errors import DataError, RobustfwWarning
from robustfw.inner import _call, problem
from robustfw.inner._call import WorstCases as WorstCases
from robustfw.inner.adversary import Adversary
from robustfw.inner.freezing import AscentMode
from robustfw.inner.threat import Threat
from robustfw.plugin import registry
from robustfw.records import Record
from robustfw.storage.runs import Run
from robustfw.task import Task
from robustfw.training._given import GivenDataset, GivenModel, yield_records
from robustfw.training._reopen import rebuild
from robustfw.training._session import begin
from robustfw.training.recipe import Recipe

if TYPE_CHECKING:
    from robustfw.attack import Attack
    from robustfw.dataset import Dataset
    from robustfw.evaluation import Evaluation
    from robustfw.model import Model
    from robustfw.objective import Objective
    from robustfw.plugin.options import Spec
    from robustfw.uncertainty import UncertaintySet


def make(kind: str, spec: Any) -> Any:
    """The plugin object for a kind (uncertainty, attack, objective, model, dataset) and a spec.

    Specs are texts, as in ``make("uncertainty", "l1:radius=8")``, or mappings, ``{"use": "l1", "radius": 8}``.

    Raises:
        UsageError: no such kind, name or option, or a value that does not fit; the message lists what there is.
    """
    return registry.installed().make(kind, spec)


def train(
    *,
    dataset: Dataset | Splits | Spec | None = None,
    model: Model | nn.Module | Spec | None = None,
    uncertainty: UncertaintySet | Spec | None = None,
    attack: Attack | Spec | None = None,
    objective: Objective | Spec | Sequence[Objective | Spec] | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    data_dir: str | Path | None = None,
    steps: bool = False,
    **options: Any,
) -> Iterator[Record]:
    """Train, as a generator of records: one `robustfw.Epoch` per epoch, and with ``steps`` a `Step` per update.

    Parts are objects or specs. What is left out is as in ``robustfw train``.

    ``record.model`` is the net as it is after the epoch, in evaluation mode; ``record.best_model()`` a copy with the
    weights of the best epoch so far, which is what ``robustfw.load`` gives. A ``torch.nn.Module`` that is given is
    trained in place: at the end it holds the weights of the last epoch (their average, where there is one), in
    evaluation mode.

    Args:
        dataset: the data set, or `Splits` of your own data.
        model: the net, or what builds it.
        uncertainty: the set 𝒰.
        attack: the attack that finds worst cases.
        objective: what is minimized; a list is a loss with penalties.
        out: a run directory to write (manifest, metrics, checkpoints); nothing is written without it.
        resume: go on where the run in ``out`` stopped.
        data_dir: where data files are; by default ROBUSTFW_DATA, else ~/.cache/robustfw.
        steps: yield a `Step` for each update, too.
        options: those of `robustfw.training.recipe.TrainOptions`: epochs, batch_size, learning_rate, seed, …

    Raises:
        UsageError: a part, a plugin or an option does not exist, or a value does not fit.
        DataError: the data is missing or does not fit the net.
        RunError: ``out`` cannot be written or resumed.
        TrainingError: while records are drawn: the loss is not finite, or overfitting stops the training.
    """
    parts = {
        "dataset": GivenDataset(dataset) if isinstance(dataset, Splits) else dataset,
        "model": GivenModel(model) if isinstance(model, nn.Module) else model,
        "uncertainty": uncertainty,
        "attack": attack,
        "objective": objective,
        "train": options,
    }
    plugins = registry.installed()
    session = begin(
        Recipe.read(parts, plugins),
        plugins,
        data_dir=None if data_dir is None else Path(data_dir),
        out=None if out is None else Path(out),
        resume=resume,
    )
    return yield_records(session, steps=steps)


@overload
def worst_case(
    model: nn.Module | problem.Forward,
    x: Tensor,
    y: Tensor,
    *,
    uncertainty: UncertaintySet | Spec,
    attack: Attack | Spec,
    bounds: Bounds = ...,
    task: Task | Spec | None = ...,
    loss: losses.LossFunction | Spec | None = ...,
    criterion: problem.Criterion | Literal["wrong"] | None = ...,
    generator: torch.Generator | None = ...,
    mode: AscentMode = ...,
    modules: Sequence[nn.Module] = ...,
    details: Literal[False] = ...,
) -> Tensor: ...
@overload
def worst_case(
    model: nn.Module | problem.Forward,
    x: Tensor,
    y: Tensor,
    *,
    uncertainty: UncertaintySet | Spec,
    attack: Attack | Spec,
    bounds: Bounds = ...,
    task: Task | Spec | None = ...,
    loss: losses.LossFunction | Spec | None = ...,
    criterion: problem.Criterion | Literal["wrong"] | None = ...,
    generator: torch.Generator | None = ...,
    mode: AscentMode = ...,
    modules: Sequence[nn.Module] = ...,
    details: Literal[True],
) -> WorstCases: ...
def worst_case(
    model: nn.Module | problem.Forward,
    x: Tensor,
    y: Tensor,
    *,
    uncertainty: UncertaintySet | Spec,
    attack: Attack | Spec,
    bounds: Bounds = (0.0, 1.0),
    task: Task | Spec | None = None,
    loss: losses.LossFunction | Spec | None = None,
    criterion: problem.Criterion | Literal["wrong"] | None = None,
    generator: torch.Generator | None = None,
    mode: AscentMode = "eval",
    modules: Sequence[nn.Module] = (),
    details: bool = False,
) -> Tensor | WorstCases:
    """Perturb each example to where the loss is highest, for a training loop of your own.

    x̃ = x + δ, where δ maximizes loss(model(x + δ), y) over 𝒰(x) as far as the attack finds it; x̃ stays in the data
    range, has no graph, and its perturbation is checked to be a member of the set. The model comes back as it was:
    parameters, their ``.grad``, buffers and training flags. It works within ``torch.no_grad`` and
    ``torch.inference_mode``.

    Args:
        model: a net, or a function of x (batch, *shape) to outputs. Nets that a function holds (in its closure, its
            partial arguments or its attributes) are frozen meanwhile as a net itself is.
        x: examples (batch, *shape), floating point.
        y: targets of the task: class labels (batch,), numbers (batch, targets), …
        uncertainty: the set 𝒰, or its spec.
        attack: the attack, or its spec.
        bounds: the data range, (lower, upper): numbers, or one number for each feature or channel, or tensors that
            broadcast to an example; None where there is none.
        task: what outputs and targets are, or its spec. By default classification where y are whole numbers (batch,);
            otherwise outputs are handed to the loss as they are.
        loss: J, or its spec: outputs and y to values (batch,); the task's by default.
        criterion: what solves an example, (outputs, y) ↦ (batch,); "wrong": a wrong output. An attack leaves alone what
            is solved, and one that looks for the nearest such member (cw, lbfgs, deepfool) has nothing else to be near
            to: for these "wrong" is the default, for all others there is none.
        generator: the source of the attack's randomness; by default a new one each time, with a seed from torch's
            global generator, so that ``torch.manual_seed`` decides.
        mode: "eval", or "train" for batch norm and dropout as in training during the ascent.
        modules: nets to freeze besides those that are found.
        details: give `WorstCases` instead of x̃ alone: δ, outputs, and which are wrong.

    Returns:
        x̃, of the shape, dtype and device of x; with ``details`` a `WorstCases`.

    Raises:
        DataError: x, y, the outputs or the loss are not of the form that is needed.
        PluginError: the attack left its set, or returned something of another form.
    """
    if not isinstance(x, torch.Tensor) or not isinstance(y, torch.Tensor):
        raise DataError("x and y must be tensors: torch.as_tensor takes what numpy has")

    maximizer = make("attack", attack)
    known_task = _call.guess_task(y, loss) if task is None else make("task", task)
    raised_loss = _make_loss(loss)
    threat = Threat(make("uncertainty", uncertainty), bounds)
    adversary = Adversary(
        threat=threat,
        attack=maximizer,
        generator=generator or _call.draw_generator(),
        task=known_task,
        loss=raised_loss,
    )
    return _call.find_worst_cases(
        model,
        x,
        y,
        adversary,
        criterion=criterion,
        mode=mode,
        modules=modules,
        details=details,
    )


def _make_loss(loss: losses.LossFunction | Spec | None) -> losses.LossFunction | None:
    """The loss for a spec; a function, or None, as it is."""
    if isinstance(loss, str | Mapping):
        loss_function: losses.LossFunction = make("loss", loss)
        return loss_function
    return loss


def evaluate(
    model: nn.Module,
    split: Split,
    *,
    uncertainty: UncertaintySet | Spec,
    attack: Attack | Spec | Sequence[Attack | Spec],
    classes: int | None = None,
    bounds: Bounds = (0.0, 1.0),
    task: Task | Spec = "classification",
    loss: losses.LossFunction | Spec | None = None,
    batch_size: int = 500,
    seed: int = 0,
) -> Evaluation:
    """Measure a net's accuracy on clean examples and under attack, each with a 95 % interval.

    An example counts as robust if it is right and no attack finds a perturbation in the set, within the data range,
    that makes it wrong. An attack may miss some, so the robust accuracy is an upper bound. No attack is trusted: that
    its perturbations are members, and that the output is wrong, is checked by a forward pass of its own.

    Args:
        model: a net; its outputs are what the task says, logits (batch, classes) for instance.
        split: the examples, ``TensorSplit(x, y)``.
        uncertainty: the set 𝒰, or its spec.
        attack: the attack, or its spec; or a list of these.
        classes: how many classes, labels or targets there are; by default as many as the net has outputs.
        bounds: the data range, (lower, upper): numbers, or one for each feature or channel; None where there is none.
        task: what outputs and targets are: classification, binary, multilabel, regression:tolerance=…, segmentation.
        loss: what the attack raises, or its spec; the task's by default.
        batch_size: examples that are attacked together.
        seed: seeds the attack's randomness.

    Returns:
        An `Evaluation`: ``clean_accuracy``, ``robust_accuracy`` and their Wilson intervals, counts per class, passes,
        seconds, what became of each example (``verdicts``), and reasons to doubt the number (``doubts``).

    Raises:
        DataError: x, y or outputs do not fit each other, the task or the range.
        PluginError: an attack left its set.
        UsageError: there is no attack.

    Warns:
        RobustfwWarning: the number may mean less than it says: no gradient, tied outputs, outputs that are no numbers.
    """
    threat = Threat(make("uncertainty", uncertainty), bounds)
    attacks = attack if isinstance(attack, list | tuple) else [attack]
    evaluation = evaluation_.evaluate(
        model,
        split,
        threat=threat,
        attacks=[make("attack", spec) for spec in attacks],
        classes=classes,
        task=make("task", task),
        loss=_make_loss(loss),
        batch_size=batch_size,
        seed=seed,
    )
    x, _ = next(split.first(8).iterate(8))
    threat.warn_of_unit(x)
    for doubt in evaluation.doubts:
        warnings.warn(doubt, RobustfwWarning, stacklevel=2)
    return evaluation


def load(
    run: str | Path,
    *,
    model: nn.Module | None = None,
    weights: Literal["best", "last"] = "best",
) -> nn.Module:
    """The net of a run, in evaluation mode.

    Args:
        run: its directory.
        model: a net of the run's architecture to put the weights into, for a run that was trained from an object: only
            the program that made it has its class.
        weights: "best", of highest robust validation accuracy, or "last".

    Raises:
        RunError: there is no run, its weights are missing or do not fit, or its net was given as an object.
    """
    return rebuild(Run.open(Path(run)), registry.installed(), model, weights=weights)
