"""Batches of examples that are measured together, and smaller ones where memory does not suffice."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from typing import TypeVar

import attrs
import torch
from torch import Tensor

from robustfw.data.splits import Split
from robustfw.errors import RobustfwWarning
from robustfw.inner._randomness import generator_for

Result = TypeVar("Result")
"""What a measurement makes of one batch."""
NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")
"""Parts of torch's messages where an allocation fails, on a CPU and elsewhere."""


@attrs.frozen(eq=False)
class MeasuredBatch:
    """Examples that are measured together, with the generator of what is random about it."""

    x: Tensor
    """Examples, (batch, *shape), on the net's device."""
    y: Tensor
    """Targets of the data set, (batch, …)."""
    rows: Tensor
    """The places of the examples in the split, (batch,)."""
    generator: torch.Generator
    size: int
    """Examples of a full batch, of which this may be the last and smaller one."""


def measure_batches(
    split: Split,
    measure: Callable[[MeasuredBatch], Result],
    *,
    batch_size: int,
    seed: int,
    device: torch.device,
    start: int = 0,
) -> Iterator[Result]:
    """Measure a split batch by batch; a batch that memory has no room for is halved, and so are all that follow.

    The generator of a batch is seeded by ``seed`` and by the number of the batch: its first row over the size of a full
    batch, rounded down. So an example that is measured after a halving has the random numbers that the smaller
    ``batch_size`` would have given it from the beginning, provided that the larger size is a multiple of the smaller
    one. Where the first batch is the one that is halved, all results are those of the smaller ``batch_size``.

    Args:
        split: the examples.
        measure: is called with each batch, and again with a part of it if it ran out of memory; it must have changed
            nothing by then.
        batch_size: examples that are measured together.
        seed: of the randomness.
        device: where the examples are measured.
        start: examples at the beginning that are left out.

    Yields:
        What ``measure`` returns.

    Warns:
        RobustfwWarning: a batch was halved.
    """
    size = batch_size
    while start < len(split):
        rows_of_batches = torch.arange(start, len(split)).split(size)
        batches = split.batches(rows_of_batches, device)
        for rows in rows_of_batches:
            result = _try_batch(batches, rows, measure, seed=seed, size=size)
            if result is None:
                break
            start += len(rows)
            yield result[0]
        if start < len(split):
            size = _halve(min(size, len(split) - start), device)


def _try_batch(
    batches: Iterator[tuple[Tensor, Tensor]],
    rows: Tensor,
    measure: Callable[[MeasuredBatch], Result],
    *,
    seed: int,
    size: int,
) -> tuple[Result] | None:
    """Measure the next batch, and return the result in a tuple; None where memory has no room for several examples.

    Args:
        batches: x and y.
        rows: the places of the batch's examples in the split.
        measure: what is done with the batch.
        seed: of the randomness.
        size: examples of a full batch.
    """
    try:
        x, y = next(batches)
        batch = MeasuredBatch(
            x=x,
            y=y,
            rows=rows,
            generator=generator_for(seed, "attack", int(rows[0]) // size),
            size=size,
        )
        return (measure(batch),)
    except (RuntimeError, MemoryError) as error:
        if len(rows) == 1 or not is_out_of_memory(error):
            raise
        # here the error ends, and with it what its frames hold
        return None


def _halve(size: int, device: torch.device) -> int:
    """Half of a batch's size, with a warning."""
    half = size // 2
    if device.type == "cuda":
        torch.cuda.empty_cache()
    warnings.warn(
        f"a batch of {size} examples does not fit into memory: it goes on with {half}; --batch-size {half} "
        "(batch_size from Python) begins with it",
        RobustfwWarning,
        stacklevel=4,
    )
    return half


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory does not suffice: torch's own, a CPU's allocator, or Python's."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    message = str(error)
    return isinstance(error, RuntimeError) and any(
        part in message for part in NO_MEMORY
    )


def peak_memory(device: torch.device) -> int:
    """The most memory that this process has had so far, in bytes; 0 where the system does not say.

    On a CUDA device it is what torch has allocated there at most; elsewhere the resident memory of the process.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:
        # Windows has no such module
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # macOS counts bytes, Linux KiB
    return peak if sys.platform == "darwin" else 1024 * peak
