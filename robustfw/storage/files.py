"""Writes files whole or not at all, and reads them with care: they may be damaged, or come from a stranger."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import secrets
import stat
import time
from pathlib import Path, PurePath
from typing import Any, NoReturn

LARGEST = 1 << 28
"""Bytes of the largest JSON file that is read."""
DEEPEST = 64
"""Deepest nesting of lists and objects in JSON that is read; robustfw's own files have fewer than ten levels."""
LONGEST = 300
"""Most digits of a whole number that is read: longer ones have no float."""
STALE = 3600.0
"""Age in seconds from which a temporary file counts as left by a killed process: a write takes under a minute."""
NO_LINK = getattr(os, "O_NOFOLLOW", 0)
"""The flag of `os.open` that refuses symbolic links, where the system has it."""
BINARY = getattr(os, "O_BINARY", 0)
"""The flag of `os.open` for bytes as they are, which Windows needs."""


def write_whole(path: Path, content: bytes, *, within: Path | None = None) -> None:
    """Write a file by a temporary one beside it, flushed to the disk, then renamed.

    Args:
        path: the file; it may exist.
        content: the whole content of the file.
        within: a folder that may be a stranger's; below it no link is followed or replaced.

    Raises:
        OSError: it cannot be written; what was there before is still there.
    """
    if within is not None:
        refuse_links(path, within)
    unique = f"{os.getpid()}-{secrets.token_hex(4)}"
    temporary = path.with_name(f".{path.name}.{unique}.tmp")
    try:
        # O_EXCL: a link that somebody has put there is an error, and not followed
        handle = os.open(
            temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_LINK | BINARY, 0o666
        )
        with open(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        with contextlib.suppress(
            OSError
        ):  # the folder may be gone, or read-only by now
            temporary.unlink(missing_ok=True)


def append_line(path: Path, line: bytes, *, within: Path | None = None) -> None:
    """Add a line to a file; where there is no room for all of it, the file is left as it was.

    Args:
        path: the file; made if it does not exist.
        line: the line without its line break.
        within: a folder that may be a stranger's; below it no link is followed.

    Raises:
        OSError: it cannot be written.
    """
    if within is not None:
        refuse_links(path, within)
    content = line + b"\n"
    handle = os.open(
        path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | NO_LINK | BINARY, 0o666
    )
    with open(handle, "ab", buffering=0) as file:
        size_before = os.fstat(handle).st_size
        try:
            written = file.write(content)
            if written != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(handle, size_before)
            raise


def refuse_links(path: Path, within: Path) -> None:
    """Make sure that neither ``path`` nor a folder between it and ``clip`` is a symbolic link.

    Raises:
        OSError: one is a link, or ``path`` is not below ``clip``.
    """
    below = path.relative_to(within).parts
    if ".." in below:
        raise OSError(errno.EINVAL, f"it is not in {within}", str(path))
    for count in range(1, len(below) + 1):
        part = within.joinpath(*below[:count])
        if part.is_symlink():
            raise OSError(
                errno.ELOOP, f"{part} is a link, and none is followed there", str(part)
            )


def safe_child(root: Path, name: object) -> Path:
    """The path ``root/name``, for a name that was read from a file and that a stranger may have chosen.

    Raises:
        ValueError: the name is no text, or leads out of ``root``: an absolute path, one with ``..``, or a link.
    """
    if not isinstance(name, str) or not name or "\0" in name or "\\" in name:
        raise ValueError(f"{name!r} is no name of a file")
    parts = PurePath(name).parts
    if PurePath(name).is_absolute() or ".." in parts or not parts or ":" in parts[0]:
        raise ValueError(f"{name!r} leads out of {root}")
    child = root / name
    try:
        refuse_links(child, root)
    except OSError as error:
        raise ValueError(f"{name!r} is, or lies behind, a link") from error
    return child


def remove_leftovers(folder: Path, name: str = "*", *, older: float = STALE) -> None:
    """Remove temporary files that killed processes left in a folder.

    Args:
        folder: the folder; it need not exist.
        name: a pattern for the names of the files that were to be written.
        older: least age in seconds of what is removed; 0 where nobody else can be writing.
    """
    now = time.time()
    for leftover in folder.glob(f".{name}.*.tmp"):
        with contextlib.suppress(
            OSError
        ):  # another process may remove it at the same time
            if now - leftover.lstat().st_mtime >= older:
                leftover.unlink()


def advice(error: OSError) -> str:
    """What helps against a failure to write, as an order such as "make room"."""
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", None), errno.EFBIG):
        return "make room"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "make it writable for you"
    if error.errno == errno.ELOOP:
        return "put what it points to in its place"
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return "put the folder back"
    return "mend that"


def read_bytes(path: Path, largest: int = LARGEST) -> bytes:
    """Read a regular file. Others are refused: a pipe, for instance, could keep the reader waiting for ever.

    Raises:
        OSError: it cannot be read, or is no regular file.
        ValueError: it is larger than ``largest`` bytes.
    """
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    if status.st_size > largest:
        raise ValueError(
            f"it has {status.st_size} bytes, more than the {largest} that are read"
        )
    return path.read_bytes()


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal digits.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path: Path) -> Any:
    """Read the value in a JSON file, with the limits of `parse_json`.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not JSON, or too large.
    """
    return parse_json(read_bytes(path))


def parse_json(text: bytes | str, *, nan: bool = False) -> Any:
    """The value of JSON text. All its numbers have a float, and its nesting is shallow enough for recursion.

    Args:
        text: JSON; bytes are UTF-8.
        nan: whether to read NaN and Infinity as well, which are no JSON.

    Raises:
        ValueError: it is not JSON, too deeply nested, or a number in it is too large.
    """
    try:
        parse_constant = float if nan else _refuse_constant
        value = json.loads(
            text,
            parse_int=_read_int,
            parse_float=_read_float,
            parse_constant=parse_constant,
        )
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    _check_depth(value)
    return value


def _read_int(digits: str) -> int:
    """A whole number, unless it has no float."""
    if len(digits) > LONGEST:
        raise ValueError(f"a number in it has {len(digits)} digits")
    return int(digits)


def _read_float(digits: str) -> float:
    """A number, unless it overflows."""
    value = float(digits)
    if math.isinf(value):
        raise ValueError("a number in it is too large")
    return value


def _refuse_constant(name: str) -> NoReturn:
    """Raise a `ValueError` for NaN or Infinity."""
    raise ValueError(f"{name} is no number in JSON")


def _check_depth(value: Any) -> None:
    """Raise a `ValueError` for a value that is nested too deeply, looking at one level after the other."""
    level = [value]
    for _ in range(DEEPEST):
        containers = [part for part in level if isinstance(part, dict | list)]
        if not containers:
            return
        level = []
        for container in containers:
            level.extend(
                container.values() if isinstance(container, dict) else container
            )
    raise ValueError("it is nested too deeply")


def json_bytes(value: dict[str, Any]) -> bytes:
    """JSON in lines, which people can read too; a name that is not UTF-8 comes back as it was."""
    text = (
        json.dumps(json_value(value), indent=2, ensure_ascii=False, allow_nan=False)
        + "\n"
    )
    return text.encode(errors="backslashreplace")


def json_line(value: dict[str, Any]) -> bytes:
    """JSON in one line, without a line break."""
    return json.dumps(json_value(value), ensure_ascii=False, allow_nan=False).encode(
        errors="backslashreplace"
    )


def json_value(value: Any) -> Any:
    """A value as JSON can hold it: NaN and infinite numbers become None, and tuples lists."""
    if isinstance(value, dict):
        return {key: json_value(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [json_value(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def printable(text: str) -> str:
    """Text whose control characters, direction marks and halves of characters are replaced: they may mislead."""
    return "".join(
        char if char.isprintable() or char in "\n\t" else "\N{REPLACEMENT CHARACTER}"
        for char in text
    )
