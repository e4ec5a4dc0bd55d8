"""What a benchmark leaves: a table on the terminal in markdown, and a file with its numbers and circumstances."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def add_flags(parser: argparse.ArgumentParser, name: str) -> None:
    """What all benchmarks have in common."""
    parser.add_argument("--data-dir", type=Path, help="where data files are; else ROBUSTFW_DATA")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    default = RESULTS / f"{name}.json"
    parser.add_argument("--out", type=Path, default=default, help="where the numbers are kept [benchmarks/results]")


def markdown(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> str:
    """A table of rows by their keys; ``columns`` maps keys to headings."""
    lines = [f"| {' | '.join(columns.values())} |", "|" + "---|" * len(columns)]
    lines += [f"| {' | '.join(str(row.get(key, '')) for key in columns)} |" for row in rows]
    return "\n".join(lines)


def leave(
    options: argparse.Namespace, texts: Sequence[str], rows: Sequence[Mapping[str, Any]], facts: Mapping[str, Any]
) -> None:
    """Print the texts and the circumstances, or JSON; keep the JSON."""
    whole = json.dumps({"rows": rows, **facts}, indent=2, ensure_ascii=False, default=str)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(whole + "\n", encoding="utf-8")
    if options.json:
        print(whole)
        return
    print(*texts, "", *(f"{key}: {value}" for key, value in facts.items()), sep="\n")
    print(f"kept in {options.out}", file=sys.stderr)
