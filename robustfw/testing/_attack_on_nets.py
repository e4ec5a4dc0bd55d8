"""Laws of attacks on nets: masked classes, half precision, targets, and a net that is left as it was."""

from __future__ import annotations

import copy

import attrs
import torch
from torch import Tensor, nn

from robustfw import losses
from robustfw.attack import Attack
from robustfw.inner.freezing import AscentMode
from robustfw.regions import norms
from robustfw.testing._attack_cases import (
    cube_in_range,
    problems_for,
    require_member,
    seeded_generator,
)
from robustfw.testing.laws import require
from robustfw.testing.problems import (
    ROWS,
    Cube,
    Delicate,
    Function,
    classifier_problem,
    parabola,
)
from robustfw.training.batch import Batch

MASKED = -1e4
"""A logit that masks a class without being −∞."""
HALF_PRECISION_SLACK = 1e-6
"""Largest violation of a half-precision δ: rounding of the region's own arithmetic in float32."""


def check_masked_classes(attack: Attack, seed: int) -> None:
    """A class whose logit is −∞ changes δ no more than one whose logit is −10,000."""
    problem = classifier_problem(attack.example_shape, seed, cube_in_range)
    problem = attrs.evolve(problem, y=problem.y + 1)
    for criterion in (None, losses.misclassified):
        deltas = []
        for value in (-torch.inf, MASKED):
            masked = attrs.evolve(
                problem,
                forward=_mask_classes(problem.forward, value),
                criterion=criterion,
            )
            delta = copy.deepcopy(attack).maximize(masked, seeded_generator(seed))
            require_member(
                attack,
                problem=masked,
                delta=delta,
                when=f" where a class has the logit {value:g}",
            )
            deltas.append(delta)
        apart = norms(deltas[0] - deltas[1])
        require(
            apart <= 1e-6,
            text="δ is {} away from that with −10,000 instead of −∞",
            value=apart,
            delta=deltas[0],
        )


def _mask_classes(forward: Function, value: float) -> Function:
    """The net with two more classes, the first and the last one, whose logits are ``value``."""
    return lambda x: torch.nn.functional.pad(forward(x), (1, 1), value=value)


def check_half_precision(attack: Attack, seed: int) -> None:
    """In float16, bfloat16 and float32 every δ is a finite member, of that type."""
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        for name, problem in problems_for(
            attack, seed=seed, function=parabola, dtype=dtype, few=True
        ):
            delta = attack.maximize(problem, seeded_generator(seed))
            require_member(
                attack,
                problem=problem,
                delta=delta,
                when=f" ({name}, {dtype})",
                slack=HALF_PRECISION_SLACK,
            )


def check_targets(attack: Attack, seed: int) -> None:
    """On its way to a target it lowers J(θ, x + δ, target) of every row of a linear classifier (0 promises nothing)."""
    if attack.linear_share == 0:
        return
    plain = classifier_problem(attack.example_shape, seed, cube_in_range)
    for k in range(1, 5):
        problem = plain.with_target((plain.y + k) % 5)
        delta = attack.maximize(problem, seeded_generator(seed))
        require_member(attack, problem=problem, delta=delta, when=" with a target")
        gain = problem.value(delta) - problem.value(problem.region.zero())
        require(
            gain > 0,
            text="lowers the target's loss by {}",
            value=gain,
            x=problem.x,
            delta=delta,
        )


def check_model_untouched(attack: Attack, seed: int) -> None:
    """Parameters, their .grad, buffers, training and requires_grad flags are bit-equal before and after."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        x = torch.rand(ROWS, *attack.example_shape)
        y = torch.arange(ROWS) % 3
        model = Delicate(x[0].numel()).train()
        losses.cross_entropy(model(x), y).sum().backward()
        model.body[1].eval()
        modes: tuple[AscentMode, ...] = ("eval", "train")
        for mode in modes:
            before = copy.deepcopy(_full_state(model))
            batch = Batch.create(
                model, x, y, uncertainty=Cube(), attack=attack, seed=seed
            )
            perturbed = batch.worst_case(mode=mode)
            after = _full_state(model)
            changed = [
                name for name, value in before.items() if not _equal(value, after[name])
            ]
            require(
                not changed, f"the attack changed {', '.join(changed)} ({mode} mode)"
            )
            require(not perturbed.requires_grad, "x̃ keeps a graph")
            require(
                bool((norms(perturbed - x) > 0).any()) or attack.linear_share == 0,
                "no example was moved",
            )


def _full_state(model: nn.Module) -> dict[str, object]:
    """Parameters, buffers, gradients and flags of a net by name."""
    state: dict[str, object] = dict(model.state_dict())
    for name, parameter in model.named_parameters():
        state[f"{name}.grad"] = parameter.grad
        state[f"{name}.requires_grad"] = parameter.requires_grad
    for name, module in model.named_modules():
        state[f"{name}.training"] = module.training
    return state


def _equal(left: object, right: object) -> bool:
    """Whether two values of a state are equal, tensors bit for bit."""
    if isinstance(left, Tensor) and isinstance(right, Tensor):
        return bool(torch.equal(left, right))
    return left is right or left == right
