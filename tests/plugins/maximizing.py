"""Attacks by their specs, on inner problems."""

from __future__ import annotations

import torch

import robustfw


def maximize(attack, problem, seed=0):
    """The perturbations that the attack of this spec finds, with a generator of this seed."""
    return robustfw.make("attack", attack).maximize(problem, torch.Generator().manual_seed(seed))
