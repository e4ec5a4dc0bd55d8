"""Algorithm 1, generalised: a generator of records that trains any net against any attack over any set.

The engine prints nothing and writes nothing. Whenever it yields, its `State` is whole, so that whoever consumes the
records may save it, stop there, and later go on as if nothing had happened.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from robustfw.data.splits import Splits, StreamedSplit, TensorSplit
from robustfw.errors import DataError, PluginError, TrainingError
from robustfw.evaluation import evaluate
from robustfw.inner._randomness import derive_seed, generator_for, global_randomness
from robustfw.inner.adversary import Adversary
from robustfw.inner.modes import half_precision
from robustfw.inner.problem import Passes
from robustfw.inner.threat import Threat
from robustfw.records import Epoch, Record, Step
from robustfw.training import parallel
from robustfw.training._overfitting import Diagnosis, Symptoms, diagnose, examine
from robustfw.training._state import State
from robustfw.training.batch import Batch, without_synchronisation
from robustfw.training.recipe import Recipe

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
        DataError: the training split gives fewer examples than it has.
        PluginError: the objective or the update gives no losses of the form that is needed.
    """
    net = parallel.wrapped(forward_of(recipe, state))
    with _inputs_copied(state.model, splits, state.total_loss.device):
        for _ in range(state.epoch, recipe.train.epochs):
            start = time.perf_counter()
            yield from _steps(recipe, splits, state, net)
            yield _finish_epoch(recipe, splits, state, start)


def forward_of(recipe: Recipe, state: State) -> nn.Module:
    """The net as it is run: itself, or compiled; its parameters are the state's."""
    if recipe.train.compile != "on":
        return state.model
    compiled: nn.Module = torch.compile(state.model)  # type: ignore[assignment]  # torch says Callable of a module
    return compiled


@contextlib.contextmanager
def _inputs_copied(model: nn.Module, splits: Splits, device: torch.device) -> Iterator[None]:
    """Hand the net copies of its inputs while it trains, if it changes them in place: batches are used again."""
    if not changes_inputs(model, splits, device):
        yield
        return
    handle = model.register_forward_pre_hook(lambda _, inputs: tuple(_copy(each) for each in inputs))
    try:
        yield
    finally:
        handle.remove()


def _copy(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


def changes_inputs(model: nn.Module, splits: Splits, device: torch.device) -> bool:
    """Whether a forward pass of the net, in evaluation mode, writes into its input."""
    from robustfw.inner.modes import evaluating

    x = splits.first_examples(2)[0].to(device)
    before = x._version
    with evaluating(model), torch.no_grad():
        model(x)
    return x._version != before


def _batches(
    recipe: Recipe, splits: Splits, state: State, batches: int
) -> Iterator[tuple[Tensor, Tensor, Mapping[str, Tensor]]]:
    """The batches that are left of the epoch under way: this process's x and y, and what else is known of them."""
    options, device, split = recipe.train, state.total_loss.device, splits.train
    if isinstance(split, StreamedSplit):
        share = parallel.rank(), parallel.world()
        for x, y, *more in split.epoch(state.epoch, options.seed, options.batch_size, state.batch, share):
            meta = dict(more[0]) if more else {}
            yield x.to(device), y.to(device), {name: values.to(device) for name, values in meta.items()}
        return
    order = options.sampler.order(split, generator_for(options.seed, "order", state.epoch), state.epoch)
    left = [parallel.share(rows) for rows in order.split(options.batch_size)[state.batch : batches]]
    for rows, (x, y) in zip(left, split.batches(iter(left), device), strict=False):
        if len(x) != len(rows) or len(y) != len(rows):
            raise DataError(f"the training split gave {len(x)} examples and {len(y)} targets for {len(rows)} indices")
        meta = {"index": rows, **split.metadata(rows)}
        yield x, y, {name: values.to(device, non_blocking=True) for name, values in meta.items()}


def _steps(recipe: Recipe, splits: Splits, state: State, net: nn.Module) -> Iterator[Step]:
    """The updates that are left of the epoch under way."""
    options, device, task = recipe.train, state.total_loss.device, splits.spec.task
    batches = updates_per_epoch(len(splits.train), options.batch_size)
    # what is in memory was checked as a whole (`Splits.check`), and is as it was
    unchanged = isinstance(splits.train, TensorSplit) and splits.augment is None
    for x, y, meta in _batches(recipe, splits, state, batches):
        if state.batch == batches:  # a stream may have more
            break
        here = (state.epoch, state.batch, parallel.rank())
        if splits.augment is not None:
            x = splits.augment(x, generator_for(options.seed, "augment", *here), state.epoch)
        epochs = state.epoch + (state.batch + 1) / batches
        threat = _grown(recipe, Threat(recipe.uncertainty, splits.spec.bounds), epochs)
        generator = generator_for(options.seed, "attack", *here)
        batch = Batch(
            net,
            x,
            task.targets(y),
            Adversary(threat, recipe.attack, generator, task, options.loss),
            task,
            progress=epochs / options.epochs,
            epoch=state.epoch + 1,
            meta=meta,
            passes=state.passes,
            mode=options.ascent_mode,
            noise=_noise(device, derive_seed(options.seed, "noise", state.epoch, state.batch)),
            share=(parallel.rank(), parallel.world()),
            checked=unchanged or not _looks(device, state.batch),
            trusted=state.batch > 0,
        )
        with global_randomness(device, derive_seed(options.seed, "layers", *here)):
            loss = update(recipe, state, batch)
        state.batch += 1
        state.total_loss += parallel.mean(loss)
        if _looks(device, state.batch) or state.batch == batches:
            _check_finite(state, batches)
        yield Step(state.epoch + 1, state.batch, batches, loss, state.learning_rate)
    if state.batch < batches:
        raise DataError(
            f"the training split gave {state.batch} of the {batches} batches that {len(splits.train)} examples make: "
            "its length is not how many examples it has"
        )


def _noise(device: torch.device, seed: int) -> torch.Generator:
    """A generator on the device, where it has some: an objective's draws are of the size of the batch."""
    on = device if device.type in ("cpu", "cuda") else torch.device("cpu")
    return torch.Generator(on).manual_seed(seed)


def _looks(device: torch.device, batch: int) -> bool:
    """Whether values are looked at in this step: anywhere else than on a CPU Python would wait for them."""
    return device.type == "cpu" or batch % CHECK_EVERY == 0


@attrs.frozen(eq=False)
class _Turn:
    """What an update works with (`robustfw.update.Turn`)."""

    recipe: Recipe
    state: State
    batch: Batch

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        return self.state.optimizer

    def loss(self, batch: Batch | None = None) -> Tensor:
        batch = self.batch if batch is None else batch
        with half_precision(batch.x.device, enabled=self.recipe.train.precision == "bf16"):
            objective = self.recipe.objective
            values = objective(batch.net, batch.x, batch.y, batch)  # type: ignore[arg-type]  # a module here
            if values.shape != (len(batch),):
                raise PluginError(
                    f"{type(objective).__name__} gave losses of shape {tuple(values.shape)} for {len(batch)} examples: "
                    "an objective gives one for each, and the engine takes their mean"
                )
            return values.mean()

    def backward(self, loss: Tensor) -> None:
        loss.backward()

    def clear(self) -> None:
        self.state.optimizer.zero_grad(set_to_none=True)

    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        clip = self.recipe.train.clip
        if closure is None:
            self._clip(clip)
            self.state.optimizer.step()
            return None

        def clipped() -> Tensor:
            loss = closure()
            self._clip(clip)
            return loss

        step: Any = self.state.optimizer.step  # torch says that a closure gives a float, and takes a tensor
        loss: Tensor | None = step(clipped)
        return loss

    def _clip(self, clip: float | None) -> None:
        if clip is not None:
            nn.utils.clip_grad_norm_(self.state.model.parameters(), clip)

    def parts(self, count: int) -> Iterator[tuple[Batch, float]]:
        rows = [part for part in torch.arange(len(self.batch)).tensor_split(count) if len(part)]
        for number, part in enumerate(rows):
            last = number == len(rows) - 1
            chunk = self.batch[slice(int(part[0]), int(part[-1]) + 1)]
            with contextlib.nullcontext() if last else without_synchronisation(self.batch.net):
                yield chunk, len(part) / len(self.batch)


def update(recipe: Recipe, state: State, batch: Batch) -> Tensor:
    """One descent step for θ at the worst cases that the objective asks for; the mean loss, detached.

    Danskin's theorem: the gradient of a maximum is the gradient at the maximizer, held fixed.
    """
    batch.net.train()  # type: ignore[attr-defined]  # a module here
    loss: object = recipe.train.update(_Turn(recipe, state, batch))
    if not isinstance(loss, Tensor) or loss.shape != ():
        raise PluginError(
            f"{type(recipe.train.update).__name__} gave {_form(loss)}: an update gives the mean loss of the batch, a "
            "tensor of one number"
        )
    state.scheduler.step()
    parallel.share_buffers(state.model)
    averages = recipe.train.averages
    if averages is not None and state.average is not None:
        averages.update(state.average, state.model, batch.progress)
    return loss.detach()


def _form(value: object) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"


def _grown(recipe: Recipe, threat: Threat, epochs: float) -> Threat:
    """The threat, or as much of it as the warm-up allows after so many epochs."""
    warmup = recipe.train.radius_warmup
    return threat.scaled(epochs / warmup) if epochs < warmup else threat


def _check_finite(state: State, batches: int) -> None:
    if not math.isfinite(float(state.total_loss)):
        rate = state.learning_rate
        raise TrainingError(
            f"the loss is not finite in epoch {state.epoch + 1}, batch {state.batch} of {batches}: lower the learning "
            f"rate (it is {rate:.3g}) or clip the gradient (clip=1)"
        )


def _finish_epoch(recipe: Recipe, splits: Splits, state: State, start: float) -> Epoch:
    """Validate, look for overfitting, count the epoch."""
    batches, ignored = state.batch, recipe.train.on_overfitting == "ignore"
    passes = _total(state.passes, state.total_loss.device)
    parallel.check_equal(state.model)
    _finish_average(recipe, splits, state)
    loss = float(state.total_loss / batches)
    found = _validate(recipe, splits, state)
    better = state.is_best(found.robust_accuracy, found.clean_accuracy, loss)
    best = better and (ignored or not found.diagnosis.overfitted)
    if best:
        state.keep_best(found.robust_accuracy, found.clean_accuracy, loss)
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
        passes_per_example=passes / (batches * recipe.train.batch_size),
        seconds=time.perf_counter() - start,
        best=best,
        warnings=warnings,
        model=state.evaluated.eval(),
        best_weights=state.best,
    )


def _finish_average(recipe: Recipe, splits: Splits, state: State) -> None:
    """Whatever an average needs before it is evaluated, batch norm's statistics for instance."""
    averages, device = recipe.train.averages, state.total_loss.device
    if averages is None or state.average is None:
        return
    split, size = splits.train, recipe.train.batch_size
    if isinstance(split, StreamedSplit):
        batches: Iterator[Tensor] = (
            x.to(device) for x, *_ in split.epoch(state.epoch, recipe.train.seed, size, 0, (0, 1))
        )
    else:
        batches = (x for x, _ in split.in_order(size, device))
    averages.finish(state.average, batches)


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


def _validate(recipe: Recipe, splits: Splits, state: State) -> _Validation:
    """Accuracies over all processes, so that all of them decide alike; not a number where nothing is held out."""
    options, device, spec = recipe.train, state.total_loss.device, splits.spec
    count, nothing = min(options.validation_examples, len(splits.validation)), Symptoms(math.nan, math.nan)
    rows = parallel.share(torch.arange(count))
    split = splits.validation.subset(rows)
    if count < parallel.world():  # a process without a row could not take part
        return _Validation(0, math.nan, math.nan, nothing, diagnose(nothing, 0, 0, smallest_gap=1, limit=1))
    threat = Threat(recipe.uncertainty, spec.bounds)
    evaluation = evaluate(
        state.evaluated,
        split,
        threat=threat,
        attacks=[options.validation_attack or recipe.attack],
        classes=spec.classes,
        task=spec.task,
        loss=options.loss,
        seed=derive_seed(options.seed, "validation"),
    )
    symptoms = nothing
    if recipe.objective.attacks:
        x, y = next(split.in_order(EXAMINED, device))
        generator = generator_for(options.seed, "symptoms")
        adversary = Adversary(threat, recipe.attack, generator, spec.task, options.loss)
        symptoms = examine(state.evaluated, x, spec.task.targets(y), adversary, spec.task)
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
