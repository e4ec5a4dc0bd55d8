"""Measuring what robust training bought: worst cases per example, with intervals and denominators."""

from robustfw.evaluation.accuracy import Evaluation, Verdicts, evaluate, verdicts
from robustfw.evaluation.intervals import wilson

__all__ = ["Evaluation", "Verdicts", "evaluate", "verdicts", "wilson"]
