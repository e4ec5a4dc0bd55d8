"""Seeds and generators: every random draw is a function of a seed and of its purpose."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator

import torch


def derive_seed(seed: int, *stream: object) -> int:
    """A seed, from 0 to 2⁵⁶ − 1, for one use of randomness, such as ("attack", epoch, batch, rank).

    Neighbouring seeds and streams give unrelated results: the bytes are those of a SHA-256 hash.
    """
    name = "/".join(str(part) for part in (seed, *stream))
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:7], "big")


def generator_for(seed: int, *stream: object) -> torch.Generator:
    """A fresh CPU generator for one use of randomness, such as ("attack", epoch, batch, rank).

    Every draw of a training is a function of its seed and its position. No generator's state has to be saved, and a
    resumed run draws what the uninterrupted one did.
    """
    return torch.Generator().manual_seed(derive_seed(seed, *stream))


@contextlib.contextmanager
def global_randomness(device: torch.device, seed: int) -> Iterator[None]:
    """Seed torch's global generators, which dropout and initial weights draw from, and restore them afterwards."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        # torch.manual_seed would record this call and its stack for every accelerator that is not in use yet.
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            torch.cuda.manual_seed(seed)
        elif device.type == "mps":
            torch.mps.manual_seed(seed)
        yield
