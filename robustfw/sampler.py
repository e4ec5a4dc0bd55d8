"""Which training examples an epoch goes through, and in which order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Annotated, final

import attrs

from robustfw.hookspecs import hookimpl

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from robustfw.data.splits import Split
    from robustfw.hookspecs import Add


class Sampler(ABC):
    """The order of an epoch's examples. A subclass is a frozen attrs class whose fields are its options."""

    @abstractmethod
    def order(self, split: Split, generator: torch.Generator, epoch: int) -> Tensor:
        """The order of one epoch.

        Args:
            split: the training examples.
            generator: the only source of randomness; the same for the same seed and epoch.
            epoch: the number of the epoch, from 0.

        Returns:
            Indices into the split, int64, as many as it has examples; an example may occur more than once.
        """


@final
@attrs.frozen
class Shuffled(Sampler):
    """Each example once, in random order."""

    def order(self, split: Split, generator: torch.Generator, epoch: int) -> Tensor:
        """A random permutation of the split's indices.

        Args:
            split: the training examples.
            generator: the source of randomness.
            epoch: not used.
        """
        import torch

        return torch.randperm(len(split), generator=generator)


@final
@attrs.frozen
class Sequential(Sampler):
    """Each example once, in the order of the split."""

    def order(self, split: Split, generator: torch.Generator, epoch: int) -> Tensor:
        """The split's indices from 0 up.

        Args:
            split: the training examples.
            generator: not used.
            epoch: not used.
        """
        import torch

        return torch.arange(len(split))


@final
@attrs.frozen
class Balanced(Sampler):
    """Each group as often as any other, drawn with replacement; a group is a class, or one in the split's metadata."""

    by: Annotated[
        str, "name of the groups in the split's metadata; label: the classes"
    ] = "label"

    def order(self, split: Split, generator: torch.Generator, epoch: int) -> Tensor:
        """Indices drawn with probabilities 1/(groups · size of the group).

        Args:
            split: the training examples.
            generator: the source of randomness.
            epoch: not used.

        Raises:
            UsageError: the split has no groups of that name, or not one for each example.
        """
        import torch

        from robustfw.errors import UsageError

        # 1. the group of each example
        if self.by == "label":
            groups = torch.cat([y for _, y in split.iterate(1000)])
        else:
            meta = split.metadata(torch.arange(len(split)))
            if self.by not in meta:
                raise UsageError(
                    f"the examples have no {self.by!r}; balanced:by=… names one of {sorted(meta) or 'none'}"
                )
            groups = meta[self.by]
        if groups.dim() != 1 or groups.is_floating_point():
            raise UsageError(
                f"balanced needs one group for each example, and {self.by!r} is none"
            )
        # 2. each example weighs the less, the larger its group
        _, group_index, sizes = groups.cpu().unique(
            return_inverse=True, return_counts=True
        )
        weights = 1 / sizes.double()[group_index]
        return torch.multinomial(
            weights, len(split), replacement=True, generator=generator
        )


@hookimpl
def robustfw_register(add: Add) -> None:
    """Register the samplers by name."""
    add("shuffled", Shuffled)
    add("sequential", Sequential)
    add("balanced", Balanced)
