"""The experiments of Shaham, Yamada and Negahban (2015): recipes for ``robustfw reproduce``, and what they claim."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robustfw import hookimpl

if TYPE_CHECKING:
    from robustfw.reproduction import Experiment, Judge


@hookimpl
def robustfw_judge(experiment: Experiment) -> Judge | None:
    if experiment.claims.get("use") != "paper":
        return None
    from robustfw_paper.claims import PaperJudge

    return PaperJudge.read(experiment.claims)
