"""What a benchmark leaves: a table on the terminal in markdown, and a file with its numbers and circumstances."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """What all benchmarks have in common."""
    parser.add_argument(
        "--data-dir", type=Path, help="where data files are; else ROBUSTFW_DATA, else ~/.cache/robustfw"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    parser.add_argument("--out", type=Path, help="the file that keeps the numbers [in benchmarks/results]")


def asked(options: argparse.Namespace) -> dict[str, Any]:
    """The settings that belong to the numbers."""
    return {name: value for name, value in vars(options).items() if name not in ("data_dir", "json", "out")}


def say(*text: object) -> None:
    """Tell what is under way."""
    print(*text, file=sys.stderr, flush=True)


def markdown(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> str:
    """A table of rows by their keys; ``columns`` maps keys to headings."""
    lines = [f"| {' | '.join(columns.values())} |", "|" + "---|" * len(columns)]
    lines += [f"| {' | '.join(_cell(row.get(key, '')) for key in columns)} |" for row in rows]
    return "\n".join(lines)


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
    whole = json.dumps({"rows": rows, **facts}, indent=2, ensure_ascii=False, default=str)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(whole + "\n", encoding="utf-8")
    if options.json:
        print(whole)
        return
    print(*texts, "", *(f"{key}: {value}" for key, value in facts.items()), sep="\n")
    say(f"kept in {out}")
