"""A stranger's kind of result: how sure a net is, and how often it is right."""

from __future__ import annotations

import attrs

from robustfw import hookimpl
from robustfw.results import Caution, Drawing, ResultKind, Table


@attrs.frozen
class Calibration:
    confidence: tuple[float, ...]
    accuracy: tuple[float, ...]
    n: int
    command: str = ""


@attrs.frozen
class CalibrationKind(ResultKind):
    """Accuracy against confidence."""

    fields = Calibration
    place = 45

    def example(self):
        return {"confidence": [0.5, 0.9], "accuracy": [0.4, 0.8], "n": 40}

    def lines(self, result, labels=None):
        rows = [(f"{c:.0%}", f"{a:.0%}") for c, a in zip(result.confidence, result.accuracy, strict=True)]
        yield Table("confidence", ("", "accuracy"), rows)
        yield f"examples         {result.n}"
        if max(result.confidence) > max(result.accuracy):
            yield Caution("the net is surer than it is right")

    def tables(self, material):
        pairs = material.pairs(Calibration)
        rows = [
            (run.name, f"{100 * c:.0f} %", f"{100 * a:.0f} %")
            for run, result in pairs
            for c, a in zip(result.confidence, result.accuracy, strict=True)
        ]
        again = [result.command for _, result in pairs if result.command]
        return [Table("Calibration", ("run", "confidence", "accuracy"), rows, commands=again)] if rows else []

    def figures(self, material):
        return [
            Drawing(
                "calibration",
                f"Calibration of {run.name}",
                lambda result=result: self.draw(result),
                "Accuracy against confidence.",
                f"{run.name} is right {result.accuracy[-1]:.0%} where it is {result.confidence[-1]:.0%} sure.",
                result.command,
            )
            for run, result in material.pairs(Calibration)
        ]

    def draw(self, result):
        from matplotlib.figure import Figure

        figure = Figure(figsize=(4.6, 3), layout="constrained")
        figure.subplots().plot(result.confidence, result.accuracy)
        return figure


@hookimpl
def robustfw_register(add):
    add("calibration", CalibrationKind)
