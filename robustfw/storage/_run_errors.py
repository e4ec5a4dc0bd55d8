"""Errors of run directories, with advice on what to do."""

from __future__ import annotations

from pathlib import Path

from robustfw.errors import RunError
from robustfw.storage.files import advice


def missing_manifest(manifest: Path) -> RunError:
    """The error for a directory that has other files of a run, but no manifest."""
    return RunError(
        f"{manifest.parent} holds parts of a run, but {manifest} is missing, which says what was trained: put "
        "it back, or choose another --out"
    )


def unwritable(path: Path, error: OSError, go_on: str | None) -> RunError:
    """The error for a file that cannot be written.

    Args:
        path: the file.
        error: what the system said.
        go_on: the command that resumes the run; None for a new one, of which nothing has been saved yet.
    """
    if go_on is None:
        help_ = f"{advice(error)} or choose another --out, then start again"
    else:
        help_ = (
            f"what was saved before is whole: {advice(error)}, then go on with: {go_on}"
        )
    return RunError(f"cannot write {path}: {error.strerror}; {help_}")


def unreadable_checkpoint(path: Path, error: Exception, instead: str) -> RunError:
    """The error for a checkpoint that is there and cannot be read.

    Args:
        path: the file.
        error: what reading it raised.
        instead: what may be done instead.
    """
    if isinstance(error, OSError):
        return RunError(
            f"cannot read {path}: {error.strerror}; mend that, or {instead}"
        )
    return RunError(
        f"the checkpoint {path} is damaged, or none of robustfw ({error}); {instead}"
    )
