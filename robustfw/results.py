"""Results that commands leave beside a run, each with the command that gives it again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import robustfw
from robustfw.errors import RunError
from robustfw.files import json_bytes, plain, write_whole

FOLDER = "results"


def keep(run: Path, kind: str, circumstances: Mapping[str, Any], measured: Mapping[str, Any], command: str) -> Path:
    """Write a result; the same measurement, taken again, takes the place of the earlier one.

    Args:
        run: the run directory that was measured.
        circumstances: what was measured, how, and on what; a file's name is made from them.
        measured: the numbers.
        command: what to type to get them again.
    """
    facts = {"kind": kind, "command": command, "robustfw": robustfw.__version__} | dict(circumstances)
    path = path_of(run, kind, circumstances)
    try:
        path.parent.mkdir(exist_ok=True)
        write_whole(path, json_bytes(facts | dict(measured)))
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}; make room, then try again") from error
    return path


def path_of(run: Path, kind: str, circumstances: Mapping[str, Any]) -> Path:
    """Where a result is kept: its kind, and a hash of its circumstances."""
    facts = json.dumps(plain(dict(circumstances)), sort_keys=True).encode()
    return run / FOLDER / f"{kind}-{hashlib.sha256(facts).hexdigest()[:10]}.json"


def kept(run: Path, kinds: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The results beside a run, by file name; of these kinds only, if any are given."""
    listed = []
    for path in sorted((run / FOLDER).glob("*.json")):
        try:
            result = json.loads(path.read_bytes())
            kind = result["kind"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{path} is no result of robustfw ({type(error).__name__}): move it away") from error
        if not kinds or kind in kinds:
            listed.append(result)
    return listed
