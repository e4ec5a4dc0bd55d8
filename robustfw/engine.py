"""Algorithm 1, generalised: a generator of records that trains any net against any attack over any set.

The engine prints nothing and writes nothing. Whenever it yields, its `State` is whole, so that whoever consumes the
records may save it, stop there, and later go on as if nothing had happened.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Generator, Iterator

import attrs
import torch
from torch import Tensor, nn

from robustfw import parallel
from robustfw.errors import TrainingError
from robustfw.evaluation import evaluate
from robustfw.inner import worst_case
from robustfw.modes import half_precision
from robustfw.objective import WorstCase
from robustfw.overfitting import Diagnosis, Symptoms, diagnose, examine
from robustfw.problem import Passes
from robustfw.recipe import Recipe
from robustfw.records import Epoch, Record, Step
from robustfw.splits import Splits
from robustfw.state import State, derived_seed, generator_for, global_randomness
from robustfw.uncertainty import ScaledSet, UncertaintySet

EXAMINED = 500
"""Validation examples on which the symptoms of overfitting are looked for."""
CHECK_EVERY = 25
"""Updates between two looks at values on devices where a look means waiting."""


def updates_per_epoch(examples: int, batch_size: int) -> int:
    """Full batches only, unless there is not even one."""
    return max(1, examples // batch_size)


def train(recipe: Recipe, splits: Splits, state: State) -> Generator[Record, None, None]:
    """min_θ Σ max_{δ ∈ 𝒰(x)} J(θ, x + δ, y): from wherever ``state`` stands to the last epoch.

    Yields a `Step` after each update and an `Epoch` after each epoch. The test split is out of reach: only
    ``splits.train`` and ``splits.validation`` are read.

    Raises:
        TrainingError: the loss is not finite, or the overfitting detector was told to stop.
    """
    forward = forward_of(recipe, state)
    net = parallel.wrapped(forward)
    for _ in range(state.epoch, recipe.train.epochs):
        start = time.perf_counter()
        yield from _steps(recipe, splits, state, forward, net)
        yield _finish_epoch(recipe, splits, state, start)


def forward_of(recipe: Recipe, state: State) -> nn.Module:
    """The net as it is run: itself, or compiled; its parameters are the state's."""
    if recipe.train.compile != "on":
        return state.model
    compiled: nn.Module = torch.compile(state.model)  # type: ignore[assignment]  # torch says Callable of a module
    return compiled


def _steps(recipe: Recipe, splits: Splits, state: State, forward: nn.Module, net: nn.Module) -> Iterator[Step]:
    """The batches that are left of the epoch under way."""
    options, device = recipe.train, state.total_loss.device
    batches = updates_per_epoch(len(splits.train), options.batch_size)
    order = torch.randperm(len(splits.train), generator=generator_for(options.seed, "order", state.epoch))
    left = order.split(options.batch_size)[state.batch : batches]
    for x, y in splits.train.batches(map(parallel.share, left), device):
        here = (state.epoch, state.batch, parallel.rank())
        if splits.augment is not None:
            x = splits.augment(x, generator_for(options.seed, "augment", *here), state.epoch)
        ask = functools.partial(
            worst_case,
            forward,
            x,
            y,
            uncertainty=_grown(recipe, state.epoch + (state.batch + 1) / batches),
            attack=recipe.attack,
            bounds=splits.spec.bounds,
            generator=generator_for(options.seed, "attack", *here),
            mode=options.ascent_mode,
            passes=state.passes,
            checked=not _looks(device, state.batch),
        )
        with global_randomness(device, derived_seed(options.seed, "layers", *here)):
            loss = update(recipe, state, net, x, y, ask)
        state.batch += 1
        state.total_loss += parallel.mean(loss)
        if _looks(device, state.batch) or state.batch == batches:
            _check_finite(state, batches)
        yield Step(state.epoch + 1, state.batch, batches, loss, state.learning_rate)


def _looks(device: torch.device, batch: int) -> bool:
    """Whether values are looked at in this step: anywhere else than on a CPU Python would wait for them."""
    return device.type == "cpu" or batch % CHECK_EVERY == 0


def update(recipe: Recipe, state: State, net: nn.Module, x: Tensor, y: Tensor, ask: WorstCase) -> Tensor:
    """One descent step for θ at the worst cases that the objective asks for; the mean loss, detached.

    Danskin's theorem: the gradient of a maximum is the gradient at the maximizer, held fixed.
    """
    options = recipe.train
    net.train()
    with half_precision(x.device, enabled=options.precision == "bf16"):
        loss = recipe.objective(net, x, y, ask).mean()
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    if options.clip is not None:
        nn.utils.clip_grad_norm_(state.model.parameters(), options.clip)
    state.optimizer.step()
    state.scheduler.step()
    parallel.share_buffers(state.model)
    if state.average is not None:
        state.average.update_parameters(state.model)
    return loss.detach()


def _grown(recipe: Recipe, epochs: float) -> UncertaintySet:
    """𝒰, or as much of it as the warm-up allows after so many epochs."""
    warmup = recipe.train.radius_warmup
    return ScaledSet(recipe.uncertainty, epochs / warmup) if epochs < warmup else recipe.uncertainty


def _check_finite(state: State, batches: int) -> None:
    if not math.isfinite(float(state.total_loss)):
        rate = state.learning_rate
        raise TrainingError(
            f"the loss is not finite in epoch {state.epoch + 1}, batch {state.batch} of {batches}: lower the learning "
            f"rate (it is {rate:.3g}) or clip the gradient (clip=1)"
        )


def _finish_epoch(recipe: Recipe, splits: Splits, state: State, start: float) -> Epoch:
    """Validate, look for overfitting, count the epoch."""
    batches, passes, ignored = state.batch, state.passes, recipe.train.on_overfitting == "ignore"
    loss = float(state.total_loss / batches)
    found = _validate(recipe, splits, state, attacked=passes.forward > 0)
    best = not found.robust_accuracy <= state.best_accuracy and (ignored or not found.diagnosis.overfitted)
    if best:
        state.best_accuracy = found.robust_accuracy
    state.smallest_gap = min(state.smallest_gap, found.diagnosis.gap)
    warnings = () if ignored else found.diagnosis.warnings + _react(recipe, state, found.diagnosis, best=best)
    state.epoch, state.batch, state.passes = state.epoch + 1, 0, Passes()
    state.total_loss.zero_()
    return Epoch(
        epoch=state.epoch,
        epochs=recipe.train.epochs,
        loss=loss,
        clean_accuracy=found.clean_accuracy,
        robust_accuracy=found.robust_accuracy,
        attack_accuracy=found.symptoms.attack_accuracy,
        attacked=found.attacked,
        gradient_alignment=found.symptoms.gradient_alignment,
        learning_rate=state.learning_rate,
        passes_per_example=_total(passes, state.total_loss.device) / (batches * recipe.train.batch_size),
        seconds=time.perf_counter() - start,
        best=best,
        warnings=warnings,
        model=state.evaluated,
    )


def _total(passes: Passes, device: torch.device) -> float:
    """Forward and backward passes of examples through the net, over all processes."""
    own = torch.tensor([passes.forward + passes.backward], dtype=torch.float64, device=device)
    return float(parallel.summed(own))


@attrs.frozen
class _Validation:
    attacked: int
    clean_accuracy: float
    robust_accuracy: float
    symptoms: Symptoms
    diagnosis: Diagnosis


def _validate(recipe: Recipe, splits: Splits, state: State, *, attacked: bool) -> _Validation:
    """Accuracies over all processes, so that all of them decide alike; not a number where nothing is held out."""
    options, device = recipe.train, state.total_loss.device
    count, nothing = min(options.validation_examples, len(splits.validation)), Symptoms(math.nan, math.nan)
    rows = parallel.share(torch.arange(count))
    split = splits.validation.subset(rows)
    if count < parallel.world():  # a process without a row could not take part
        return _Validation(0, math.nan, math.nan, nothing, diagnose(nothing, 0, 0, smallest_gap=1, limit=1))
    evaluation = evaluate(
        state.evaluated,
        split,
        uncertainty=recipe.uncertainty,
        attacks=[options.validation_attack or recipe.attack],
        classes=splits.spec.classes,
        bounds=splits.spec.bounds,
        seed=derived_seed(options.seed, "validation"),
    )
    symptoms = nothing
    if attacked:
        x, y = next(split.in_order(EXAMINED, device))
        symptoms = examine(
            state.evaluated,
            x,
            y,
            uncertainty=recipe.uncertainty,
            attack=recipe.attack,
            bounds=splits.spec.bounds,
            generator=generator_for(options.seed, "symptoms"),
        )
    local = torch.tensor(
        [len(rows), evaluation.correct, evaluation.robust, symptoms.attack_accuracy, symptoms.gradient_alignment],
        dtype=torch.float64,
        device=device,
    )
    n, correct, robust, under_attack, cosine = parallel.summed(local).tolist()
    symptoms = Symptoms(under_attack / parallel.world(), cosine / parallel.world())
    diagnosis = diagnose(
        symptoms, correct / n, robust / n, smallest_gap=state.smallest_gap, limit=options.overfitting_gap
    )
    return _Validation(int(n), correct / n, robust / n, symptoms, diagnosis)


def _react(recipe: Recipe, state: State, diagnosis: Diagnosis, *, best: bool) -> tuple[str, ...]:
    """Carry out ``on_overfitting``; what was done, in words."""
    action = recipe.train.on_overfitting
    if best and action == "roll-back":
        state.keep_good()
    if not diagnosis.overfitted or action == "warn":
        return ()
    if action == "stop":
        raise TrainingError(f"{diagnosis.warnings[0]} (stopped, as on_overfitting=stop says)")
    if not state.good:
        return ("there is nothing to roll back to yet",)
    state.roll_back()
    return ("rolled back to the weights of the best epoch",)
