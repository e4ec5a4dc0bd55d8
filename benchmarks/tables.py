"""What a benchmark leaves: a table on the terminal in markdown, and a file with its numbers and circumstances."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from robustfw.training import hardware

RESULTS = Path(__file__).parent / "results"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """What all benchmarks have in common."""
    parser.add_argument(
        "--data-dir",
        type=Path,
        help="where data files are; else ROBUSTFW_DATA, else ~/.cache/robustfw",
    )
    parser.add_argument(
        "--json", action="store_true", help="one JSON object instead of the table"
    )
    parser.add_argument(
        "--out",
        type=_file,
        help="the file that keeps the numbers [in benchmarks/results]",
    )


def _file(text: str) -> Path:
    """A path that can be written, made sure of before anything is measured."""
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is a folder: name a file")
    nearest = next(each for each in path.absolute().parents if each.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise argparse.ArgumentTypeError(
            f"{nearest} is no folder that can be written: name another file"
        )
    return path


def bf16_pays(how: str) -> bool:
    """Whether bf16 is worth measuring on this processor; where not, it is said, and ``how`` to measure it even so."""
    if hardware.bf16_units() is not False:
        return True
    say(
        "bf16 is left out: this processor has no instructions for it, so that an update takes 10 to 16 times one in "
        f"fp32; {how}"
    )
    return False


def asked(options: argparse.Namespace) -> dict[str, Any]:
    """The settings that belong to the numbers."""
    return {
        name: value
        for name, value in vars(options).items()
        if name not in ("data_dir", "json", "out")
    }


def say(*text: object) -> None:
    """Tell what is under way."""
    print(*text, file=sys.stderr, flush=True)


def markdown(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> str:
    """A table of rows by their keys; ``columns`` maps keys to headings."""
    return "\n".join([_head(columns), *(_line(row, columns) for row in rows)])


def stream(
    options: argparse.Namespace,
    rows: Iterable[dict[str, Any]],
    columns: Mapping[str, str],
) -> list[dict[str, Any]]:
    """The rows, each printed as soon as it is measured; with ``--json`` on stderr."""
    table: list[dict[str, Any]] = []
    stdout = sys.stderr if options.json else sys.stdout
    for row in rows:
        if not table:
            print(_head(columns), file=stdout, flush=True)
        print(_line(row, columns), file=stdout, flush=True)
        table.append(row)
    return table


def _head(columns: Mapping[str, str]) -> str:
    return f"| {' | '.join(columns.values())} |\n" + "|" + "---|" * len(columns)


def _line(row: Mapping[str, Any], columns: Mapping[str, str]) -> str:
    return f"| {' | '.join(_cell(row.get(key, '')) for key in columns)} |"


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def leave(
    options: argparse.Namespace,
    name: str,
    texts: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
    facts: Mapping[str, Any],
) -> None:
    """Print the texts and the circumstances, or JSON; keep the JSON, in a file of this name if none was asked for."""
    out = options.out or RESULTS / f"{name}.json"
    whole = json.dumps(
        {"rows": rows, **facts}, indent=2, ensure_ascii=False, default=str
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(whole + "\n", encoding="utf-8")
    if options.json:
        print(whole)
        return
    print(*texts, "", *(f"{key}: {value}" for key, value in facts.items()), sep="\n")
    say(f"kept in {out}")
