"""How long does it take until the program answers?

Question: how long do `robustfw --help`, `robustfw plugins` and `import robustfw` take, and how long other libraries'
imports?

Claim: help and the list of plugins answer in a quarter of the time that importing torch takes. The exit status is 1 if
not.

Method: whole processes in turns, medians and extremes of wall-clock times. Files are in the system's cache, as they are
from the second start on.

    python -m benchmarks.startup [--rounds N] [--out FILE] [--json]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from functools import partial
from importlib.util import find_spec
from typing import Any

import attrs

from benchmarks.circumstances import circumstances
from benchmarks.tables import add_flags, leave, markdown
from benchmarks.turns import Spread, in_turns, ratios

TORCH = "import torch"
CLAIMED = ("robustfw --help", "robustfw plugins")
SHARE = 0.25
PEERS = {
    "foolbox": "foolbox",
    "torchattacks": "torchattacks",
    "adversarial-robustness-toolbox": "art.attacks.evasion",
}


def commands() -> dict[str, list[str]]:
    """What is timed, by name; libraries that are there."""
    python = [sys.executable, "-c"]
    imports = ["pass", "import robustfw", TORCH]
    imports += [
        f"import {module}"
        for module in PEERS.values()
        if find_spec(module.partition(".")[0])
    ]
    ours = {
        name: [sys.executable, "-m", "robustfw", *name.split()[1:]] for name in CLAIMED
    }
    return ours | {name: [*python, name] for name in imports}


def rows(rounds: int) -> list[dict[str, Any]]:
    """A row for each command."""
    run = partial(subprocess.run, capture_output=True, check=True)
    seconds = in_turns(
        {name: partial(run, command) for name, command in commands().items()}, rounds
    )
    return [
        {
            "command": name,
            "seconds": attrs.asdict(Spread.from_values(taken)),
            "ms": f"{1000 * Spread.from_values(taken).median:.0f}",
            "share": attrs.asdict(ratios(seconds, name, TORCH)),
            "of torch's import": ratios(seconds, name, TORCH).spell(),
        }
        for name, taken in seconds.items()
    ]


def holds(table: list[dict[str, Any]]) -> bool:
    """Whether the program answers as fast as claimed."""
    return all(
        row["share"]["median"] <= SHARE for row in table if row["command"] in CLAIMED
    )


COLUMNS = {"command": "command", "ms": "ms", "of torch's import": "of torch's import"}


def main() -> int:
    """Print and keep the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.startup", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--rounds", type=int, default=5, help="[5]")
    add_flags(parser)
    options = parser.parse_args()
    table = rows(options.rounds)
    there = [
        name for name, module in PEERS.items() if find_spec(module.partition(".")[0])
    ]
    leave(
        options,
        "startup",
        [markdown(table, COLUMNS)],
        table,
        circumstances(there, rounds=options.rounds),
    )
    return 0 if holds(table) else 1


if __name__ == "__main__":
    sys.exit(main())
