"""The base class of attacks that run another attack."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robustfw import Attack


class Around(Attack):
    """An attack with an option ``attack``, whose properties are those of that attack."""

    if (
        TYPE_CHECKING
    ):  # a field of each subclass; attrs could not make it a field of an abstract one

        @property
        def attack(self) -> Attack:
            """The attack that is run."""

    @property
    def stays_inside(self) -> bool:
        """Whether the inner attack's results are members."""
        return self.attack.stays_inside

    @property
    def couples_rows(self) -> bool:
        """Whether the inner attack's result for a row depends on the other rows of the batch."""
        return self.attack.couples_rows

    @property
    def minimal(self) -> bool:
        """Whether the inner attack looks for the nearest solved member."""
        return self.attack.minimal
