"""Where the numbers of a benchmark come from."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from robustfw.training.hardware import describe


def circumstances(libraries: Sequence[str], **settings: Any) -> dict[str, Any]:
    """Settings, commit, hardware, and the versions of the libraries."""
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    commit = subprocess.run(
        git, capture_output=True, text=True, check=False
    ).stdout.strip()
    versions = {name: version(name) for name in ("robustfw", "numpy", *libraries)}
    return {
        **settings,
        "commit": commit or None,
        **describe(torch.device("cpu")),
        "versions": versions,
    }
