"""What torchrun tells a process about itself by environment variables; imports no torch."""

from __future__ import annotations

import os

import attrs

from robustfw.errors import UsageError

NEEDED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""Environment variables that torchrun sets for each process."""


@attrs.frozen
class Launch:
    """One of several processes that were started together."""

    rank: int
    """The number of this process, from 0."""
    world: int
    """How many processes there are."""


def launch() -> Launch | None:
    """Rank and number of the processes that torchrun started; None where this one is alone.

    Raises:
        UsageError: some of the variables are missing, or no whole numbers.
    """
    if os.environ.get("WORLD_SIZE", "1").strip() in ("", "1"):
        return None
    missing = [name for name in NEEDED if not os.environ.get(name)]
    advice = (
        "start all processes by torchrun --nproc-per-node N -m robustfw train …, "
        "or unset WORLD_SIZE to train alone"
    )
    if missing:
        are = "is" if len(missing) == 1 else "are"
        world_size = os.environ["WORLD_SIZE"]
        raise UsageError(
            f"WORLD_SIZE is {world_size}, but {' and '.join(missing)} {are} not set: {advice}"
        )
    values = {name: os.environ[name] for name in ("RANK", "WORLD_SIZE", "MASTER_PORT")}
    if not all(value.strip().isdecimal() for value in values.values()):
        settings = ", ".join(f"{name}={value}" for name, value in values.items())
        raise UsageError(f"{settings} are not all whole numbers: {advice}")
    rank = int(values["RANK"])
    world = int(values["WORLD_SIZE"])
    if not rank < world:
        raise UsageError(
            f"RANK is {rank}, and WORLD_SIZE {world}, which must be greater: {advice}"
        )
    return Launch(rank, world)


def follows() -> bool:
    """Whether torchrun started this process and it is not the first: only trainings have something for it to do."""
    try:
        process = launch()
    except UsageError:
        return False
    return process is not None and process.rank > 0
