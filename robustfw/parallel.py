"""Several processes, one training: rank, shares of the work, sums (torch.distributed, started by torchrun)."""

from __future__ import annotations

import atexit
import os
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel


def world() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """Which of them this one is."""
    return distributed.get_rank() if distributed.is_initialized() else 0


class _Sums:
    """The group for `summed`, one of its own: DistributedDataParallel keeps hold of the default group for good.

    A thread of gloo that still lets go of a tensor while Python ends aborts the process; to give up the last hold on a
    group waits for its threads.
    """

    group: Any = None

    @classmethod
    def leave(cls) -> None:
        if distributed.is_initialized():
            distributed.destroy_process_group()
        cls.group = None


def start(device: torch.device) -> None:
    """Join the processes that torchrun started, if it did."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not distributed.is_initialized():
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        _Sums.group = distributed.new_group()
        atexit.register(_Sums.leave)


def device(name: str) -> torch.device:
    """A device by name; ``auto`` is this process's accelerator where there is one."""
    if name != "auto":
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def share(rows: Tensor) -> Tensor:
    """This process's part of the rows; all parts together are the rows."""
    return rows[rank() :: world()]


def wrapped(model: nn.Module) -> nn.Module:
    """The net with its gradients averaged over the processes."""
    return DistributedDataParallel(model) if world() > 1 else model


def summed(values: Tensor) -> Tensor:
    """The sum over the processes, known to all of them."""
    if world() > 1:
        distributed.all_reduce(values, group=_Sums.group)
    return values
