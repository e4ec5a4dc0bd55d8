"""A curriculum (Bengio et al. 2009): first the examples that are called easy, then all of them."""

from __future__ import annotations

from typing import Annotated

import attrs
import torch
from attrs.validators import ge
from torch import Tensor

from robustfw import Sampler, Split, UsageError, hookimpl


@attrs.frozen
class Curriculum(Sampler):
    """In epoch t the easiest min(1, t/epochs) of the examples, as often as fills the epoch, in random order."""

    by: Annotated[str, "name of a difficulty in the split's metadata"] = "difficulty"
    epochs: Annotated[int, "after how many all examples take part"] = attrs.field(default=5, validator=ge(1))

    def order(self, split: Split, generator: torch.Generator, epoch: int) -> Tensor:
        meta = split.metadata(torch.arange(len(split)))
        if self.by not in meta:
            raise UsageError(f"the examples have no {self.by!r}; curriculum:by=… names one of {sorted(meta) or 'none'}")
        easiest = meta[self.by].argsort(stable=True)[: max(1, len(split) * min(epoch + 1, self.epochs) // self.epochs)]
        rounds = -(-len(split) // len(easiest))
        order = [easiest[torch.randperm(len(easiest), generator=generator)] for _ in range(rounds)]
        return torch.cat(order)[: len(split)]


@hookimpl
def robustfw_register(add):
    add("curriculum", Curriculum)
