"""A table of a report."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

LONG = 12
"""Rows from which on a table is folded."""


@attrs.frozen
class Table:
    """A table, and what is said below it."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    commands: Sequence[str] = ()
    aligned: bool = True
    """Whether columns of numbers are set flush right."""
    folded: bool | None = None
    """Whether it is unfolded on demand; None for: if it is long."""

    @property
    def hidden(self) -> bool:
        """Whether the page shows its title alone until it is asked for more."""
        return len(self.rows) > LONG if self.folded is None else self.folded
