"""What a program calls: plugin objects from specs, trainings as generators, worst cases for a loop of one's own."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import attrs
import torch
from torch import Tensor, nn

from robustfw import evaluation as evaluation_
from robustfw import losses
from robustfw.data.bounds import Bounds
from robustfw.data.splits import Split, Splits
from robustfw.errors import DataError, RobustfwWarning, UsageError
from robustfw.inner import freezing, problem
from robustfw.inner.adversary import Adversary
from robustfw.inner.threat import Threat
from robustfw.plugin import registry
from robustfw.records import Epoch, Record
from robustfw.storage.runs import Run
from robustfw.task import Classification, Task
from robustfw.training._given import GivenDataset, GivenModel
from robustfw.training._reopen import rebuild
from robustfw.training._session import Session, begin
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

    ``make("uncertainty", "l1:radius=8")``, or a mapping ``{"use": "l1", "radius": 8}``.

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

    Parts are objects or specs, and `Splits` are data of your own. A list of objectives is a loss with penalties. What
    is left out is as in ``robustfw train``.

    ``record.model`` is the net as it is after the epoch, in evaluation mode; ``record.best_model()`` a copy with the
    weights of the best epoch so far, which is what ``robustfw.load`` gives. A ``torch.nn.Module`` that is given is
    trained in place: at the end it holds the weights of the last epoch (their average, where there is one), in
    evaluation mode.

    Args:
        out: a run directory to write (manifest, metrics, checkpoints); nothing is written without it.
        resume: go on where the run in ``out`` stopped.
        data_dir: where data files are; else ROBUSTFW_DATA, else ~/.cache/robustfw.
        options: those of `robustfw.training.recipe.TrainOptions`: epochs, batch_size, learning_rate, seed, …
    """
    parts = {
        "dataset": GivenDataset(dataset) if isinstance(dataset, Splits) else dataset,
        "model": GivenModel(model) if isinstance(model, nn.Module) else model,
        "uncertainty": uncertainty,
        "attack": attack,
        "objective": objective,
        "train": options,
    }
    known = registry.installed()
    session = begin(
        Recipe.read(parts, known),
        known,
        data_dir=None if data_dir is None else Path(data_dir),
        out=None if out is None else Path(out),
        resume=resume,
    )
    return _shown(session, steps=steps)


def _shown(session: Session, *, steps: bool) -> Iterator[Record]:
    """The records that are asked for; then a net that was given gets the weights that count."""
    with contextlib.closing(session.records()) as records:
        for record in records:
            if steps or isinstance(record, Epoch):
                yield record
    state = session.state
    if isinstance(session.recipe.model, GivenModel) and state.average is not None:
        state.model.load_state_dict(state.weights())
    state.model.eval()


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
    goal: problem.Goal | Literal["wrong"] | None = ...,
    generator: torch.Generator | None = ...,
    mode: freezing.AscentMode = ...,
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
    goal: problem.Goal | Literal["wrong"] | None = ...,
    generator: torch.Generator | None = ...,
    mode: freezing.AscentMode = ...,
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
    goal: problem.Goal | Literal["wrong"] | None = None,
    generator: torch.Generator | None = None,
    mode: freezing.AscentMode = "eval",
    modules: Sequence[nn.Module] = (),
    details: bool = False,
) -> Tensor | WorstCases:
    """x̃ = x + argmax_{δ ∈ 𝒰(x)} loss(model(x + δ), y), for a training loop of your own.

    The model comes back as it was: parameters, their ``.grad``, buffers, training flags. x̃ is detached, a member of its
    set, and in the data range. It works within ``torch.no_grad`` and ``torch.inference_mode``.

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
        goal: what solves an example, (outputs, y) ↦ (batch,); "wrong": a wrong output. An attack leaves alone what is
            solved, and one that looks for the nearest such member (cw, lbfgs, deepfool) has nothing else to be near to:
            for these "wrong" is the default, for all others there is none.
        generator: the source of the attack's randomness; by default a new one each time, with a seed from torch's
            global generator, so that ``torch.manual_seed`` decides.
        mode: "eval", or "train" for batch norm and dropout as in training during the ascent.
        modules: nets to freeze besides those that are found.
        details: give `WorstCases` instead of x̃ alone: δ, outputs, and which are wrong.

    Raises:
        DataError: x, y, the outputs or the loss are not of the form that is needed.
        PluginError: the attack left its set, or returned something of another form.
    """
    if not isinstance(x, torch.Tensor) or not isinstance(y, torch.Tensor):
        raise DataError("x and y must be tensors: torch.as_tensor takes what numpy has")
    made = make("attack", attack)
    read_task = _task_for(task, y, loss)
    raised = make("loss", loss) if isinstance(loss, str | Mapping) else loss
    threat = Threat(make("uncertainty", uncertainty), bounds)
    adversary = Adversary(threat, made, generator or _fresh_generator(), read_task, raised)
    x, targets = _readable(model, x, y, read_task)
    wanted = _goal_for(goal, made, read_task)
    nets = [*freezing.find_nets(model), *modules]
    if not nets:
        _warn_of_hidden_nets(model, x)
    with freezing.freeze_all(nets, mode):
        worked = adversary.problem(model, x, targets, goal=wanted)
        if read_task is not None:
            worked = attrs.evolve(worked, forward=_checking_targets(worked.forward, read_task, targets))
        delta = adversary.maximize(worked)
        moved = threat.apply(worked.region, x, delta)
        if not details:
            return moved
        with torch.no_grad():
            outputs = worked.forward(moved.clone())
            judge = wanted or (None if read_task is None else read_task.wrong)
            wrong = None if judge is None else judge(outputs, targets)
            return WorstCases(moved, delta, outputs, adversary.attack_loss(outputs, targets), wrong)


@attrs.frozen(eq=False)
class WorstCases:
    """What `worst_case` has found, with ``details=True``; everything has a row for each example."""

    x: Tensor
    """x̃, (batch, *shape)."""
    delta: Tensor
    """The member of the set that x̃ was made by."""
    outputs: Tensor
    """The net's outputs at x̃, in the form of the task."""
    loss: Tensor
    """J at x̃, (batch,)."""
    wrong: Tensor | None
    """Whether the goal is reached at x̃, (batch,) bool; without a goal, whether the output is wrong. None where nothing
    says what is wrong."""


def _task_for(task: Task | Spec | None, y: Tensor, loss: object) -> Task | None:
    """The task that is given, or classification where targets look like labels."""
    if task is not None:
        return make("task", task)
    if (
        isinstance(y, torch.Tensor)
        and not y.is_floating_point()
        and (y.dim() == 1 or (y.dim() == 2 and y.shape[1] == 1))
    ):
        return Classification()
    if isinstance(y, torch.Tensor) and y.dim() == 2 and bool((((y == 0) | (y == 1)).all(1) & (y.sum(1) == 1)).all()):
        return Classification() if loss is None else None  # rows of 0 with one 1 are labels
    if loss is None:
        raise DataError(
            f"targets are {str(y.dtype).removeprefix('torch.')} of shape {tuple(y.shape)}, no class labels: say by "
            "task= what they are (binary, multilabel, regression, segmentation), or give a loss"
        )
    return None


def _readable(model: object, x: Tensor, y: Tensor, task: Task | None) -> tuple[Tensor, Tensor]:
    """x and y in the right form; raise a `DataError` where they are not."""
    x, y = freezing.leave_inference(x.detach()), freezing.leave_inference(y)
    if len(x) != len(y):
        raise DataError(f"there are {len(x)} examples and {len(y)} targets")
    freezing.check_type(model, x)
    return x, y if task is None else task.targets(y)


def _checking_targets(forward: problem.Forward, task: Task, y: Tensor) -> problem.Forward:
    """The net, whose first outputs say how many classes or targets there are, and so whether y fits them."""
    unchecked = True

    def checking(x: Tensor) -> Tensor:
        nonlocal unchecked
        outputs = forward(x)
        if unchecked:
            task.check(y, outputs.shape[1])
            unchecked = False
        return outputs

    return checking


def _goal_for(goal: problem.Goal | str | None, attack: Attack, task: Task | None) -> problem.Goal | None:
    if callable(goal):
        return goal
    if goal not in (None, "wrong"):
        raise UsageError(f'goal is a function of outputs and y, "wrong", or None, not {goal!r}')
    if goal is None and not attack.minimal:
        return None
    if task is None:
        if goal is None:
            return None
        raise UsageError('goal="wrong" needs to know what is wrong: give a task')
    return task.wrong


def _fresh_generator() -> torch.Generator:
    """A generator whose seed is drawn from torch's global one."""
    return torch.Generator().manual_seed(int(torch.randint(2**62, ()).item()))


def _warn_of_hidden_nets(model: problem.Forward, x: Tensor) -> None:
    """Warn where a function's outputs depend on parameters of a net that could not be found, and so not be frozen."""
    if not len(x):
        return
    with torch.inference_mode(mode=False), torch.enable_grad():
        outputs = model(x.clone())
    if isinstance(outputs, torch.Tensor) and freezing.hides_parameters(outputs):
        warnings.warn(
            "the function holds a net that was not found, so that it is not frozen: batch norm's statistics may "
            "change, and dropout may be on; name it by modules=[net]",
            RobustfwWarning,
            stacklevel=3,
        )


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
    """Clean and robust accuracy with intervals. Several attacks: each example's worst case over all of them.

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
        seed: of the attack's randomness.

    Raises:
        DataError: x, y or outputs do not fit each other, the task or the range.
        PluginError: an attack left its set.
        UsageError: there is no attack.

    Warns:
        RobustfwWarning: the number may mean less than it says: no gradient, tied outputs, outputs that are no numbers.
    """
    threat = Threat(make("uncertainty", uncertainty), bounds)
    found = evaluation_.evaluate(
        model,
        split,
        threat=threat,
        attacks=[make("attack", each) for each in (attack if isinstance(attack, list | tuple) else [attack])],
        classes=classes,
        task=make("task", task),
        loss=make("loss", loss) if isinstance(loss, str | Mapping) else loss,
        batch_size=batch_size,
        seed=seed,
    )
    threat.warn_of_unit(next(split.first(8).in_order(8))[0])
    for doubt in found.doubts:
        warnings.warn(doubt, RobustfwWarning, stacklevel=2)
    return found


def load(run: str | Path, *, model: nn.Module | None = None, weights: Literal["best", "last"] = "best") -> nn.Module:
    """The net of a run, in evaluation mode.

    Args:
        run: its directory.
        model: a net of the run's architecture to put the weights into, for a run that was trained from an object: only
            the program that made it has its class.
        weights: "best", of highest robust validation accuracy, or "last".
    """
    return rebuild(Run.open(Path(run)), registry.installed(), model, weights=weights)
