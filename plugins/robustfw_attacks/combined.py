"""Attacks made of attacks. The worst case is taken per example, never per batch or data set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, final

import attrs
from attrs.validators import ge, min_len

from robustfw import Attack
from robustfw_attacks.around import Around
from robustfw_attacks.best import Best
from robustfw_attacks.iterated import Pgd

if TYPE_CHECKING:
    from collections.abc import Iterable

    import torch
    from torch import Tensor

    from robustfw.inner.problem import InnerProblem


@final
@attrs.frozen
class Restarts(Around):
    """The worst case of each example over n runs of one attack, each with fresh randomness."""

    attack: Annotated[Attack, "what is run, in brackets: (pgd:steps=100)"] = (
        attrs.field(factory=Pgd)
    )
    n: Annotated[int, "how often"] = attrs.field(default=10, validator=ge(1))

    def maximize(self, problem: InnerProblem, generator: torch.Generator) -> Tensor:
        """The worst δ of ``n`` runs, (batch, *shape); each run attacks the rows that are not solved yet."""
        return _worst(problem, [self.attack] * self.n, generator)


@final
@attrs.frozen
class Strongest(Attack):
    """The worst case of each example over several attacks."""

    attacks: Annotated[tuple[Attack, ...], "a list: [pgd, (frank-wolfe:steps=50)]"] = (
        attrs.field(
            factory=lambda: (Pgd(), Pgd(direction="gradient")), validator=min_len(1)
        )
    )

    @property
    def stays_inside(self) -> bool:
        """Whether the results of all attacks are members."""
        return all(attack.stays_inside for attack in self.attacks)

    @property
    def couples_rows(self) -> bool:
        """Whether the result of one attack for a row depends on the other rows of the batch."""
        return any(attack.couples_rows for attack in self.attacks)

    @property
    def minimal(self) -> bool:
        """Whether one attack looks for the nearest solved member: the others do not need a criterion."""
        return any(attack.minimal for attack in self.attacks)

    def maximize(self, problem: InnerProblem, generator: torch.Generator) -> Tensor:
        """The worst δ of all attacks, (batch, *shape); each attacks the rows that are not solved yet."""
        return _worst(problem, self.attacks, generator)


def _worst(
    problem: InnerProblem, attacks: Iterable[Attack], generator: torch.Generator
) -> Tensor:
    """The worst δ of each example over several runs."""
    best = Best.empty(problem)
    for attack in attacks:
        rows = best.open_mask.nonzero()[:, 0]
        if not len(rows):
            break
        unsolved = problem if len(rows) == len(problem) else problem[rows]
        delta = attack.maximize(unsolved, generator)
        # only the first run begins at the problem's own start, the others look elsewhere
        problem = attrs.evolve(problem, start=None)
        best.offer(delta, unsolved.value(delta), rows)
    return best.delta
