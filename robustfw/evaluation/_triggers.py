"""Evidence that gradient attacks are blind to a net as it is, and what is done about it."""

from __future__ import annotations

import attrs
import torch
from torch import nn

from robustfw import losses
from robustfw.attack import Attack
from robustfw.data.splits import Split
from robustfw.evaluation._accuracy import device_of
from robustfw.evaluation._checks import read_targets
from robustfw.inner._randomness import generator_for
from robustfw.inner.adversary import Adversary
from robustfw.inner.escalation import DRAWS, JUDGES, Escalation, Trigger
from robustfw.inner.freezing import freeze, leave_inference, match_type
from robustfw.inner.problem import InnerProblem
from robustfw.inner.surrogates import find_steps, straight_through
from robustfw.inner.threat import Threat
from robustfw.task import Classification, Task

SEARCH = "random:samples=500"
"""The attack that is tried as well where gradients lead nowhere."""
ROWS = 32
"""The most examples that evidence is looked for at."""
RANDOM = 1e-4
"""Difference between the outputs of two passes that is more than rounding, as a share of the largest output."""
ALIKE = 0.99
"""Cosine of two gradients from which on they count as one."""
SHARE = 0.25
"""How far into the set the gradient's promise is tried."""
NOISES = 8
"""Random members that the gradient's direction is held against."""


def find_escalation(
    model: nn.Module,
    split: Split,
    *,
    threat: Threat,
    attack: Attack,
    classes: int | None = None,
    task: Task | None = None,
    loss: losses.LossFunction | None = None,
    seed: int = 0,
) -> Escalation:
    """Look for evidence that gradient attacks are blind to a net, at the first examples that it has right.

    Args:
        model: outputs of x (batch, *shape).
        split: the examples.
        threat: the set and the data range.
        attack: what is tried first.
        classes: how many classes, labels or targets there are; None: as many as the net has outputs.
        task: what the outputs are for; classification by default.
        loss: what attacks raise; None: the task's.
        seed: of random members.

    Returns:
        The evidence, and what attacks do about it; pass it to `robustfw.evaluation.verdicts`.
    """
    task = task or Classification()
    generator = generator_for(seed, "escalation")
    adversary = Adversary(threat, attack, generator, task, loss)
    x, y = next(split.iterate(2 * ROWS, device_of(model)))
    x = leave_inference(x)
    targets = read_targets(task, x, leave_inference(y), classes)
    with freeze(model):
        net = match_type(model, x)
        with torch.no_grad():
            right = ~task.wrong(task.read(net(x.clone()), len(x)), targets)
        if not bool(right.any()):
            return Escalation()
        problem = adversary.problem(net, x[right], targets[right], criterion=task.wrong)
        return find_triggers(problem, generator)


def find_triggers(problem: InnerProblem, generator: torch.Generator) -> Escalation:
    """Look for evidence at some of the rows of a problem.

    Four things are looked for. random: two passes give different outputs. steps: the net rounds, compares or casts, and
    with gradients through these steps the input gradient is another one. saturated: the loss has no gradient where the
    margin of the same outputs has one. useless: in the direction that the gradient promises, the loss rises less than
    at random members of the set, for most rows.

    Args:
        problem: rows that are right, with the loss that attacks raise; its net is frozen.
        generator: of the random members.
    """
    rows = problem[: min(ROWS, len(problem))]
    triggers = []
    random = _random(rows)
    if random is not None:
        triggers.append(random)
    else:
        # the gradients of a random net are another one each time
        for trigger in (_steps(rows), _saturated(rows)):
            if trigger is not None:
                triggers.append(trigger)
        if not triggers:
            useless = _useless(rows, generator)
            if useless is not None:
                triggers.append(useless)
    return Escalation(tuple(triggers))


def _random(problem: InnerProblem) -> Trigger | None:
    with torch.no_grad():
        first = problem.forward(problem.x.clone())
        second = problem.forward(problem.x.clone())
    scale = first.abs().amax()
    difference = (first - second).abs().amax()
    if not bool(difference > RANDOM * scale):
        return None
    share = float(difference / scale)
    return Trigger(
        name="random",
        evidence=f"outputs differ from call to call, by up to {share:.2g} of the largest",
        answer=f"gradients are means over {DRAWS} draws, and the majority of {JUDGES} decides",
    )


def _steps(problem: InnerProblem) -> Trigger | None:
    found = find_steps(problem.forward, problem.x)
    if not found:
        return None
    try:
        through = attrs.evolve(problem, forward=straight_through(problem.forward))
        _, smooth = through.linearize()
    except (RuntimeError, TypeError, IndexError):
        # the net does more with its whole numbers than compute: nothing can stand in for it
        return None
    _, plain = problem.linearize()
    alike = torch.cosine_similarity(plain.flatten(1), smooth.flatten(1))
    others = int((alike < ALIKE).sum())
    if 2 * others <= len(problem):
        return None
    blind = int((plain == 0).flatten(1).all(1).sum())
    return Trigger(
        name="steps",
        evidence=(
            f"the net calls {', '.join(found)}; at {blind} of {len(problem)} examples it has no gradient, and at "
            f"{others} another one through these steps"
        ),
        answer="gradients go straight through these steps (BPDA)",
    )


def _saturated(problem: InnerProblem) -> Trigger | None:
    if not problem.labelled:
        return None
    _, plain = problem.linearize()
    _, of_margin = problem.with_loss(losses.margin).linearize()
    lost = (plain == 0).flatten(1).all(1) & (of_margin != 0).flatten(1).any(1)
    count = int(lost.sum())
    if 4 * count <= len(problem):
        return None
    return Trigger(
        name="saturated",
        evidence=f"at {count} of {len(problem)} examples the loss has no gradient, and the margin has one",
        answer="attacks raise the margin",
    )


def _useless(problem: InnerProblem, generator: torch.Generator) -> Trigger | None:
    # a share of a member is one where the set is convex
    if not problem.region.convex:
        return None
    open_problem = attrs.evolve(problem, criterion=None)
    start, gradient = open_problem.linearize()
    region = problem.region
    along = open_problem.value(SHARE * region.support(gradient)) - start
    best_noise = torch.full_like(along, -torch.inf)
    for _ in range(NOISES):
        member = SHARE * region.sample(generator)
        best_noise = torch.maximum(best_noise, open_problem.value(member) - start)
    worse = int((along <= best_noise).sum())
    if 2 * worse <= len(problem):
        return None
    return Trigger(
        name="useless",
        evidence=(
            f"at {worse} of {len(problem)} examples the loss rises less along its gradient than at the best of "
            f"{NOISES} random members"
        ),
        answer="random members of the set are tried as well",
    )
