"""Algorithm 1, generalised: a generator of records that trains any net against any attack over any set.

The engine prints nothing and writes nothing. Whenever it yields, its `State` is whole, so that whoever consumes the
records may save it, stop there, and later go on as if nothing had happened.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator, Mapping

import torch
from torch import Tensor, nn

from robustfw.data.splits import Splits, TensorSplit
from robustfw.errors import DataError, PluginError, TrainingError
from robustfw.inner._randomness import derive_seed, generator_for, global_randomness
from robustfw.inner.adversary import Adversary
from robustfw.inner.threat import Threat
from robustfw.records import Record, Step
from robustfw.training import parallel
from robustfw.training._feed import copy_inputs, read_batches
from robustfw.training._state import State
from robustfw.training._turn import EngineTurn
from robustfw.training._validation import finish_epoch
from robustfw.training.batch import Batch
from robustfw.training.recipe import Recipe

CHECK_EVERY = 25
"""Updates between two checks of values on a device where Python has to wait for them (any but the CPU)."""


def updates_per_epoch(examples: int, batch_size: int) -> int:
    """The number of updates in an epoch: one for each full batch, and at least one."""
    return max(1, examples // batch_size)


def train(
    recipe: Recipe, splits: Splits, state: State
) -> Generator[Record, None, None]:
    """min_θ Σ max_{δ ∈ 𝒰(x)} J(θ, x + δ, y): from wherever ``state`` stands to the last epoch.

    The test split is out of reach: only ``splits.train`` and ``splits.validation`` are read.

    Args:
        recipe: the set, the attack, the objective and the options of the training.
        splits: the data.
        state: the net and what trains it; changed in place.

    Yields:
        A `Step` after each update and an `Epoch` after each epoch.

    Raises:
        TrainingError: the loss is not finite, or the overfitting detector was told to stop.
        DataError: the training split gives fewer examples than it has.
        PluginError: the objective or the update gives no losses of the form that is needed.
    """
    net = parallel.wrap(compile_if_asked(recipe, state))
    with copy_inputs(state.model, splits, state.total_loss.device):
        for _ in range(state.epoch, recipe.train.epochs):
            start = time.perf_counter()
            yield from _train_epoch(recipe, splits, state, net)
            yield finish_epoch(recipe, splits, state, start)


def _train_epoch(
    recipe: Recipe, splits: Splits, state: State, net: nn.Module
) -> Iterator[Step]:
    """Make the updates that are left of the epoch under way."""
    options = recipe.train
    device = state.total_loss.device
    batches = updates_per_epoch(len(splits.train), options.batch_size)
    for x, y, meta in read_batches(recipe, splits, state, batches):
        # a stream may have more batches than its length promises
        if state.batch == batches:
            break
        batch = _assemble_batch(recipe, splits, state, net, x, y, meta)
        with global_randomness(
            device, derive_seed(options.seed, "layers", *_position(state))
        ):
            loss = update(recipe, state, batch)
        state.batch += 1
        state.total_loss += parallel.mean(loss)
        if may_read_values(device, state.batch) or state.batch == batches:
            _check_finite(state, batches)
        yield Step(
            epoch=state.epoch + 1,
            batch=state.batch,
            batches=batches,
            loss=loss,
            learning_rate=state.learning_rate,
        )
    if state.batch < batches:
        raise DataError(
            f"the training split gave {state.batch} of the {batches} batches that {len(splits.train)} examples make: "
            "its length is not how many examples it has"
        )


def update(recipe: Recipe, state: State, batch: Batch) -> Tensor:
    """Take one descent step for θ at the worst cases that the objective asks for.

    Danskin's theorem: the gradient of a maximum is the gradient at the maximizer, held fixed.

    Args:
        recipe: its update, its objective and its averaging are used.
        state: the net, the optimizer and the average, which are changed.
        batch: examples, targets and the adversary of this step.

    Returns:
        The mean loss of the batch, one number, detached.

    Raises:
        PluginError: the recipe's update gives something else than one number, or the objective not one per example.
    """
    # 1. change the parameters, in the way that the recipe's update says
    batch.net.train()  # type: ignore[attr-defined]  # a module here
    loss: object = recipe.train.update(EngineTurn(recipe, state, batch))
    if not isinstance(loss, Tensor) or loss.shape != ():
        form = f"a {type(loss).__name__}"
        if isinstance(loss, Tensor):
            form = f"a tensor of shape {tuple(loss.shape)}"
        raise PluginError(
            f"{type(recipe.train.update).__name__} gave {form}: an update gives the mean loss of the batch, a "
            "tensor of one number"
        )
    # 2. let the schedule, the buffers of all processes and the average follow
    state.scheduler.step()
    parallel.share_buffers(state.model)
    averages = recipe.train.averages
    if averages is not None and state.average is not None:
        averages.update(state.average, state.model, batch.progress)
    return loss.detach()


def compile_if_asked(recipe: Recipe, state: State) -> nn.Module:
    """The net that is run: the state's own, or torch.compile's version of it, with the same parameters."""
    if recipe.train.compile != "on":
        return state.model
    compiled: nn.Module = torch.compile(state.model)  # type: ignore[assignment]  # torch says Callable of a module
    return compiled


def grow_threat(recipe: Recipe, threat: Threat, epochs: float) -> Threat:
    """Scale a threat's set down to what the radius warm-up allows.

    Args:
        recipe: its ``radius_warmup`` is the number of epochs until the set has its full size.
        threat: the threat at full size.
        epochs: epochs trained so far, a fraction within an epoch.
    """
    warmup = recipe.train.radius_warmup
    if epochs < warmup:
        return threat.scale(epochs / warmup)
    return threat


def may_read_values(device: torch.device, batch: int) -> bool:
    """Whether this step reads tensors' values: always on a CPU; elsewhere Python would have to wait for them."""
    return device.type == "cpu" or batch % CHECK_EVERY == 0


def _position(state: State) -> tuple[int, int, int]:
    """Epoch, batch and process: what seeds the randomness of one step."""
    return state.epoch, state.batch, parallel.rank()


def _assemble_batch(
    recipe: Recipe,
    splits: Splits,
    state: State,
    net: nn.Module,
    x: Tensor,
    y: Tensor,
    meta: Mapping[str, Tensor],
) -> Batch:
    """Examples and targets with the adversary and the random generators of this step."""
    options = recipe.train
    device = state.total_loss.device
    task = splits.spec.task
    if splits.augment is not None:
        x = splits.augment(
            x, generator_for(options.seed, "augment", *_position(state)), state.epoch
        )

    # how far the training is, which decides the size of the set
    batches = updates_per_epoch(len(splits.train), options.batch_size)
    epochs = state.epoch + (state.batch + 1) / batches
    threat = grow_threat(recipe, Threat.on(recipe.uncertainty, splits.spec), epochs)
    attack_generator = generator_for(options.seed, "attack", *_position(state))

    # data in memory was checked as a whole (`Splits.check`), and is as it was
    unchanged = isinstance(splits.train, TensorSplit) and splits.augment is None
    return Batch(
        net=net,
        x=x,
        y=task.targets(y),
        adversary=Adversary(
            threat=threat,
            attack=recipe.attack,
            generator=attack_generator,
            task=task,
            loss=options.loss,
        ),
        task=task,
        progress=epochs / options.epochs,
        epoch=state.epoch + 1,
        meta=meta,
        passes=state.passes,
        mode=options.ascent_mode,
        noise=_noise_generator(
            device, derive_seed(options.seed, "noise", state.epoch, state.batch)
        ),
        share=(parallel.rank(), parallel.world()),
        checked=unchanged or not may_read_values(device, state.batch),
        trusted=state.batch > 0,
    )


def _noise_generator(device: torch.device, seed: int) -> torch.Generator:
    """A seeded generator on the device where torch has one there, else on the CPU.

    An objective's draws are as large as the batch, so they are better made where the batch is.
    """
    place = device if device.type in ("cpu", "cuda") else torch.device("cpu")
    return torch.Generator(place).manual_seed(seed)


def _check_finite(state: State, batches: int) -> None:
    """Raise a `TrainingError` where the loss of the epoch so far is infinite or not a number."""
    if not math.isfinite(float(state.total_loss)):
        rate = state.learning_rate
        raise TrainingError(
            f"the loss is not finite in epoch {state.epoch + 1}, batch {state.batch} of {batches}: lower the learning "
            f"rate (it is {rate:.3g}) or clip the gradient (clip=1)"
        )
