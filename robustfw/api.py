"""What a program calls: plugin objects from specs, trainings as generators, worst cases for a loop of one's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from robustfw import evaluation as evaluation_
from robustfw import inner, losses, problem, registry
from robustfw.recipe import Recipe
from robustfw.records import Epoch, Record
from robustfw.runs import Run
from robustfw.session import GivenDataset, GivenModel, begin, rebuild
from robustfw.splits import Split, Splits

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from robustfw.attack import Attack
    from robustfw.dataset import Dataset
    from robustfw.evaluation import Evaluation
    from robustfw.model import Model
    from robustfw.objective import Objective
    from robustfw.options import Spec
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
    """Train, as a generator of records: one `robustfw.engine.Epoch` per epoch, and with ``steps`` a `Step` per update.

    Parts are objects or specs; a ``torch.nn.Module`` is trained in place, and `Splits` are data of your own. A list of
    objectives is a loss with penalties. What is left out is as in ``robustfw train``. The net is ``record.model``.

    Args:
        out: a run directory to write (manifest, metrics, checkpoints); nothing is written without it.
        resume: go on where the run in ``out`` stopped.
        data_dir: where data files are; else ROBUSTFW_DATA, else ~/.cache/robustfw.
        options: those of `robustfw.recipe.TrainOptions`: epochs, batch_size, learning_rate, seed, …
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
    return (record for record in session.records() if steps or isinstance(record, Epoch))


def worst_case(
    model: nn.Module | problem.Forward,
    x: Tensor,
    y: Tensor,
    *,
    uncertainty: UncertaintySet | Spec,
    attack: Attack | Spec,
    bounds: inner.Bounds = (0.0, 1.0),
    loss: losses.Loss = losses.cross_entropy,
    generator: torch.Generator | None = None,
    mode: inner.AscentMode = "eval",
) -> Tensor:
    """x̃ = x + argmax_{δ ∈ 𝒰(x)} loss(model(x + δ), y), for a training loop of your own.

    As `robustfw.inner.worst_case`, with specs as well as objects: the model comes back as it was, and x̃ is detached,
    in its set and in the data range.
    """
    return inner.worst_case(
        model,
        x,
        y,
        uncertainty=make("uncertainty", uncertainty),
        attack=make("attack", attack),
        bounds=bounds,
        loss=loss,
        generator=generator,
        mode=mode,
    )


def evaluate(
    model: nn.Module,
    split: Split,
    *,
    uncertainty: UncertaintySet | Spec,
    attack: Attack | Spec | Sequence[Attack | Spec],
    classes: int,
    bounds: inner.Bounds = (0.0, 1.0),
    batch_size: int = 500,
    seed: int = 0,
) -> Evaluation:
    """Clean and robust accuracy with intervals; as `robustfw.evaluation.evaluate`, with specs as well as objects.

    Several attacks together: each example's worst case over all of them.
    """
    return evaluation_.evaluate(
        model,
        split,
        uncertainty=make("uncertainty", uncertainty),
        attacks=[make("attack", each) for each in (attack if isinstance(attack, list | tuple) else [attack])],
        classes=classes,
        bounds=bounds,
        batch_size=batch_size,
        seed=seed,
    )


def load(run: str | Path) -> nn.Module:
    """The net of a run: the weights of highest robust validation accuracy, in evaluation mode."""
    return rebuild(Run.open(Path(run)), registry.installed())
