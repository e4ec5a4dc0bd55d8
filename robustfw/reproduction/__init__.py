"""Whole experiments from one recipe: trainings and measurements as commands, run in order, and read into one page.

A plugin that knows what was claimed of an experiment judges it: see `Judge` and the hook ``robustfw_judge``.
"""

from robustfw.reproduction._experiment import Experiment
from robustfw.reproduction._judge import (
    CONFIRMED,
    NOT_CONFIRMED,
    POINTS,
    UNDECIDED,
    Claim,
    Judge,
    Judgement,
    Part,
)
from robustfw.reproduction._measurements import Measurements
from robustfw.results._seed_means import Mean, paired_differences

__all__ = [
    "CONFIRMED",
    "NOT_CONFIRMED",
    "POINTS",
    "UNDECIDED",
    "Claim",
    "Experiment",
    "Judge",
    "Judgement",
    "Mean",
    "Measurements",
    "Part",
    "paired_differences",
]
