"""Measuring what robust training bought: worst cases per example, with intervals and denominators."""

from robustfw.evaluation.accuracy import (
    Evaluation,
    Verdicts,
    check_width,
    described,
    device_of,
    evaluate,
    verdicts,
)
from robustfw.evaluation.comparison import Comparison
from robustfw.evaluation.intervals import wilson
from robustfw.evaluation.sweep import Fooled, Sweep, sweep
from robustfw.evaluation.transfer import Examples, craft

__all__ = [
    "Comparison",
    "Evaluation",
    "Examples",
    "Fooled",
    "Sweep",
    "Verdicts",
    "check_width",
    "craft",
    "described",
    "device_of",
    "evaluate",
    "sweep",
    "verdicts",
    "wilson",
]
