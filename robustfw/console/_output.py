"""Lines, paragraphs, warnings and tables on a terminal; plain lines elsewhere."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from robustfw.results._words import printable

_out = Console(highlight=False)
"""Results and progress bars, on standard output."""
_err = Console(highlight=False, stderr=True)
"""Warnings, on standard error."""


def line(text: str) -> None:
    """Print one line; characters that command a terminal are replaced."""
    _out.print(escape(printable(text)), soft_wrap=True)


def paragraph(title: str, text: str) -> None:
    """Print a title and a docstring; on a terminal its paragraphs are folded, elsewhere its lines stay."""
    _out.print(f"[bold]{escape(printable(title))}[/]", soft_wrap=True)
    for part in inspect.cleandoc(text).split("\n\n"):
        lines = part.splitlines()
        # indented lines are a table or an example
        is_prose = not any(text_line.startswith(" ") for text_line in lines)
        if _out.is_terminal and is_prose:
            _out.print(escape(printable(" ".join(lines))))
        else:
            line(part)
        line("")


def progress_line(text: str) -> None:
    """Print how far a command is to stderr, beside the results on stdout, where no bar can be drawn."""
    _err.print(escape(printable(text)), soft_wrap=True)


def problem(text: str) -> None:
    """Print a warning: something is wrong, but does not stop the command."""
    _err.print(f"[yellow]Warning:[/] {escape(printable(text))}", soft_wrap=True)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; on anything but a terminal, one line per row, however long.

    Args:
        title: stands above the table; elsewhere than on a terminal, in place of the first column's head.
        columns: the heads of the columns.
        rows: the cells of each row, as many as there are columns.
    """
    if not _out.is_terminal:
        for text in _align_columns([title, *columns[1:]], rows):
            line(text)
        line("")
        return
    rich_table = RichTable(
        title=escape(printable(title)),
        title_justify="left",
        title_style="bold",
        header_style="dim",
        box=None,
    )
    for index, column in enumerate(columns):
        rich_table.add_column(
            escape(printable(column)), overflow="fold", no_wrap=index == 0
        )
    for row in rows:
        rich_table.add_row(*(escape(printable(cell)) for cell in row))
    _out.print(rich_table)
    _out.print()


def _align_columns(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table whose columns are as wide as their widest cell; the first is indented below its head."""
    cells = [list(map(printable, heads))]
    for first, *others in rows:
        cells.append([printable(f"  {first}"), *map(printable, others)])
    widths = []
    for column in zip(*cells, strict=True):
        widths.append(max(map(cell_len, column)))
    lines = []
    for row in cells:
        padded = map(set_cell_size, row, widths)
        lines.append("  ".join(padded).rstrip())
    return lines
