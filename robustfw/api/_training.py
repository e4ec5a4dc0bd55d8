"""Training from Python, and the nets of runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from torch import nn

from robustfw.plugin import registry
from robustfw.records import Record
from robustfw.storage.runs import Run
from robustfw.training._given import GivenModel, load_given, yield_records
from robustfw.training._reopen import rebuild
from robustfw.training._session import begin
from robustfw.training.recipe import Recipe

if TYPE_CHECKING:
    from robustfw.attack import Attack
    from robustfw.model import Model
    from robustfw.objective import Objective
    from robustfw.plugin.options import Spec
    from robustfw.uncertainty import UncertaintySet


def train(
    *,
    dataset: Any = None,
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

    Parts are objects or specs. What is left out is as in ``robustfw train``.

    ``record.model`` is the net as it is after the epoch, in evaluation mode; ``record.best_model()`` a copy with the
    weights of the best epoch so far, which is what ``robustfw.load`` gives. A ``torch.nn.Module`` that is given is
    trained in place: at the end it holds the weights of the last epoch (their average, where there is one), in
    evaluation mode.

    Args:
        dataset: the data set, or examples of your own: `Splits`, or whatever `robustfw.as_split` takes, of which a
            tenth is set apart for validation (`robustfw.as_splits` decides more). A DataLoader's batches are used as
            they are, in its own order.
        model: the net, or what builds it.
        uncertainty: the set 𝒰.
        attack: the attack that finds worst cases.
        objective: what is minimized; a list is a loss with penalties.
        out: a run directory to write (manifest, metrics, checkpoints); nothing is written without it.
        resume: go on where the run in ``out`` stopped.
        data_dir: where data files are; by default ROBUSTFW_DATA, else ~/.cache/robustfw.
        steps: yield a `Step` for each update, too.
        options: those of `robustfw.training.recipe.TrainOptions`: epochs, batch_size, learning_rate, seed, … ``loss``
            may be a function (outputs, y) ↦ values (batch,).

    Raises:
        UsageError: a part, a plugin or an option does not exist, or a value does not fit.
        DataError: the data is missing or does not fit the net.
        RunError: ``out`` cannot be written or resumed.
        TrainingError: while records are drawn: the loss is not finite, or overfitting stops the training.
    """
    data = load_given(dataset, options)
    parts = {
        "dataset": data,
        "model": GivenModel(model) if isinstance(model, nn.Module) else model,
        "uncertainty": uncertainty,
        "attack": attack,
        "objective": objective,
        "train": options,
    }
    plugins = registry.installed()
    session = begin(
        Recipe.read(parts, plugins),
        plugins,
        data_dir=None if data_dir is None else Path(data_dir),
        out=None if out is None else Path(out),
        resume=resume,
    )
    return yield_records(session, steps=steps)


def load(
    run: str | Path,
    *,
    model: nn.Module | None = None,
    weights: Literal["best", "last"] = "best",
) -> nn.Module:
    """The net of a run, in evaluation mode.

    Args:
        run: its directory.
        model: a net of the run's architecture to put the weights into, for a run that was trained from an object: only
            the program that made it has its class.
        weights: "best", of highest robust validation accuracy, or "last".

    Raises:
        RunError: there is no run, its weights are missing or do not fit, or its net was given as an object.
    """
    return rebuild(Run.open(Path(run)), registry.installed(), model, weights=weights)
