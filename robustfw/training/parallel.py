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
"""What one process tells the others."""
SUM_IN_ORDER = 3
"""Smallest number of processes at which gradients are summed in a fixed order: rounding depends on it from there on."""


def world() -> int:
    """The number of processes that train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """The number of this process, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


class _Sums:
    """The process group of `sum_over_processes` and its device.

    It is not the default group, which DistributedDataParallel holds until the process ends. Gloo threads that are alive
    during interpreter shutdown abort the process; destroying a group that nobody else holds waits for its threads.
    """

    group: Any = None
    """torch's process group; None before `start` and after `leave`."""
    device = torch.device("cpu")
    """Where tensors must be that the group exchanges."""

    @classmethod
    def leave(cls) -> None:
        """Destroy the groups; for the end of the process."""
        if distributed.is_initialized():
            distributed.destroy_process_group()
        cls.group = None


def start(device: torch.device) -> None:
    """Join the processes that torchrun started, if it did.

    Raises:
        UsageError: only some of the variables are set that torchrun sets.
        RunError: the others cannot be reached.
    """
    launched = torchrun.launch()
    if launched is None or distributed.is_initialized():
        return
    try:
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        _Sums.group = distributed.new_group()
        _Sums.device = device
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


def wrap(model: nn.Module) -> nn.Module:
    """Average a net's gradients over the processes, by DistributedDataParallel; a process alone gets the net itself.

    The rounding of a sum of three or more numbers depends on their order. By default the order depends on a gradient's
    place in its message, and the first update's messages differ from later ones: a resumed training would not be the
    uninterrupted one. So gradients are summed in the order of the processes.
    """
    if world() == 1:
        return model
    wrapper = DistributedDataParallel(model)
    if world() >= SUM_IN_ORDER:
        # a lambda has no annotations, which torch compares as objects and finds to be texts
        wrapper.register_comm_hook(None, lambda _, bucket: _average_in_order(bucket))
    return wrapper


def _average_in_order(bucket: Any) -> torch.futures.Future[Tensor]:
    """The mean over the processes of a bucket of gradients, summed in the order of the processes.

    Each process sums one part of the bucket for all; as many numbers are sent as in a ring.
    """
    gradients = bucket.buffer()
    count = world()
    # 1. pad the gradients with zeros, so that all processes have parts of one width
    width = -(-len(gradients) // count)
    padded = gradients.new_zeros(count * width)
    padded[: len(gradients)] = gradients
    # 2. send each process its part, and get one part from every process
    parts = torch.empty_like(padded)
    distributed.all_to_all_single(parts, padded)
    # 3. sum them from the first process to the last
    average = parts[:width]
    for number in range(1, count):
        average += parts[number * width : (number + 1) * width]
    average /= count
    # 4. collect the averages of all parts
    distributed.all_gather(list(padded.chunk(count)), average)
    gradients.copy_(padded[: len(gradients)])
    future: torch.futures.Future[Tensor] = torch.futures.Future()
    future.set_result(gradients)
    return future


def sum_over_processes(values: Tensor) -> Tensor:
    """Sum a tensor over the processes, elementwise and in place; all of them get the sum."""
    if world() > 1:
        distributed.all_reduce(values, group=_Sums.group)
    return values


def mean(values: Tensor) -> Tensor:
    """The elementwise mean of a tensor over the processes, known to all of them."""
    if world() == 1:
        return values
    return sum_over_processes(values.clone()) / world()


def broadcast(value: Value) -> Value:
    """The first process's value, on all processes; it may be any that pickle takes."""
    if world() == 1:
        return value
    message = [value]
    distributed.broadcast_object_list(
        message, src=0, group=_Sums.group, device=_Sums.device
    )
    return message[0]


def run_on_first(action: Callable[[], Value]) -> Value | None:
    """Run an action on the first process only, and return its result there; the other processes get None.

    Raises:
        RobustfwError: the action raised one; it is raised on all processes, so that none waits for another.
    """
    result = None
    error = None
    if rank() == 0:
        try:
            result = action()
        except RobustfwError as caught:
            error = caught
    failure = None
    if error is not None:
        failure = (type(error), str(error))
    failure = broadcast(failure)
    if error is not None:
        raise error
    if failure is not None:
        kind, message = failure
        raise kind(message)
    return result


def share_buffers(model: nn.Module) -> None:
    """Give all processes the first one's buffers, such as the statistics of batch norm, which each measures for itself.

    Called after each update, so that the next ascent and what is averaged, saved and measured is the same on all.
    """
    if world() == 1:
        return
    by_type: dict[torch.dtype, list[Tensor]] = {}
    for buffer in model.buffers():
        by_type.setdefault(buffer.dtype, []).append(buffer.detach())
    for buffers in by_type.values():
        # one message for all buffers of a type
        message = torch.cat([buffer.reshape(-1) for buffer in buffers])
        distributed.broadcast(message, src=0, group=_Sums.group)
        sizes = [buffer.numel() for buffer in buffers]
        for buffer, part in zip(buffers, message.split(sizes), strict=True):
            buffer.copy_(part.reshape(buffer.shape))


def check_equal(model: nn.Module) -> None:
    """Make sure that all processes have the same parameters, bit for bit, by a checksum of each.

    Raises:
        TrainingError: they differ, on all processes alike.
    """
    named = []
    for name, parameter in model.named_parameters():
        if parameter.numel():
            named.append((name, parameter))
    if world() == 1 or not named:
        return
    own_checksums = [_checksum(parameter) for _, parameter in named]
    checksums = torch.stack(own_checksums).to(_Sums.device)
    checksums_of_all = [torch.empty_like(checksums) for _ in range(world())]
    distributed.all_gather(checksums_of_all, checksums, group=_Sums.group)
    differs = (torch.stack(checksums_of_all) != checksums).any(0).tolist()
    names = []
    for (name, _), different in zip(named, differs, strict=True):
        if different:
            names.append(name)
    # a process that agrees with none of the others sees all of them differ, so the first one's view decides
    names = broadcast(names)
    if names:
        raise TrainingError(
            f"the processes have come to different parameters ({len(names)} of {len(named)}, the first is {names[0]}): "
            "a model, an objective or an optimizer changes them on each process in its own way; use the net that it is "
            "given, whose gradients are averaged, and the random numbers that are the same on all"
        )


def _checksum(parameter: Tensor) -> Tensor:
    """A checksum of a tensor: the sum of its bytes, each times a weight that depends on its place (int64, wrapping)."""
    values = parameter.detach()
    if values.is_complex():
        values = torch.view_as_real(values)
    flat = values.contiguous().reshape(-1)
    bytes_ = flat.view(torch.uint8).to(torch.int64)
    places = torch.arange(len(bytes_), device=bytes_.device)
    weights = places * 2654435761 % 1000003 + 1
    return (bytes_ * weights).sum()


def usable_device(name: str) -> torch.device:
    """A device by name, on which a tensor has been made to try it out.

    Raises:
        UsageError: torch cannot use it here, or knows none of that name.
    """
    try:
        place = device(name)
        torch.zeros(1, device=place).item()
    except (
        RuntimeError,
        AssertionError,
    ) as error:  # an AssertionError is how torch says that it has no CUDA
        reason = str(error).splitlines()[0]
        raise UsageError(
            f"the device {name!r} cannot be used here ({reason}): give cpu, or auto"
        ) from error
    return place
