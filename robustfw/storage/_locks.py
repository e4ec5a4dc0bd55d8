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
"""Seconds to wait for a directory in use: workers that read data outlive a killed training by about 5 s."""


@attrs.frozen
class NewDirectory:
    """A directory to be made: ``parent/name``, or ``parent/name-2``, …, the first that does not exist."""

    parent: Path
    name: str

    def __str__(self) -> str:
        return str(self.parent / self.name)


@final
class DirectoryLock:
    """The right to write in a directory, from `take` to `release`, or until the object is gone."""

    def __init__(self, path: Path, handle: int | None, made: tuple[Path, ...]) -> None:
        """Wrap a handle that is locked already, as `take` does.

        Args:
            path: the directory.
            handle: a file descriptor, open on the directory and locked; None where the system cannot lock directories.
            made: the directories that were made for it, outermost first.
        """
        self.path = path
        self.held = True
        self._handle = handle
        self._made = made
        self._process = os.getpid()

    @classmethod
    def take(
        cls, place: Path | NewDirectory, patience: float | None = None
    ) -> DirectoryLock:
        """Lock a directory; one that does not exist is made.

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
        """Make and lock the first directory of the name that does not exist."""
        made = _make(place.parent)
        number = 1
        while True:
            path = place.parent / (
                place.name if number == 1 else f"{place.name}-{number}"
            )
            # mkdir succeeds for one process only, whoever else tries at the same time
            with contextlib.suppress(FileExistsError):
                path.mkdir()
                lock = cls._try(path, (*made, path))
                if lock is not None:
                    return lock
            number += 1

    @classmethod
    def _try(cls, path: Path, made: tuple[Path, ...]) -> DirectoryLock | None:
        """Lock a directory that exists; None if it has another owner, or was removed meanwhile."""
        # Windows cannot lock directories
        if sys.platform == "win32":
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
        """Whether the locked directory is still at this path: it may have been renamed or removed."""
        if self._handle is None:
            return True
        try:
            at_path = os.stat(path)
            locked = os.fstat(self._handle)
        except OSError:
            return False
        return (at_path.st_dev, at_path.st_ino) == (locked.st_dev, locked.st_ino)

    def hand_over(self) -> DirectoryLock:
        """Move the lock into a new object, which alone releases it from now on."""
        other = DirectoryLock(self.path, self._handle, self._made)
        self.held = False
        self._handle = None
        self._made = ()
        return other

    def release(self) -> None:
        """Unlock the directory; a second call does nothing."""
        handle = self._handle
        self.held = False
        self._handle = None
        if handle is None:
            return
        # a forked worker would unlock its parent's directory
        if os.getpid() == self._process:
            _unlock(handle)
        os.close(handle)

    def abandon(self) -> None:
        """Remove those directories that were made for the lock and are empty, then release it."""
        for path in reversed(self._made):
            with contextlib.suppress(OSError):
                path.rmdir()
        self._made = ()
        self.release()

    def __del__(self) -> None:
        if getattr(self, "_handle", None) is not None:
            self.release()


def _make(path: Path) -> tuple[Path, ...]:
    """Make a directory and its parents; return those that were made, outermost first."""
    missing = []
    for folder in (path, *path.parents):
        if folder.exists():
            break
        missing.append(folder)
    made = []
    for folder in reversed(missing):
        try:
            folder.mkdir()
            made.append(folder)
        except FileExistsError:  # another process was faster
            if not folder.is_dir():
                raise
    path.mkdir(exist_ok=True)  # an error where it is a file
    return tuple(made)


def _flock(handle: int) -> bool:
    """Lock an open directory; False where another process has it. On a file system without locks, always True."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _unlock(handle: int) -> None:
    """Unlock an open directory at once, even if a forked worker still has it open."""
    with contextlib.suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_UN)


def claim(
    place: Path | NewDirectory, what: str, patience: float | None = None
) -> DirectoryLock:
    """Lock a directory for writing, for one owner at a time, before anything in it is read.

    Args:
        place: the directory, which is made if it does not exist; or where to make a new one.
        what: the participle that says in messages what is done there, such as "trained".
        patience: seconds to wait for another owner; by default `PATIENCE`.

    Raises:
        RunError: it has another owner, or cannot be made.
    """
    try:
        return DirectoryLock.take(place, patience)
    except BlockingIOError:
        if what == "trained":
            owner = "another process or by records that were not closed"
        else:
            owner = "another process"
        raise RunError(
            f"{place} is being {what} already, by {owner}: end that, or choose another --out"
        ) from None
    except OSError as error:
        kind = "run directory" if what == "trained" else "directory"
        raise RunError(
            f"cannot make the {kind} {place}: {error.strerror}; choose another --out"
        ) from error
