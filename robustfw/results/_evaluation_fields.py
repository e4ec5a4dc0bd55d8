"""The fields of an evaluation, and the strongest one of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from robustfw.results._words import (
    Interval,
    format_share,
)

if TYPE_CHECKING:
    from robustfw.results._material import ReportedRun


CLASSES_NAMED = ("", "classification", "binary")
"""Tasks in which a right answer is a class, so that the share of them is called accuracy without more words."""
RIGHT = {
    "regression": "within tolerance",
    "multilabel": "all labels right",
    "segmentation": "right",
}


@attrs.frozen
class EvaluationFields:
    """Clean and robust accuracy of a run on one split."""

    uncertainty: str
    attacks: tuple[str, ...]
    split: str
    weights: str
    n: int
    correct: int
    robust: int
    clean_accuracy: float
    robust_accuracy: float
    clean_interval: Interval
    interval: Interval
    per_class: tuple[tuple[int, int, int], ...] = ()
    """Examples, correct and robust ones of each class; empty where a target is no class."""
    zero_gradients: int = 0
    not_numbers: int = 0
    """Examples at which an output is not finite."""
    forward_passes: int | None = None
    backward_passes: int | None = None
    seconds: float | None = None
    memory: int = 0
    """The most memory of the process, in bytes; 0 where it is not known."""
    batch_size: int = 0
    seed: int | None = None
    task: str = ""
    """The spec of the task; empty for classification."""
    metrics: dict[str, dict[str, float | None]] = attrs.field(factory=dict)
    """Further numbers of the task, on clean examples and at the worst cases: {"mean error": {"clean": …, …}}."""
    escalation: tuple[dict[str, str], ...] = ()
    """Evidence that gradient attacks were blind, and what they did about it: name, evidence, answer."""
    known: dict[str, int] = attrs.field(factory=dict)
    """Worst cases of earlier evaluations: how many were tried, and how many of these fooled the net again."""
    command: str = ""

    @property
    def right(self) -> str:
        """What holds for examples that count as correct, where that is not that they are classified correctly."""
        name = self.task.partition(":")[0]
        if name in CLASSES_NAMED:
            return ""
        return RIGHT.get(name, "right")

    def clean_share(self) -> str:
        """The clean accuracy with interval and denominator, for a table."""
        share = format_share(
            self.clean_accuracy,
            interval=self.clean_interval,
            count=self.correct,
            n=self.n,
        )
        return f"{share} {self.right}".rstrip()

    def robust_share(self) -> str:
        """The robust accuracy with interval and denominator, for a table."""
        share = format_share(
            self.robust_accuracy, interval=self.interval, count=self.robust, n=self.n
        )
        return f"{share} {self.right}".rstrip()


def strongest(run: ReportedRun) -> EvaluationFields | None:
    """The evaluation with the least robust accuracy in the set of the training, or in any set if there is none."""
    evaluations = run.evaluations()
    training_set = None
    if run.at_the_end:
        training_set = run.at_the_end.uncertainty
    in_training_set = [
        evaluation
        for evaluation in evaluations
        if evaluation.uncertainty == training_set
    ]
    candidates = in_training_set or evaluations
    return min(
        candidates, key=lambda evaluation: evaluation.robust_accuracy, default=None
    )
