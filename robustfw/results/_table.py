"""A table, as the console and the report show it."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

LONG = 12
"""Rows above which a table is folded."""


@attrs.frozen
class Table:
    """A table, and what is said below it. The console prints title, columns and rows."""

    title: str
    """Stands above the table."""
    columns: Sequence[str]
    """Heads of the columns."""
    rows: Sequence[Sequence[str]]
    """A cell for each column, from top to bottom."""
    note: str = ""
    """What the numbers mean, below the table."""
    commands: Sequence[str] = ()
    """What to type to get the table's numbers again."""
    aligned: bool = True
    """Whether columns of numbers are set flush right."""
    folded: bool | None = None
    """Whether the page shows the title alone until it is asked for more; None: if the table is long."""
    grouped: bool = False
    """Whether neighbouring rows of the same name share it."""

    @property
    def spans(self) -> list[int]:
        """Over how many rows each row's name stands; 0 where the name of a row above holds."""
        spans = [1] * len(self.rows)
        if not self.grouped:
            return spans
        # from the last row up: a row of the same name as the one above gives its span to it
        for i in reversed(range(1, len(self.rows))):
            if self.rows[i][0] == self.rows[i - 1][0]:
                spans[i - 1] = spans[i] + 1
                spans[i] = 0
        return spans

    @property
    def hidden(self) -> bool:
        """Whether the page shows its title alone until it is asked for more."""
        if self.folded is None:
            return len(self.rows) > LONG
        return self.folded
