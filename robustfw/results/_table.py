"""A table, as the console and the report show it."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

LONG = 12
"""Rows from which on a table is folded."""


@attrs.frozen
class Table:
    """A table, and what is said below it. The console prints title, columns and rows."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    commands: Sequence[str] = ()
    """What to type to get its numbers again."""
    aligned: bool = True
    """Whether columns of numbers are set flush right."""
    folded: bool | None = None
    """Whether it is unfolded on demand; None for: if it is long."""
    grouped: bool = False
    """Whether neighbouring rows of the same name share it."""

    @property
    def spans(self) -> list[int]:
        """Over how many rows each row's name stands; 0 where the name of a row above holds."""
        spans = [1] * len(self.rows)
        for i in reversed(range(1, len(self.rows) if self.grouped else 0)):
            if self.rows[i][0] == self.rows[i - 1][0]:
                spans[i - 1], spans[i] = spans[i] + 1, 0
        return spans

    @property
    def hidden(self) -> bool:
        """Whether the page shows its title alone until it is asked for more."""
        return len(self.rows) > LONG if self.folded is None else self.folded
