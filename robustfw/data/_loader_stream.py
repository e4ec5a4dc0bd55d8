"""A DataLoader's own batches as a stream of training examples."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from typing import Any, final

import attrs
import torch
from torch.utils.data import DataLoader, SequentialSampler

from robustfw.data._sources import read_batch
from robustfw.data._split import Batch, StreamedSplit
from robustfw.errors import DataError

PRIME = 1_000_003
"""Factor by which the seeds of one training's epochs differ from those of another's."""


@final
@attrs.frozen(eq=False)
class LoaderStream(StreamedSplit):
    """A DataLoader's own batches, in its own order, for training.

    The order is that of the training's seed and the epoch: a loader that shuffles by torch's global generator, or by
    one of its own, is seeded at the beginning of each epoch, and torch's global generator is left as it was.
    """

    loader: DataLoader[Any]
    batch_size: int
    """Examples in a full batch."""
    examples: int
    """The number of examples in an epoch."""
    identity: str
    """The text that `fingerprint` hashes."""

    @classmethod
    def open(cls, loader: DataLoader[Any], examples: int | None = None) -> LoaderStream:
        """The stream of a loader.

        Args:
            loader: gives (x, y), or mappings.
            examples: the number of examples in an epoch, for a loader that does not know its length.

        Raises:
            DataError: the loader gives no batch, or neither it nor you say how many examples there are.
        """
        first = next(iter(loader), None)
        if first is None:
            raise DataError("the loader gave not one batch")
        x, y = read_batch(first)
        batch_size = loader.batch_size or len(y)
        if examples is None:
            try:
                full = len(loader) * batch_size
            except TypeError as error:
                raise DataError(
                    "the loader does not know its length: say how many examples an epoch has, by "
                    "robustfw.as_splits(loader, examples=…)"
                ) from error
            examples = full
            if not loader.drop_last and hasattr(loader.sampler, "__len__"):
                examples = min(full, len(loader.sampler))  # type: ignore[arg-type]  # it has a length
        digest = hashlib.sha256(
            x.contiguous().numpy().tobytes() + y.contiguous().numpy().tobytes()
        )
        identity = f"{examples} {batch_size}"
        # the first batch of a shuffled loader is another each time
        if isinstance(loader.sampler, SequentialSampler):
            identity += f" {digest.hexdigest()}"
        return cls(loader, batch_size, examples, identity)

    def __len__(self) -> int:
        return self.examples

    def epoch(
        self, epoch: int, seed: int, batch_size: int, skip: int, share: tuple[int, int]
    ) -> Iterator[Batch]:
        """The loader's own batches, whatever ``batch_size`` says."""
        randomness = _Randomness(self.loader, (seed * PRIME + epoch) % 2**62)
        rank, world = share
        with randomness:
            batches = iter(self.loader)
        for number in itertools.count():
            with randomness:
                batch = next(batches, None)
            if batch is None:
                return
            if number >= skip:
                x, y = read_batch(batch)
                yield x[rank::world], y[rank::world]

    def fingerprint(self) -> str:
        """SHA-256 of the number of examples, the batch size and, where the order is fixed, the first batch."""
        return hashlib.sha256(self.identity.encode()).hexdigest()


class _Randomness:
    """A context in which torch's global generator is a stream of its own, which goes on at the next entry."""

    def __init__(self, loader: DataLoader[Any], seed: int) -> None:
        if loader.generator is not None:
            loader.generator.manual_seed(seed)
        own = getattr(loader.sampler, "generator", None)
        if own is not None:
            own.manual_seed(seed)
        self.state = torch.Generator().manual_seed(seed).get_state()

    def __enter__(self) -> None:
        self.outside = torch.get_rng_state()
        torch.set_rng_state(self.state)

    def __exit__(self, *_: object) -> None:
        self.state = torch.get_rng_state()
        torch.set_rng_state(self.outside)
