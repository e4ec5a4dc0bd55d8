"""What became of adversarial examples as image files: counts, and sentences about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def describe_pictures(facts: Mapping[str, Any]) -> list[str]:
    """What became of adversarial examples as files of 8 bits, in sentences."""
    n = facts["n"]
    if not n:
        return ["no example fooled the net, so that there is no image"]
    low, high = facts["fooling_interval"]
    sentences = [
        f"{facts['fooling']} of {n} adversarial images, read back from their files, fool the net "
        f"({facts['fooling'] / n:.1%}, 95 % interval {low:.1%} to {high:.1%}); of their originals as files it has "
        f"{facts['originals_correct']} right"
    ]
    if facts["outside"] is None:
        sentences.append(
            "whether the files lie in their set is not measured: its perturbations are not added to x"
        )
    elif facts["outside"]:
        sentences.append(
            f"{facts['outside']} of {n} files lie outside their set, by up to {facts['farthest']:.3g}: rounding to 8 "
            "bits moved them there"
        )
    else:
        sentences.append(
            f"all {n} files lie in their set; {facts['towards']} were rounded towards the original to stay there"
        )
    return sentences


def summarize_pictures(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How many images fool the net, how many lie outside their set, and how they were rounded."""
    from robustfw.evaluation import wilson

    n = len(rows)
    fooling = sum(row["fools"] for row in rows)
    excess = [row["outside"] for row in rows if row["outside"] is not None]
    known = len(excess) == n
    return {
        "n": n,
        "fooling": fooling,
        "fooling_interval": wilson(fooling, n),
        "originals_correct": sum(row["original_correct"] for row in rows),
        "outside": sum(value > 0 for value in excess) if known else None,
        "farthest": max(excess, default=0.0) if known else None,
        "towards": sum(row["rounding"] != "nearest" for row in rows),
    }
