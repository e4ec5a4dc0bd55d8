"""The checkpoints of a run directory: where they are, and how they are read, with advice where they cannot be."""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from robustfw.errors import RobustfwWarning, RunError
from robustfw.storage._checkpoints import DAMAGED, decode, misfit, misfit_error
from robustfw.storage._run_errors import unreadable_checkpoint

if TYPE_CHECKING:
    from robustfw.training._state import State


def checkpoint_path(run: Path, name: str) -> Path:
    """The file of a run's checkpoint ``last`` or ``best``."""
    return run / "checkpoints" / f"{name}.safetensors"


def read_checkpoint(run: Path, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read a checkpoint, its tensors and its facts.

    Raises:
        RunError: it is missing or cannot be read; the message says whether the other one may help.
    """
    path = checkpoint_path(run, name)
    other = "last" if name == "best" else "best"
    instead = "put the folder checkpoints back, or train again with another --out"
    if checkpoint_path(run, other).exists():
        command = ["robustfw", "evaluate", str(run), "--weights", other]
        instead = f"the {other} weights may be there: {shlex.join(command)}"
    try:
        return decode(path)
    except FileNotFoundError:
        raise RunError(
            f"{run} has no {name} checkpoint ({path} is missing); {instead}"
        ) from None
    except (OSError, *DAMAGED) as error:
        raise unreadable_checkpoint(path, error, instead) from error


def restore_last(run: Path, state: State) -> None:
    """Make a fresh state that of the run's last checkpoint.

    Raises:
        RunError: the checkpoint is damaged, or of another training.
    """
    path = checkpoint_path(run, "last")
    tensors, facts = read_checkpoint(run, "last")
    reason = misfit(facts, state.facts())
    if reason is not None:
        raise misfit_error(path, reason)
    try:
        state.restore(tensors, facts)
    # whatever torch raises at what it was not given by itself
    except Exception as error:
        lines = str(error).splitlines() or [type(error).__name__]
        raise misfit_error(path, lines[-1].strip()) from error
    for count in (state.epoch, state.batch):
        if type(count) is not int or count < 0:
            reason = f"it stands at epoch {state.epoch}, batch {state.batch}"
            raise misfit_error(path, reason)


def warn_of_nan(weights: Mapping[str, Any], name: str, run: Path) -> None:
    """Warn of weights that are not numbers.

    Args:
        weights: tensors, and a module's extra state, by name.
        name: the checkpoint's name.
        run: the run directory.
    """
    with_nan = []
    for key, value in weights.items():
        if isinstance(value, Tensor) and bool(value.isnan().any()):
            with_nan.append(key)
    if with_nan:
        warnings.warn(
            f"{len(with_nan)} of the {name} weights in {run} are not numbers (NaN), the first of them "
            f"{with_nan[0]}: what is measured with them says nothing",
            RobustfwWarning,
            stacklevel=3,
        )
