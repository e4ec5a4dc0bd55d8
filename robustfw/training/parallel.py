"""Several processes, one training: rank, shares of the work, sums (torch.distributed, started by torchrun)."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from robustfw.errors import RobustfwError, RunError, TrainingError, UsageError
from robustfw.training import _torchrun as torchrun

Value = TypeVar("Value")
SUM_IN_ORDER = 3
"""Processes from which on a sum of three numbers depends on its order, and so on who begins."""


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
    device = torch.device("cpu")

    @classmethod
    def leave(cls) -> None:
        if distributed.is_initialized():
            distributed.destroy_process_group()
        cls.group = None


def start(device: torch.device) -> None:
    """Join the processes that torchrun started, if it did.

    Raises:
        UsageError: the environment says only a part of what torchrun tells.
        RunError: the others cannot be reached.
    """
    launched = torchrun.launch()
    if launched is None or distributed.is_initialized():
        return
    try:
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        _Sums.group, _Sums.device = distributed.new_group(), device
    except RuntimeError as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise RunError(
            f"process {launched.rank} of {launched.world} cannot reach the others at {os.environ['MASTER_ADDR']}:"
            f"{os.environ['MASTER_PORT']} ({reason}): start all of them together, by torchrun"
        ) from error
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
    """The net with its gradients averaged over the processes.

    A sum of three or more numbers is rounded otherwise in another order. By default a gradient's place in the message
    decides who begins, and the messages of a process's first update are others than those that follow: a training
    that is resumed would not be the uninterrupted one. So they are summed in the order of the processes.
    """
    if world() == 1:
        return model
    together = DistributedDataParallel(model)
    if world() >= SUM_IN_ORDER:
        # a lambda has no annotations, which torch compares as objects and finds to be texts
        together.register_comm_hook(None, lambda _, bucket: _mean_in_order(bucket))
    return together


def _mean_in_order(bucket: Any) -> torch.futures.Future[Tensor]:
    """The mean over the processes of a message of gradients, summed in their order whatever the place in it.

    Each process sums one part of the message for all; as many numbers are sent as in a ring.
    """
    gradients, count = bucket.buffer(), world()
    width = -(-len(gradients) // count)
    padded = gradients.new_zeros(count * width)
    padded[: len(gradients)] = gradients
    parts = torch.empty_like(padded)
    distributed.all_to_all_single(parts, padded)
    own = parts[:width]
    for number in range(1, count):
        own += parts[number * width : (number + 1) * width]
    own /= count
    distributed.all_gather(list(padded.chunk(count)), own)
    gradients.copy_(padded[: len(gradients)])
    future: torch.futures.Future[Tensor] = torch.futures.Future()
    future.set_result(gradients)
    return future


def summed(values: Tensor) -> Tensor:
    """The sum over the processes, known to all of them."""
    if world() > 1:
        distributed.all_reduce(values, group=_Sums.group)
    return values


def mean(values: Tensor) -> Tensor:
    """The mean over the processes, known to all of them."""
    return values if world() == 1 else summed(values.clone()) / world()


def agreed(value: Value) -> Value:
    """The first process's value, which may be any that pickle takes, known to all of them."""
    if world() == 1:
        return value
    told = [value]
    distributed.broadcast_object_list(told, src=0, group=_Sums.group, device=_Sums.device)
    return told[0]


def on_first(action: Callable[[], Value]) -> Value | None:
    """What the first process gets by an action that it alone carries out; None on the others.

    Raises:
        RobustfwError: the action failed with one; on all processes, so that none waits for another.
    """
    result, error = None, None
    if rank() == 0:
        try:
            result = action()
        except RobustfwError as caught:
            error = caught
    failed = agreed(None if error is None else (type(error), str(error)))
    if error is not None:
        raise error
    if failed is not None:
        kind, message = failed
        raise kind(message)
    return result


def share_buffers(model: nn.Module) -> None:
    """Give all processes the first one's buffers, such as the statistics of batch norm, which each measures for itself.

    After each update: the next ascent, and what is averaged, saved and measured, then is the same on all processes.
    """
    if world() == 1:
        return
    by_type: dict[torch.dtype, list[Tensor]] = {}
    for buffer in model.buffers():
        by_type.setdefault(buffer.dtype, []).append(buffer.detach())
    for buffers in by_type.values():
        message = torch.cat([buffer.reshape(-1) for buffer in buffers])  # one message for all of a type
        distributed.broadcast(message, src=0, group=_Sums.group)
        for buffer, part in zip(buffers, message.split([buffer.numel() for buffer in buffers]), strict=True):
            buffer.copy_(part.reshape(buffer.shape))


def check_equal(model: nn.Module) -> None:
    """Make sure that all processes have the same parameters, bit for bit, by a checksum of each.

    Raises:
        TrainingError: they differ, on all processes alike.
    """
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.numel()]
    if world() == 1 or not named:
        return
    own = torch.stack([_checksum(parameter) for _, parameter in named]).to(_Sums.device)
    parts = [torch.empty_like(own) for _ in range(world())]
    distributed.all_gather(parts, own, group=_Sums.group)
    different = (torch.stack(parts) != own).any(0)
    # a process that agrees with none of the others sees all of them differ, so the first one's view decides
    names = agreed([name for (name, _), unlike in zip(named, different.tolist(), strict=True) if unlike])
    if names:
        raise TrainingError(
            f"the processes have come to different parameters ({len(names)} of {len(named)}, the first is {names[0]}): "
            "a model, an objective or an optimizer changes them on each process in its own way; use the net that it is "
            "given, whose gradients are averaged, and the random numbers that are the same on all"
        )


def _checksum(parameter: Tensor) -> Tensor:
    """A whole number by the bits of a tensor and their places, up to overflow."""
    values = parameter.detach()
    values = torch.view_as_real(values) if values.is_complex() else values
    bits = values.contiguous().reshape(-1).view(torch.uint8).to(torch.int64)
    places = torch.arange(len(bits), device=bits.device) * 2654435761 % 1000003 + 1
    return (bits * places).sum()


def usable_device(name: str) -> torch.device:
    """A device by name, tried out."""
    try:
        named = device(name)
        torch.zeros(1, device=named).item()
    except (RuntimeError, AssertionError) as error:  # an AssertionError is how torch says that it has no CUDA
        reason = str(error).splitlines()[0]
        raise UsageError(f"the device {name!r} cannot be used here ({reason}): give cpu, or auto") from error
    return named
