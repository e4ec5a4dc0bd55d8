"""A recipe: everything that decides a training, as one value."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import attrs
from attrs.validators import ge, gt, in_, lt, optional

from robustfw.attack import Attack
from robustfw.averaging import Averaging, Ema
from robustfw.dataset import Dataset
from robustfw.errors import UsageError
from robustfw.loss import Loss
from robustfw.model import Model
from robustfw.objective import Objective
from robustfw.optim import Optimizer, Schedule
from robustfw.sampler import Sampler, Shuffled
from robustfw.uncertainty import UncertaintySet
from robustfw.update import Once, Update

if TYPE_CHECKING:
    from robustfw.plugin.registry import Registry

DEFAULTS: dict[str, Any] = {
    "dataset": "digits",
    "model": "mlp",
    "uncertainty": "linf:radius=0.1",
    "attack": "pgd:steps=7",
    "objective": "robust",
    "train": {"validation_attack": "pgd:steps=10"},
}
"""The recipe of ``robustfw train`` without options: names only, which the registry resolves."""


def make_by_name(kind: str, name: str) -> Any:
    """An installed plugin by its name; the core imports no plugin by itself."""
    from robustfw.plugin.registry import installed

    return installed().make(kind, name)


@attrs.frozen
class TrainOptions:
    """How long, how and on what a net is trained: everything but data, net, set, attack and objective.

    In a recipe it is the table ``[train]``. Each option is a flag of ``robustfw train`` (``batch_size`` is
    ``--batch-size``, and ``robustfw train --help`` says what each means) and a keyword of `robustfw.train`. Options
    that name a plugin, such as ``optimizer="adamw:weight_decay=1e-4"`` and ``schedule="one-cycle"``, take its spec.

    The net is measured on validation examples after each epoch, and the epoch of highest robust validation accuracy
    (``validation_attack``) is the best. Numbers are reproducible: runs with equal options and ``seed``, on one kind of
    device with as many processes, have equal weights.

    Raises:
        ValueError, TypeError: an option is out of its range, or of another type.
    """

    epochs: Annotated[int, "passes over the training examples"] = attrs.field(
        default=20, validator=ge(1)
    )
    batch_size: Annotated[int, "examples per update, over all processes"] = attrs.field(
        default=128, validator=ge(1)
    )
    examples: Annotated[
        int | None,
        "so many training examples, drawn by the seed, as a trial; all if none",
    ] = attrs.field(default=None, validator=optional(ge(1)))
    learning_rate: Annotated[float, "the optimizer's; a schedule's highest"] = (
        attrs.field(default=0.1, validator=gt(0))
    )
    loss: Annotated[
        Loss | None,
        "spec of J, which training lowers and the attack raises; the task's if none",
    ] = None
    optimizer: Annotated[Optimizer, "spec of an optimizer"] = attrs.field(
        factory=functools.partial(make_by_name, "optimizer", "sgd")
    )
    schedule: Annotated[Schedule, "spec of a schedule"] = attrs.field(
        factory=functools.partial(make_by_name, "schedule", "one-cycle")
    )
    update: Annotated[Update, "spec: how a batch changes the parameters"] = attrs.field(
        factory=Once
    )
    sampler: Annotated[Sampler, "spec: the order of an epoch's examples"] = attrs.field(
        factory=Shuffled
    )
    radius_warmup: Annotated[
        float, "epochs over which the set grows to its full size"
    ] = attrs.field(default=0.0, validator=ge(0))
    clip: Annotated[float | None, "largest norm of the parameters' gradient"] = (
        attrs.field(default=None, validator=optional(gt(0)))
    )
    ema: Annotated[
        float, "short for --averaging ema:decay=…, such as 0.999; 0: off"
    ] = attrs.field(default=0.0, validator=[ge(0), lt(1)])
    averaging: Annotated[
        Averaging | None, "spec: averaged weights, which are then evaluated"
    ] = None
    ascent_mode: Annotated[
        Literal["eval", "train"], "batch norm and dropout during the ascent"
    ] = attrs.field(default="eval", validator=in_(("eval", "train")))
    validation_attack: Annotated[Attack | None, "spec; the training attack if none"] = (
        None
    )
    validation_examples: Annotated[int, "how many are attacked after each epoch"] = (
        attrs.field(default=1000, validator=ge(1))
    )
    on_overfitting: Annotated[
        Literal["warn", "roll-back", "stop", "ignore"],
        "when the net has learnt to fool its attack (C1)",
    ] = attrs.field(
        default="warn", validator=in_(("warn", "roll-back", "stop", "ignore"))
    )
    overfitting_gap: Annotated[
        float, "how far the many-step accuracy may fall behind before that"
    ] = attrs.field(default=0.2, validator=gt(0))
    precision: Annotated[
        Literal["auto", "fp32", "bf16"],
        "of the training's matrix products; auto: measured at the start, with the memory layout; evaluation is fp32",
    ] = attrs.field(default="fp32", validator=in_(("auto", "fp32", "bf16")))
    compile: Annotated[
        Literal["on", "off"],
        "whether torch.compile compiles the net: it takes a minute or more, and pays in long trainings on a GPU",
    ] = attrs.field(default="off", validator=in_(("on", "off")))
    device: Annotated[str, "auto, cpu, cuda, cuda:1, mps …"] = "auto"
    threads: Annotated[int | None, "torch's threads; its own choice if none"] = (
        attrs.field(default=None, validator=optional(ge(1)))
    )
    seed: Annotated[int, "of initial weights, order, augmentation and attacks"] = 0

    @property
    def averages(self) -> Averaging | None:
        """The averaging, given as ``averaging`` or in short as ``ema``; None where nothing is averaged.

        Raises:
            UsageError: it is given in both ways.
        """
        if self.averaging is not None and self.ema:
            raise UsageError("ema is short for an averaging: give one of the two")
        if self.ema:
            return Ema(self.ema)
        return self.averaging


@attrs.frozen
class Recipe:
    """min_θ Σ max_{δ ∈ 𝒰(x)} J(θ, x + δ, y), each symbol filled in."""

    dataset: Dataset
    model: Model
    uncertainty: UncertaintySet
    attack: Attack
    objective: Objective
    train: TrainOptions = attrs.field(factory=TrainOptions)

    @classmethod
    def read(cls, given: Mapping[str, Any], registry: Registry) -> Recipe:
        """A recipe from its parts by kind; `DEFAULTS` where nothing is given.

        Args:
            given: specs or objects by kind, and a mapping ``train`` of options.
            registry: makes the parts from their specs.

        Raises:
            UsageError: a part, a plugin or an option does not exist, or a value does not fit.
        """
        known = {field.name for field in attrs.fields(cls)}
        for key in given:
            if key not in known:
                from robustfw.plugin.options import suggest

                raise UsageError(f"a recipe has no part {key!r}; {suggest(key, known)}")
        specs = DEFAULTS | {
            key: value for key, value in given.items() if value is not None
        }
        parts = {kind: registry.make(kind, specs[kind]) for kind in known - {"train"}}
        train = dict(DEFAULTS["train"])
        for name, value in dict(given.get("train") or {}).items():
            train[str(name).replace("-", "_")] = value
        return cls(**parts, train=registry.reader.build(TrainOptions, train, "train"))
