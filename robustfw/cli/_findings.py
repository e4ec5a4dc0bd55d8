"""What a reproduction has found: numbers and verdicts, on the screen and for the report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustfw.cli.subject import command_line

if TYPE_CHECKING:
    from robustfw.reproduction import Judge
    from robustfw.reproduction._plan import Plan


FINDINGS = "reproduction.json"
"""What the page is made of, in the folder of an experiment."""


def _describe_plan(plan: Plan) -> dict[str, Any]:
    """What a reproduction is made of, as its report needs it."""
    experiment = plan.experiment
    nets = []
    for net, label in experiment.labels.items():
        nets.append({"name": net, "label": label})
    runs = []
    collections = []
    for mode in plan.modes:
        for net in experiment.nets_of(mode):
            for seed in range(plan.seeds):
                path = plan.run(mode, net, seed)
                runs.append({"path": path, "net": net, "seed": seed, "mode": mode})
        collections.append(plan.collection(mode, experiment.transfer.source, 0))
    return {
        "mode": ", ".join(plan.modes),
        "budget": plan.budget,
        "seeds": plan.seeds,
        "nets": nets,
        "runs": runs,
        "collections": collections,
    }


def write_findings(plan: Plan, folder: Path, judge: Judge | None) -> None:
    """Write the numbers and the verdicts of all modes, on the screen and for the report."""
    from robustfw import console
    from robustfw.report import write
    from robustfw.reproduction import Judgement, Measurements
    from robustfw.storage.files import json_bytes, write_whole

    # 1. what was measured in each mode, and what its judge says
    tables = []
    sentences = []
    rows = []
    for mode in plan.modes:
        measured = Measurements(plan, mode, folder)
        judgement = Judgement() if judge is None else judge.judge(measured)
        tables.append(measured.table(judge) | {"command": command_line()})
        sentences += [*measured.summary(), *judgement.sentences]
        for claim in judgement.claims:
            rows += claim.rows(mode)

    # 2. for the report
    head = {"title": plan.experiment.title, "summary": sentences}
    numbers = {"tables": tables, "claims": rows}
    page = head | _describe_plan(plan) | numbers
    write_whole(folder / FINDINGS, json_bytes(page))

    # 3. for the screen
    for table in tables:
        console.line(table["title"])
        console.table(table["columns"][0], table["columns"], table["rows"])
        console.line(table["note"])
        console.line("")
    for mode in plan.modes:
        shown = []
        for row in rows:
            if row["mode"] == mode:
                first = f"  {row['net']}" if row["net"] else row["claim"]
                shown.append([first, row["paper"], row["ours"], row["verdict"]])
        if judge is not None:
            console.table(
                f"{mode}: claims", ["", judge.source, "ours", "verdict"], shown
            )
    for sentence in sentences:
        console.line(sentence)
    console.line(f"report: {write([folder])}")
