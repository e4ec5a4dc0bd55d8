"""Results as people and tables take them: a small table for notebooks, a flat row for data frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

CELL = "text-align:left;padding:.15em .8em .15em 0;border:0"
"""The style of a cell."""


def html_table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str] = ()
) -> str:
    """A table as HTML that needs nothing from elsewhere, with warnings below it.

    Args:
        heads: above the columns.
        rows: the cells of each row, as many as there are heads.
        notes: sentences that make the numbers doubtful.
    """
    head_cells = "".join(f'<th style="{CELL}">{escape(head)}</th>' for head in heads)
    lines = [f"<table><thead><tr>{head_cells}</tr></thead><tbody>"]
    for row in rows:
        cells = "".join(f'<td style="{CELL}">{escape(cell)}</td>' for cell in row)
        lines.append(f"<tr>{cells}</tr>")
    lines.append("</tbody></table>")
    for note in notes:
        lines.append(f'<p style="max-width:60em">⚠ {escape(note)}</p>')
    return "\n".join(lines)


def share_cells(
    name: str, count: int, n: int, interval: tuple[float, float]
) -> list[str]:
    """A share with its 95 % interval and its denominator, as the cells of a row.

    Args:
        name: what the share is of.
        count: examples that count.
        n: all examples.
        interval: of count / n.
    """
    low, high = interval
    return [name, f"{count / n:.2%}", f"{low:.2%} to {high:.2%}", f"{count} of {n}"]


SHARE_HEADS = ("", "share", "95 % interval", "examples")
"""Heads of a table whose rows are `share_cells`."""


def flat_row(facts: Mapping[str, Any]) -> dict[str, Any]:
    """A flat dict: pairs that are intervals become ``…_low`` and ``…_high``, mappings a key for each of theirs.

    Args:
        facts: numbers, words, intervals and mappings of these by name.
    """
    row: dict[str, Any] = {}
    for name, value in facts.items():
        if isinstance(value, Mapping):
            for key, number in flat_row(value).items():
                row[f"{name} {key}"] = number
        elif isinstance(value, tuple) and len(value) == 2:
            row[f"{name}_low"] = value[0]
            row[f"{name}_high"] = value[1]
        else:
            row[name] = value
    return row
