"""The examples of an epoch on their way to the net: in the sampler's order, shared by the processes, on the device."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from robustfw.data.splits import Split, Splits, StreamedSplit
from robustfw.errors import DataError
from robustfw.inner._randomness import generator_for
from robustfw.training import parallel
from robustfw.training._state import State
from robustfw.training.recipe import Recipe, TrainOptions


def read_batches(
    recipe: Recipe, splits: Splits, state: State, batches: int
) -> Iterator[tuple[Tensor, Tensor, Mapping[str, Tensor]]]:
    """The batches that are left of the epoch under way, on the device.

    Args:
        recipe: its sampler, batch size and seed are used.
        splits: the data, of which the training split is read.
        state: where the training stands.
        batches: full batches of an epoch; a split in memory gives no more.

    Yields:
        This process's rows of a batch: x (rows, *shape), y, and metadata by name.

    Raises:
        DataError: the split gives another number of rows than was asked for.
    """
    options = recipe.train
    device = state.total_loss.device
    if isinstance(splits.train, StreamedSplit):
        yield from _stream_batches(splits.train, options, state, device)
        return
    # 1. the indices of each batch that is left, and of them this process's share
    split: Split = splits.train
    generator = generator_for(options.seed, "order", state.epoch)
    order = options.sampler.order(split, generator, state.epoch)
    indices_left = order.split(options.batch_size)[state.batch : batches]
    own_indices = [parallel.share(indices) for indices in indices_left]
    # 2. the examples at these
    examples = split.batches(iter(own_indices), device)
    for rows, (x, y) in zip(own_indices, examples, strict=False):
        if len(x) != len(rows) or len(y) != len(rows):
            raise DataError(
                f"the training split gave {len(x)} examples and {len(y)} targets for {len(rows)} indices"
            )
        meta = {"index": rows, **split.metadata(rows)}
        meta_on_device = {}
        for name, values in meta.items():
            meta_on_device[name] = values.to(device, non_blocking=True)
        yield x, y, meta_on_device


def _stream_batches(
    split: StreamedSplit, options: TrainOptions, state: State, device: torch.device
) -> Iterator[tuple[Tensor, Tensor, Mapping[str, Tensor]]]:
    """The batches of a stream from where the training stands; a stream decides its own order."""
    share = (parallel.rank(), parallel.world())
    for x, y, *metadata in split.epoch(
        state.epoch, options.seed, options.batch_size, state.batch, share
    ):
        # a stream gives metadata or leaves it out
        meta = dict(metadata[0]) if metadata else {}
        meta_on_device = {name: values.to(device) for name, values in meta.items()}
        yield x.to(device), y.to(device), meta_on_device


@contextlib.contextmanager
def copy_inputs(
    model: nn.Module, splits: Splits, device: torch.device
) -> Iterator[None]:
    """Inside, hand the net copies of its inputs if it changes them in place, since batches are used again.

    Args:
        model: the net, on the device.
        splits: the data, of which two examples show whether the net writes into its input.
        device: where the net is.
    """
    if not changes_inputs(model, splits, device):
        yield
        return
    hook = model.register_forward_pre_hook(
        lambda _, inputs: tuple(_clone_tensor(value) for value in inputs)
    )
    try:
        yield
    finally:
        hook.remove()


def _clone_tensor(value: Any) -> Any:
    """A copy of a tensor; any other value itself."""
    if isinstance(value, Tensor):
        return value.clone()
    return value


def changes_inputs(model: nn.Module, splits: Splits, device: torch.device) -> bool:
    """Whether a forward pass of the net, in evaluation mode, writes into its input.

    Args:
        model: the net, on the device.
        splits: the data, of which two examples go through the net.
        device: where the net is.
    """
    from robustfw.inner.modes import evaluation_mode

    x = splits.first_examples(2)[0].to(device)
    version_before = x._version
    with evaluation_mode(model), torch.no_grad():
        model(x)
    return x._version != version_before
