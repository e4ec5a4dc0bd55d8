"""What a kind of result promises; see `robustfw.results.ResultKind`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from robustfw.results._kind import Caution, ResultKind
from robustfw.results._material import Material, ReportedRun
from robustfw.results._reading import Misfit, parse_json, structure
from robustfw.results._table import Table
from robustfw.testing.laws import Law, LawBroken, require

if TYPE_CHECKING:
    from typing import Any


def _example(kind: ResultKind) -> Any:
    """The example of a kind, as an object of its fields."""
    return structure(dict(kind.example()), kind.fields)


def _material(kind: ResultKind) -> Material:
    """A report of one run with the example of a kind."""
    run = ReportedRun(
        path=Path("run"),
        name="run",
        net=None,
        mode="",
        seed=None,
        manifest={"data": {}},
        epochs=(),
        results=(_example(kind),),
        at_the_end=None,
    )
    return Material(
        runs=(run,), collections=(), reproduction=None, notes=(), kinds=(kind,)
    )


def check_fields(kind: ResultKind, seed: int) -> None:
    """The fields are an attrs class, and the example is read as it from JSON and back."""
    from robustfw.storage.files import json_bytes

    require(attrs.has(kind.fields), f"{kind.fields!r} is no attrs class")
    written = parse_json(json_bytes(dict(kind.example())))
    require(
        structure(written, kind.fields) == _example(kind),
        "the example is another one after it was written",
    )
    required = []
    for field in attrs.fields(kind.fields):
        if field.default is attrs.NOTHING:
            required.append(field.name)
    for name in required:
        incomplete = {}
        for key, value in written.items():
            if key != name:
                incomplete[key] = value
        try:
            structure(incomplete, kind.fields)
        except Misfit:
            continue
        raise LawBroken(
            f"a result without {name!r} is read, though the field has no default"
        )


def check_lines(kind: ResultKind, seed: int) -> None:
    """The console's lines are texts of one line, tables or warnings, and there is at least one."""
    lines = list(kind.lines(_example(kind)))
    require(bool(lines), "the console says nothing")
    for line in lines:
        require(
            isinstance(line, str | Table | Caution),
            f"{line!r} is neither a text, a Table nor a Caution",
        )
        if isinstance(line, Table):
            _check_table(line)
        text = line.text if isinstance(line, Caution) else line
        require(
            not isinstance(text, str) or "\n" not in text,
            f"{text!r} is more than one line",
        )


def check_tables(kind: ResultKind, seed: int) -> None:
    """Every row of every table has as many cells as there are columns, all of them texts; no result, no table."""
    for table in kind.tables(_material(kind)):
        _check_table(table)
    require(
        not kind.tables(Material(runs=(), collections=(), reproduction=None, notes=())),
        "there is a table without a result",
    )


def check_figures(kind: ResultKind, seed: int) -> None:
    """Every figure has a title, a caption and a finding with a number in it; no result, no figure."""
    drawings = kind.figures(_material(kind))
    for drawing in drawings:
        require(
            bool(drawing.title and drawing.caption),
            "a figure has no title or no caption",
        )
        require(
            bool(re.search(r"\d", drawing.alt)),
            f"the finding {drawing.alt!r} has no number in it",
        )
        require(
            bool(re.fullmatch(r"[a-z][a-z-]*", drawing.kind)),
            f"{drawing.kind!r} is no name for a file",
        )
    require(
        not kind.figures(
            Material(runs=(), collections=(), reproduction=None, notes=())
        ),
        "there is a figure without a result",
    )
    require(
        bool(drawings or kind.tables(_material(kind))),
        "the report shows nothing of the example",
    )


def _check_table(table: Table) -> None:
    require(bool(table.title), "a table has no title")
    for row in table.rows:
        require(
            len(row) == len(table.columns),
            f"{table.title}: {row} does not fit the columns {table.columns}",
        )
        require(
            all(isinstance(cell, str) for cell in row),
            f"{table.title}: a cell of {row} is no text",
        )


LAWS = (
    Law("fields", check_fields),
    Law("lines", check_lines),
    Law("tables", check_tables),
    Law("figures", check_figures),
)
