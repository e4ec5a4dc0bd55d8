"""A plugin whose parts fail, each in a way of its own."""

from __future__ import annotations

import attrs

from robustfw import Attack, Objective, Update, hookimpl


@attrs.frozen
class Lost(Objective):
    """Looks for what is not there."""

    def __call__(self, model, x, y, batch):
        return {"loss": batch.loss(model(x))}["los"]


@attrs.frozen
class Blind(Attack):
    """Divides by nothing."""

    def maximize(self, problem, generator):
        return problem.region.zero() + 1 // 0


@attrs.frozen
class Far(Attack):
    """Says nothing of leaving the set, and does."""

    def maximize(self, problem, generator):
        return 3 * problem.region.support(problem.region.zero() + 1)


@attrs.frozen
class Flat(Attack):
    """Forgets the shape."""

    def maximize(self, problem, generator):
        return problem.region.zero().flatten(1)


@attrs.frozen
class Silent(Update):
    """Gives no loss."""

    def __call__(self, turn):
        turn.clear()


@attrs.frozen
class One(Objective):
    """Takes the mean itself."""

    def __call__(self, model, x, y, batch):
        return batch.loss(model(x)).mean()


@attrs.frozen
class Forgetful(Objective):
    """Counts its batches, where no checkpoint sees it."""

    seen: list = attrs.field(factory=list, init=False, eq=False, repr=False)

    def __call__(self, model, x, y, batch):
        self.seen.append(len(x))
        return batch.loss(model(batch())) * (1 + 0.1 * len(self.seen))


@hookimpl
def robustfw_register(add):
    for part in (Lost, Blind, Far, Flat, Silent, One, Forgetful):
        add(part.__name__.lower(), part)
