"""Group DRO (Sagawa et al. 2020): the worst group's loss, by weights of the groups that grow with their losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import attrs
import torch
from attrs.validators import gt
from torch import Tensor, distributed, nn

from robustfw import Batch, Objective, Split, Stateful, UsageError, hookimpl, learnt, with_learnt


@attrs.frozen
class GroupDro(Objective, Stateful):
    """Σ_g q_g · mean loss of group g, q ← q·exp(η·loss of g)/Σ: ascent on the weights q of the groups, descent on θ.

    Losses are those at worst cases. Groups are what the training split's metadata says, or the classes.
    """

    eta: Annotated[float, "η, step of the weights"] = attrs.field(default=0.01, validator=gt(0))
    by: Annotated[str, "name of the groups in the split's metadata; label: the classes"] = "label"
    groups: int | None = learnt()
    memory: dict[str, Tensor] = attrs.field(factory=dict, init=False, eq=False, repr=False)

    @property
    def couples_rows(self) -> bool:
        """The weight of a row follows from its group's mean."""
        return True

    def fit(self, train: Split) -> GroupDro:
        """Knowing how many groups there are."""
        everything = torch.arange(len(train))
        if self.by == "label":
            group = torch.cat([y for _, y in train.iterate(1000)])
        else:
            group = self._of(train.metadata(everything))
        return with_learnt(self, groups=int(group.max()) + 1)

    def _of(self, meta: Mapping[str, Tensor]) -> Tensor:
        if self.by not in meta:
            raise UsageError(f"the examples have no {self.by!r}; group-dro:by=… names one of {sorted(meta) or 'none'}")
        return meta[self.by]

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, batch: Batch) -> Tensor:
        if self.groups is None:
            raise UsageError("group-dro has not seen any data: call .fit(train) on it, with the training examples")
        values = batch.loss(model(batch()))
        group = y.clamp(min=0) if self.by == "label" else self._of(batch.meta)
        sums, counts = (values.new_zeros(self.groups) for _ in range(2))
        sums.index_add_(0, group, values.detach())
        counts.index_add_(0, group, torch.ones_like(values))
        if distributed.is_initialized():  # a group's loss is that of the whole batch
            for each in (sums, counts):
                distributed.all_reduce(each)
        weights = self._grown(sums / counts.clamp(min=1))
        # the engine takes the mean over the rows
        return values * (weights * counts.sum() / counts.clamp(min=1))[group]

    def _grown(self, losses: Tensor) -> Tensor:
        """The weights after this batch."""
        weights = self.memory.get("weights", torch.full_like(losses, 1 / self.groups)).to(losses)
        grown = weights * (self.eta * losses).exp()
        self.memory["weights"] = grown / grown.sum()
        return self.memory["weights"]

    def state_dict(self) -> Mapping[str, Any]:
        return dict(self.memory)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.memory.clear()
        self.memory.update(state)


@hookimpl
def robustfw_register(add):
    add("group-dro", GroupDro)
