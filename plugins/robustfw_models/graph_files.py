"""Nets from files with graph and weights; what is read is data and graph, never a pickle of code."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from robustfw import DataError
from robustfw_models.fitting import first_line, missing_package

FORCE = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
"""The environment variable by which torch's reader refuses pickles of code wherever it is called."""


class FixedMode(nn.Module):
    """A net whose layers stay in the mode in which it was exported, whatever mode is asked for."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def train(self, mode: bool = True) -> FixedMode:
        """Set the flag of this module alone."""
        self.training = mode
        return self

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the net returns."""
        return self.net(*args, **kwargs)


def load_torchscript(file: Path) -> nn.Module:
    """The net of a TorchScript file, on the CPU.

    Raises:
        DataError: the file is missing, or no TorchScript.
    """
    _require_file(file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return torch.jit.load(str(file), map_location="cpu")
        except Exception as error:  # a damaged file may raise anything
            raise DataError(
                f"{file} is no TorchScript that can be read ({first_line(error)}): write it by torch.jit.save"
            ) from error


def load_exported(file: Path) -> nn.Module:
    """The net of a program that torch.export wrote.

    Raises:
        DataError: the file is missing, or no such program.
    """
    _require_file(file)
    with warnings.catch_warnings(), weights_only():
        warnings.simplefilter("ignore")
        try:
            program = torch.export.load(file)
            net = program.module()
        except Exception as error:  # a damaged file may raise anything
            raise DataError(
                f"{file} is no program that can be read ({first_line(error)}): write it by torch.export.save"
            ) from error
    # its own train() and eval() raise: a program has one mode
    for name in ("train", "eval"):
        vars(net).pop(name, None)
    return FixedMode(net)


def load_onnx(file: Path) -> nn.Module:
    """The net of an ONNX file as torch's layers.

    Raises:
        UsageError: onnx or onnx2torch is not installed.
        DataError: the file is missing, no ONNX, or has operations that onnx2torch does not know.
    """
    try:
        import onnx
        import onnx2torch
    except ImportError as error:
        raise missing_package("onnx2torch", error) from error
    _require_file(file)
    try:
        graph = onnx.load(str(file))
    except Exception as error:  # a damaged file may raise anything
        raise DataError(
            f"{file} is no ONNX that can be read ({first_line(error)})"
        ) from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            net: nn.Module = onnx2torch.convert(graph)
        except Exception as error:  # it raises what its converters happen to raise
            raise DataError(
                f"{file} cannot be made a net of torch ({first_line(error)}): export it with an older opset, or take "
                "the net where it was exported from"
            ) from error
    return FixedMode(net.eval())


def _require_file(file: Path) -> None:
    """Raise a `DataError` unless there is such a file."""
    if not file.is_file():
        raise DataError(f"there is no file {file}: give the path of the net")


@contextlib.contextmanager
def weights_only() -> Iterator[None]:
    """Within it torch reads no pickle of code, not even where its own functions ask for that."""
    before = os.environ.get(FORCE)
    os.environ[FORCE] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[FORCE]
        else:
            os.environ[FORCE] = before
