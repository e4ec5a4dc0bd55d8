"""Intervals for proportions."""

from __future__ import annotations

import math

Z95 = 1.959963984540054
"""Φ⁻¹(0.975), for intervals of 95 %."""


def wilson(successes: int, n: int, z: float = Z95) -> tuple[float, float]:
    """The score interval of Wilson 1927 for a proportion; (0, 1) when n is 0.

    (p + z²/2n ± z·√(p(1−p)/n + z²/4n²)) / (1 + z²/n), which stays within [0, 1] and is right near 0 and 1,
    where accuracies lie and the normal interval is not.

    Args:
        successes: how many of the n.
        n: the denominator.
        z: the normal quantile, 1.96 for 95 %.
    """
    if n == 0:
        return 0.0, 1.0
    p = successes / n
    share = z * z / n
    centre = p + share / 2
    variance = p * (1 - p) / n
    half = z * math.sqrt(variance + share / (4 * n))
    low = (centre - half) / (1 + share)
    high = (centre + half) / (1 + share)
    return max(0.0, low), min(1.0, high)
