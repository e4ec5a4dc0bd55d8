"""One owner of a directory at a time, by a lock that the system takes back however the owner's process ends."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import time
from pathlib import Path
from typing import final

import attrs

from robustfw.errors import RunError

if sys.platform != "win32":
    import fcntl

PATIENCE = 10.0
"""Seconds to wait for a directory in use: workers that read data outlive a killed training by about five."""


@attrs.frozen
class NewDirectory:
    """A directory to be made: ``parent/name``, or ``parent/name-2``, … , the first that nobody has."""

    parent: Path
    name: str

    def __str__(self) -> str:
        return str(self.parent / self.name)


@final
class DirectoryLock:
    """The right to write in a directory, from `take` to `release`, or until the object is gone."""

    def __init__(self, path: Path, handle: int | None, made: tuple[Path, ...]) -> None:
        """Made by `take`.

        Args:
            path: the directory.
            handle: open on it, and locked; None where the system cannot lock directories.
            made: the directories that were made for it, outermost first.
        """
        self.path = path
        self.held = True
        self._handle, self._made, self._process = handle, made, os.getpid()

    @classmethod
    def take(cls, place: Path | NewDirectory, patience: float | None = None) -> DirectoryLock:
        """Lock a directory, which is made if there is none.

        Args:
            place: the directory, or where to make a new one.
            patience: seconds to wait for another owner; by default `PATIENCE`.

        Raises:
            BlockingIOError: it has another owner.
            OSError: it cannot be made or opened.
        """
        if isinstance(place, NewDirectory):
            return cls._take_new(place)
        deadline = time.monotonic() + (PATIENCE if patience is None else patience)
        made: tuple[Path, ...] = ()
        while True:
            made += _make(place)
            lock = cls._try(place, made)
            if lock is not None:
                return lock
            if time.monotonic() > deadline:
                raise BlockingIOError(errno.EWOULDBLOCK, "it is in use", str(place))
            time.sleep(0.1)

    @classmethod
    def _take_new(cls, place: NewDirectory) -> DirectoryLock:
        made = _make(place.parent)
        number = 1
        while True:
            path = place.parent / (place.name if number == 1 else f"{place.name}-{number}")
            # mkdir succeeds for one process only, whoever else tries at the same time
            with contextlib.suppress(FileExistsError):
                path.mkdir()
                lock = cls._try(path, (*made, path))
                if lock is not None:
                    return lock
            number += 1

    @classmethod
    def _try(cls, path: Path, made: tuple[Path, ...]) -> DirectoryLock | None:
        """Lock a directory that is there; None if another has it, or if it was removed meanwhile."""
        if sys.platform == "win32":  # directories cannot be locked there
            return cls(path, None, made)
        try:
            handle = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        lock = cls(path, handle, made)
        if _flock(handle) and lock.is_at(path):
            return lock
        lock._made = ()
        lock.release()
        return None

    def is_at(self, path: Path) -> bool:
        """Whether the locked directory is still found under this path: it may have been renamed or removed."""
        if self._handle is None:
            return True
        try:
            there, own = os.stat(path), os.fstat(self._handle)
        except OSError:
            return False
        return (there.st_dev, there.st_ino) == (own.st_dev, own.st_ino)

    def hand_over(self) -> DirectoryLock:
        """The lock in another object, which alone releases it from now on."""
        other = DirectoryLock(self.path, self._handle, self._made)
        self.held, self._handle, self._made = False, None, ()
        return other

    def release(self) -> None:
        """Give the directory free; nothing happens the second time."""
        handle, self.held, self._handle = self._handle, False, None
        if handle is None:
            return
        if os.getpid() == self._process:  # and not a forked worker, which would unlock its parent's
            _unlock(handle)
        os.close(handle)

    def abandon(self) -> None:
        """Release, and remove the directories that were made for it as far as nothing is in them."""
        for path in reversed(self._made):
            with contextlib.suppress(OSError):
                path.rmdir()
        self._made = ()
        self.release()

    def __del__(self) -> None:
        if getattr(self, "_handle", None) is not None:
            self.release()


def _make(path: Path) -> tuple[Path, ...]:
    """Make a directory and its parents; those that were not there."""
    missing = []
    for each in (path, *path.parents):
        if each.exists():
            break
        missing.append(each)
    made = []
    for each in reversed(missing):
        try:
            each.mkdir()
            made.append(each)
        except FileExistsError:  # another process was faster
            if not each.is_dir():
                raise
    path.mkdir(exist_ok=True)  # an error where it is a file
    return tuple(made)


def _flock(handle: int) -> bool:
    """Lock an open directory, unless another process has; a file system without locks lets everybody pass."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _unlock(handle: int) -> None:
    """At once, also where a forked worker has the directory still open."""
    with contextlib.suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_UN)


def claim(place: Path | NewDirectory, what: str, patience: float | None = None) -> DirectoryLock:
    """The right to write in a directory, for one owner at a time, before anything in it is looked at.

    Args:
        place: the directory, which is made if there is none; or where to make a new one.
        what: is done there, in a sentence: "trained".
        patience: seconds to wait for another owner; by default `PATIENCE`.

    Raises:
        RunError: it has another owner, or cannot be made.
    """
    try:
        return DirectoryLock.take(place, patience)
    except BlockingIOError:
        owner = "another process or by records that were not closed" if what == "trained" else "another process"
        raise RunError(f"{place} is being {what} already, by {owner}: end that, or choose another --out") from None
    except OSError as error:
        kind = "run directory" if what == "trained" else "directory"
        raise RunError(f"cannot make the {kind} {place}: {error.strerror}; choose another --out") from error
