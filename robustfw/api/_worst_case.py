"""Worst cases of a batch, for training loops of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

import torch
from torch import Tensor, nn

from robustfw import losses
from robustfw.api._making import make, make_loss
from robustfw.data.bounds import Bounds
from robustfw.data.convert import as_split
from robustfw.inner import _call, problem
from robustfw.inner._call import WorstCases
from robustfw.inner.adversary import Adversary
from robustfw.inner.freezing import AscentMode
from robustfw.inner.threat import Threat
from robustfw.task import Task

if TYPE_CHECKING:
    from robustfw.attack import Attack
    from robustfw.plugin.options import Spec
    from robustfw.uncertainty import UncertaintySet


@overload
def worst_case(
    model: nn.Module | problem.Forward,
    x: Any,
    y: Any,
    *,
    uncertainty: UncertaintySet | Spec,
    attack: Attack | Spec,
    bounds: Bounds = ...,
    task: Task | Spec | None = ...,
    loss: losses.LossFunction | Spec | None = ...,
    criterion: problem.Criterion | Literal["wrong"] | None = ...,
    masked: bool = ...,
    generator: torch.Generator | None = ...,
    mode: AscentMode = ...,
    modules: Sequence[nn.Module] = ...,
    details: Literal[False] = ...,
) -> Tensor: ...
@overload
def worst_case(
    model: nn.Module | problem.Forward,
    x: Any,
    y: Any,
    *,
    uncertainty: UncertaintySet | Spec,
    attack: Attack | Spec,
    bounds: Bounds = ...,
    task: Task | Spec | None = ...,
    loss: losses.LossFunction | Spec | None = ...,
    criterion: problem.Criterion | Literal["wrong"] | None = ...,
    masked: bool = ...,
    generator: torch.Generator | None = ...,
    mode: AscentMode = ...,
    modules: Sequence[nn.Module] = ...,
    details: Literal[True],
) -> WorstCases: ...
def worst_case(
    model: nn.Module | problem.Forward,
    x: Any,
    y: Any,
    *,
    uncertainty: UncertaintySet | Spec,
    attack: Attack | Spec,
    bounds: Bounds = (0.0, 1.0),
    task: Task | Spec | None = None,
    loss: losses.LossFunction | Spec | None = None,
    criterion: problem.Criterion | Literal["wrong"] | None = None,
    masked: bool = False,
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
        x: examples (batch, *shape), floating point, as a tensor or an array.
        y: targets of the task: class labels (batch,), numbers (batch, targets), … as a tensor or an array.
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
        masked: whether x are sequences (batch, time, features) whose last feature is a mask, 0 at padded steps: neither
            these steps nor the mask change.
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
        split = as_split((x, y))
        x, y = split.x, split.y  # type: ignore[attr-defined]  # a split in memory
    maximizer = make("attack", attack)
    known_task = _call.guess_task(y, loss) if task is None else make("task", task)
    raised_loss = make_loss(loss)
    threat = Threat(make("uncertainty", uncertainty), bounds, masked=masked)
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
