"""Measuring what robust training bought: worst cases per example, with intervals and denominators."""

from robustfw.evaluation._accuracy import device_of, evaluate, verdicts
from robustfw.evaluation._checks import check_width
from robustfw.evaluation._comparison import Comparison
from robustfw.evaluation._crafting import Examples, craft
from robustfw.evaluation._evaluation import Evaluation, describe
from robustfw.evaluation._intervals import wilson
from robustfw.evaluation._known import KnownCases
from robustfw.evaluation._sweep import sweep
from robustfw.evaluation._sweep_result import Fooled, Sweep
from robustfw.evaluation._triggers import SEARCH, find_escalation
from robustfw.evaluation._verdicts import Verdicts
from robustfw.evaluation._within import verdicts_within

__all__ = [
    "SEARCH",
    "Comparison",
    "Evaluation",
    "Examples",
    "Fooled",
    "KnownCases",
    "Sweep",
    "Verdicts",
    "check_width",
    "craft",
    "describe",
    "device_of",
    "evaluate",
    "find_escalation",
    "sweep",
    "verdicts",
    "verdicts_within",
    "wilson",
]
