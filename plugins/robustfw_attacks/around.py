"""What an attack that runs another one promises: what that one does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robustfw import Attack


class Around(Attack):
    """An attack with an option ``attack``, whose declarations are that attack's."""

    if TYPE_CHECKING:  # a field of each subclass; attrs could not make it a field of an abstract one

        @property
        def attack(self) -> Attack:
            """What is run."""

    @property
    def stays_inside(self) -> bool:
        """As far as the attack itself does."""
        return self.attack.stays_inside

    @property
    def couples_rows(self) -> bool:
        """Where the attack itself does."""
        return self.attack.couples_rows

    @property
    def minimal(self) -> bool:
        """Where the attack itself is."""
        return self.attack.minimal
