"""The end of an epoch: validation, what is done about overfitting, and the record of it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import attrs
import torch
from torch import Tensor

from robustfw.data.splits import Splits, StreamedSplit
from robustfw.errors import TrainingError
from robustfw.evaluation import evaluate
from robustfw.inner._randomness import derive_seed, generator_for
from robustfw.inner.adversary import Adversary
from robustfw.inner.problem import Passes
from robustfw.inner.threat import Threat
from robustfw.records import Epoch
from robustfw.training import parallel
from robustfw.training._overfitting import Diagnosis, Symptoms, diagnose, examine
from robustfw.training._state import State
from robustfw.training.recipe import Recipe

EXAMINED = 500
"""Validation examples on which the symptoms of overfitting are looked for."""


@attrs.frozen
class Validation:
    """Accuracies on the validation split, over all processes."""

    attacked: int
    """Examples that were attacked; 0 where nothing is held out."""
    clean_accuracy: float
    """Share of the attacked examples that are right without an attack; not a number where there are none."""
    robust_accuracy: float
    """Share that are right under the validation attack; not a number where there are none."""
    symptoms: Symptoms
    """How the net fares under the attack that it is trained with."""
    diagnosis: Diagnosis
    """Whether the net has overfitted to that attack."""


def finish_epoch(recipe: Recipe, splits: Splits, state: State, start: float) -> Epoch:
    """Validate the net, react to overfitting, count the epoch, and make its record.

    Args:
        recipe: the recipe of the training.
        splits: the data, of which the training and the validation split are read.
        state: the training, all batches of the epoch done; changed in place.
        start: when the epoch began, by `time.perf_counter`.

    Raises:
        TrainingError: the net has overfitted and ``on_overfitting`` is stop, or the processes differ.
    """
    batches = state.batch
    ignores_overfitting = recipe.train.on_overfitting == "ignore"
    passes = _count_passes(state.passes, state.total_loss.device)
    parallel.check_equal(state.model)

    # 1. measure the net that counts, its average where there is one
    _finish_average(recipe, splits, state)
    loss = float(state.total_loss / batches)
    validation = validate(recipe, splits, state)
    diagnosis = validation.diagnosis

    # 2. keep its weights if they are the best so far; an overfitted net never is
    better = state.is_best(validation.robust_accuracy, validation.clean_accuracy, loss)
    best = better and (ignores_overfitting or not diagnosis.overfitted)
    if best:
        state.keep_best(validation.robust_accuracy, validation.clean_accuracy, loss)

    # 3. react to overfitting
    state.smallest_gap = min(state.smallest_gap, diagnosis.gap)
    warnings: tuple[str, ...] = ()
    if not ignores_overfitting:
        warnings = diagnosis.warnings + _react(recipe, state, diagnosis, best=best)

    # 4. the state stands at the beginning of the next epoch
    state.epoch += 1
    state.batch = 0
    state.passes = Passes()
    state.total_loss.zero_()
    return Epoch(
        epoch=state.epoch,
        epochs=recipe.train.epochs,
        loss=loss,
        clean_accuracy=validation.clean_accuracy,
        robust_accuracy=validation.robust_accuracy,
        attack_accuracy=validation.symptoms.attack_accuracy,
        attacked=validation.attacked,
        gradient_alignment=validation.symptoms.gradient_alignment,
        learning_rate=state.learning_rate,
        passes_per_example=passes / (batches * recipe.train.batch_size),
        seconds=time.perf_counter() - start,
        best=best,
        warnings=warnings,
        model=state.net_to_evaluate.eval(),
        best_weights=state.best,
    )


def _count_passes(passes: Passes, device: torch.device) -> float:
    """Forward and backward passes of examples through the net, summed over all processes."""
    count = torch.tensor(
        [passes.forward + passes.backward], dtype=torch.float64, device=device
    )
    return float(parallel.sum_over_processes(count))


def _finish_average(recipe: Recipe, splits: Splits, state: State) -> None:
    """Do what an average needs before it is evaluated, such as measuring batch norm's statistics."""
    averages = recipe.train.averages
    if averages is None or state.average is None:
        return
    device = state.total_loss.device
    split = splits.train
    batch_size = recipe.train.batch_size
    examples: Iterator[Tensor]
    if isinstance(split, StreamedSplit):
        stream = split.epoch(state.epoch, recipe.train.seed, batch_size, 0, (0, 1))
        examples = (x.to(device) for x, *_ in stream)
    else:
        examples = (x for x, _ in split.iterate(batch_size, device))
    averages.finish(state.average, examples)


def validate(recipe: Recipe, splits: Splits, state: State) -> Validation:
    """Attack the validation examples, each process its share, and combine the accuracies so that all decide alike.

    Args:
        recipe: its validation attack, or its attack, is used within its set at full size.
        splits: the data, of which the validation split is read.
        state: the net to measure.

    Returns:
        The accuracies; not a number where there are fewer examples than processes.
    """
    options = recipe.train
    spec = splits.spec
    device = state.total_loss.device
    count = min(options.validation_examples, len(splits.validation))
    no_symptoms = Symptoms(math.nan, math.nan)
    # 1. this process's examples; one without a row could not take part
    rows = parallel.share(torch.arange(count))
    split = splits.validation.subset(rows)
    if count < parallel.world():
        no_diagnosis = diagnose(no_symptoms, 0, 0, smallest_gap=1, limit=1)
        return Validation(
            attacked=0,
            clean_accuracy=math.nan,
            robust_accuracy=math.nan,
            symptoms=no_symptoms,
            diagnosis=no_diagnosis,
        )

    # 2. accuracy under the validation attack
    threat = Threat.on(recipe.uncertainty, spec)
    evaluation = evaluate(
        state.net_to_evaluate,
        split,
        threat=threat,
        attacks=[options.validation_attack or recipe.attack],
        classes=spec.classes,
        task=spec.task,
        loss=options.loss,
        seed=derive_seed(options.seed, "validation"),
    )

    # 3. how the net fares under the training attack, if it is trained under one
    symptoms = no_symptoms
    if recipe.objective.attacks:
        x, y = next(split.iterate(EXAMINED, device))
        generator = generator_for(options.seed, "symptoms")
        adversary = Adversary(
            threat=threat,
            attack=recipe.attack,
            generator=generator,
            task=spec.task,
            loss=options.loss,
        )
        symptoms = examine(
            state.net_to_evaluate,
            x=x,
            y=spec.task.targets(y),
            adversary=adversary,
            task=spec.task,
        )

    # 4. sums over the processes: counts of examples, and means of what was measured by each
    local = torch.tensor(
        [
            len(rows),
            evaluation.correct,
            evaluation.robust,
            symptoms.attack_accuracy,
            symptoms.gradient_alignment,
        ],
        dtype=torch.float64,
        device=device,
    )
    n, correct, robust, attack_accuracies, alignments = parallel.sum_over_processes(
        local
    ).tolist()
    symptoms = Symptoms(
        attack_accuracies / parallel.world(), alignments / parallel.world()
    )
    diagnosis = diagnose(
        symptoms,
        clean_accuracy=correct / n,
        robust_accuracy=robust / n,
        smallest_gap=state.smallest_gap,
        limit=options.overfitting_gap,
    )
    return Validation(
        attacked=int(n),
        clean_accuracy=correct / n,
        robust_accuracy=robust / n,
        symptoms=symptoms,
        diagnosis=diagnosis,
    )


def _react(
    recipe: Recipe, state: State, diagnosis: Diagnosis, *, best: bool
) -> tuple[str, ...]:
    """Carry out ``on_overfitting``, and return what was done, in words.

    Raises:
        TrainingError: the net has overfitted, and the training is to stop.
    """
    action = recipe.train.on_overfitting
    if best and action == "roll-back":
        state.keep_good()
    if not diagnosis.overfitted or action == "warn":
        return ()
    if action == "stop":
        raise TrainingError(
            f"{diagnosis.warnings[0]} (stopped, as on_overfitting=stop says)"
        )
    if not state.good:
        return ("there is nothing to roll back to yet",)
    state.roll_back()
    return ("rolled back to the weights of the best epoch",)
