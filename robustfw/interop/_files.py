"""Tensors of a weights file: safetensors, or what torch saves, read as data and never as code."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors

from robustfw.errors import DataError

SUFFIXES = (".safetensors", ".pt", ".pth", ".pth.tar", ".bin", ".ckpt")
"""Usual ends of the names of weights files."""
TORCH = (b"PK", b"\x80")
"""Beginnings of what torch saves: an archive, or in its old format a pickle."""
GLOBAL = re.compile(r"GLOBAL ([\w.]+)")
"""The class that torch's reader refused, in its message."""


def read_file(path: Path) -> tuple[Any, str]:
    """What a weights file holds, and the file's SHA-256.

    Raises:
        DataError: the file is missing, damaged, no weights file, or could only be read by running code.
    """
    content = _read_bytes(path)
    digest = hashlib.sha256(content).hexdigest()
    _refuse_texts(path, content[:512])
    if _is_safetensors(content):
        try:
            return load_safetensors(content), digest
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            raise _damaged(path, error) from error
    if not content.startswith(TORCH):
        raise _damaged(path, ValueError("it begins like neither"))
    del content
    return _load_torch(path), digest


def _read_bytes(path: Path) -> bytes:
    """The file's content."""
    if path.is_dir():
        files = sorted(
            file.name for file in path.iterdir() if file.name.endswith(SUFFIXES)
        )
        listed = f", such as {files[0]}" if files else ""
        raise DataError(f"{path} is a folder: name the weights file in it{listed}")
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"there is no weights file {path}: check its path") from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise DataError(f"the weights file {path} cannot be read ({reason})") from error


def _refuse_texts(path: Path, start: bytes) -> None:
    """Raise a `DataError` for an empty file, and for texts that are often saved in the place of weights."""
    text = start.lstrip().lower()
    if not start:
        raise DataError(f"the weights file {path} is empty: download or copy it again")
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise DataError(
            f"{path} is a web page, not weights: the download needs a login, or the address of the file itself"
        )
    if text.startswith(b"version https://git-lfs"):
        raise DataError(
            f"{path} is a pointer of Git LFS, not weights: fetch the file itself by git lfs pull"
        )


def _is_safetensors(content: bytes) -> bool:
    """Whether a file begins as safetensors do: eight bytes for the length of a header, then its brace."""
    return content[8:9] == b"{" and int.from_bytes(content[:8], "little") < 1 << 32


def _load_torch(path: Path) -> Any:
    """What torch saved, by its reader that knows tensors and plain values only."""
    # the arguments of a script, which many checkpoints hold, are plain attributes: no code runs for them
    allow = getattr(torch.serialization, "safe_globals", None)
    allowed = contextlib.nullcontext() if allow is None else allow([argparse.Namespace])
    try:
        with allowed, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        message = str(error)
        refused = GLOBAL.search(message)
        if refused is None and "Unsupported" not in message:
            raise _damaged(path, error) from error
        name = f"the class {refused[1]}" if refused else "an object"
        raise DataError(
            f"{path} holds {name}, not tensors alone, and reading it would run code of the file, which robustfw never "
            "does: where its classes are, save the weights alone by torch.save(net.state_dict(), file)"
        ) from error
    except Exception as error:  # a damaged file may raise anything
        if "TorchScript" in str(error):
            raise DataError(
                f"{path} is a TorchScript program, not weights alone: name it as the model, torchscript:{path}"
            ) from error
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> DataError:
    """The error for a file that is cut short, or that no known program wrote."""
    reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
    return DataError(
        f"{path} is damaged, cut short, or no weights file ({reason}): copy or download it again, as safetensors or "
        "what torch.save writes"
    )


def is_state_dict(value: object) -> bool:
    """Whether a value maps names to tensors, with nothing beside them but extra states of modules."""
    if not isinstance(value, Mapping) or not value:
        return False
    tensors = 0
    for name, part in value.items():
        if not isinstance(name, str):
            return False
        if isinstance(part, torch.Tensor):
            tensors += 1
        elif not name.endswith("_extra_state"):
            return False
    return tensors > 0
