"""Seeds and generators: every draw is a function of a seed and of what it is for."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator

import torch


def derived_seed(seed: int, *stream: object) -> int:
    """A seed for one use of randomness: neighbouring seeds and streams share nothing."""
    name = "/".join(str(part) for part in (seed, *stream))
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:7], "big")


def generator_for(seed: int, *stream: object) -> torch.Generator:
    """A fresh generator for one use, such as ("attack", epoch, batch, rank).

    Every draw of a training is a function of the seed and of where it stands, so that there is no generator's state to
    keep, and a resumed run draws what the uninterrupted one did.
    """
    return torch.Generator().manual_seed(derived_seed(seed, *stream))


@contextlib.contextmanager
def global_randomness(device: torch.device, seed: int) -> Iterator[None]:
    """torch's global generators, which dropout and initial weights draw from: seeded inside, the caller's outside."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        # Not torch.manual_seed, which keeps a note, with the stack, for accelerators that nobody has begun to use.
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            torch.cuda.manual_seed(seed)
        elif device.type == "mps":
            torch.mps.manual_seed(seed)
        yield
