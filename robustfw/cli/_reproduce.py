"""`robustfw reproduce` and `robustfw recipes`: whole experiments."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from robustfw.cli._stopping import Stopped
from robustfw.cli.subject import command_line
from robustfw.errors import RunError, UsageError
from robustfw.plugin import registry
from robustfw.reproduction._recipes import named, shipped

if TYPE_CHECKING:
    from robustfw.reproduction._plan import Plan

RECIPE, FINDINGS = "recipe.toml", "reproduction.json"


@click.command(short_help="Run a whole experiment, and write its page.")
@click.argument("recipe")
@click.option("--seeds", type=click.IntRange(min=1), default=1, show_default=True, help="How often, each time anew.")
@click.option("--budget", metavar="NAME", default="full", show_default=True, help="How long to train, by the recipe.")
@click.option("--quick", "budget", flag_value="quick", help="As --budget quick.")
@click.option("--paper", "budget", flag_value="paper", help="As --budget paper.")
@click.option(
    "--mode", "modes", metavar="NAME", multiple=True, help="A mode of the recipe; may be repeated. [the budget's]"
)
@click.option("--faithful", "modes", flag_value="faithful", multiple=True, help="As --mode faithful.")
@click.option("--exact", "modes", flag_value="exact", multiple=True, help="As --mode exact.")
@click.option("--model", metavar="SPEC", help="Another model than the recipe's, for all nets.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder. [reproductions/RECIPE-BUDGET, and the model's]")
@click.option("--processes", type=click.IntRange(min=1), help="Commands at a time. [the recipe's]")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where data files are. [ROBUSTFW_DATA]")
def reproduce(
    recipe: str,
    seeds: int,
    budget: str,
    modes: tuple[str, ...],
    model: str | None,
    out: Path | None,
    processes: int | None,
    data_dir: Path | None,
) -> None:
    """Run a whole experiment: train nets, measure them, and set the numbers beside those of the paper.

    RECIPE is a name that robustfw recipes lists, or a file. Every step is a command of robustfw that you could type;
    log.txt has them and what they printed, log-*.txt those that are under way. Stopped at any point, the same command
    goes on there; asked for more seeds, it adds them.
    """
    from robustfw import console
    from robustfw.cli import main
    from robustfw.reproduction._experiment import Experiment
    from robustfw.reproduction._plan import Plan
    from robustfw.reproduction._running import Runner

    name, text = _text(recipe)
    experiment = Experiment.read(text, recipe)
    folder = out or Path("reproductions") / f"{name}-{budget}"
    if model is not None:
        spec = registry.installed().spell(registry.installed().make("model", model), brief=True)
        experiment, text = experiment.with_model(spec), f"# by --model {spec}\n{text}"
        folder = out or folder.with_name(f"{folder.name}-{spec.partition(':')[0]}")
    at_a_time = processes or min(experiment.processes, os.cpu_count() or 1)
    threads = max(1, (os.cpu_count() or 1) // at_a_time)
    data = None if data_dir is None else str(data_dir.resolve())
    plan = Plan(experiment, experiment.modes_of(budget, modes), budget, seeds, data)
    jobs = plan.jobs()
    with contextlib.closing(_Folder(folder, text)):
        console.line(f"{experiment.title}: {len(jobs)} commands in {folder}")
        try:
            for _ in console.progress(
                Runner(main, folder, at_a_time, threads).carry_out(jobs), f"all of it is in {folder}"
            ):
                pass
        except KeyboardInterrupt:
            raise Stopped(f"stopped, nothing is lost; to go on: {command_line()}") from None
        _finish(plan, folder)


def _text(recipe: str) -> tuple[str, str]:
    """Name and text of a recipe: a file, or one that ships with a package."""
    path = Path(recipe)
    if path.suffix != ".toml":
        return recipe, named(recipe, registry.installed().modules()).text
    try:
        return path.stem, path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read the recipe {path}: {error.strerror}") from error


class _Folder:
    """The folder of an experiment, with its recipe, for one process at a time, until it is closed."""

    def __init__(self, path: Path, text: str) -> None:
        from robustfw.storage._locks import claim
        from robustfw.storage.files import advice, write_whole

        self.lock = claim(path, "reproduced", patience=0)
        kept, content = path / RECIPE, text.encode()
        try:
            if kept.exists() and kept.read_bytes() != content:
                raise RunError(f"{path} was begun with another recipe: choose another --out")
            write_whole(kept, content)
        except OSError as error:
            self.close()
            help_ = f"{advice(error)}, or choose another --out"
            raise RunError(f"cannot write {path}: {error.strerror}; {help_}") from error
        except RunError:
            self.close()
            raise

    def close(self) -> None:
        """Give the folder free."""
        self.lock.release()


def _finish(plan: Plan, folder: Path) -> None:
    """The tables and verdicts, on the screen and for the report."""
    from robustfw import console
    from robustfw.report import write
    from robustfw.reproduction._claims import claims, summary
    from robustfw.reproduction._findings import Findings
    from robustfw.storage.files import json_bytes, write_whole

    found = [Findings(plan, mode, folder) for mode in plan.modes]
    tables = [each.table() | {"command": command_line()} for each in found]
    sentences = [sentence for each in found for sentence in summary(each)]
    rows = [row for each in found for claim in claims(each) for row in claim.rows(each.mode)]
    experiment = plan.experiment
    page = {
        "title": experiment.title,
        "summary": sentences,
        "mode": ", ".join(plan.modes),
        "budget": plan.budget,
        "seeds": plan.seeds,
        "nets": [{"name": net, "label": label} for net, label in experiment.labels.items()],
        "runs": [
            {"path": plan.run(mode, net, seed), "net": net, "seed": seed, "mode": mode}
            for mode in plan.modes
            for net in experiment.nets_of(mode)
            for seed in range(plan.seeds)
        ],
        "collections": [plan.collection(mode, experiment.transfer.source, 0) for mode in plan.modes],
        "tables": tables,
        "claims": rows,
    }
    write_whole(folder / FINDINGS, json_bytes(page))
    for table in tables:
        console.line(table["title"])
        console.table(table["columns"][0], table["columns"], table["rows"])
        console.line(table["note"])
        console.line("")
    for mode in plan.modes:
        of_mode = [row for row in rows if row["mode"] == mode]
        shown = [[f"  {r['net']}" if r["net"] else r["claim"], r["paper"], r["ours"], r["verdict"]] for r in of_mode]
        console.table(f"{mode}: claims", ["", "paper", "ours", "verdict"], shown)
    for sentence in sentences:
        console.line(sentence)
    console.line(f"report: {write([folder])}")


@click.group(invoke_without_command=True, short_help="List the recipes that ship with robustfw and its plugins.")
@click.pass_context
def recipes(ctx: click.Context) -> None:
    """List the recipes that ship with robustfw and its plugins."""
    if ctx.invoked_subcommand is not None:
        return
    from robustfw import console

    for title, experiments in (("robustfw train", False), ("robustfw reproduce", True)):
        rows = [
            [each.name, each.about, each.package]
            for each in shipped(registry.installed().modules()).values()
            if each.is_experiment == experiments
        ]
        console.table(f"for {title}", ["", "what it is", "from"], rows)
    console.line("robustfw recipes copy NAME hands one out, to be edited")


@recipes.command("copy", short_help="Write a recipe to a file.")
@click.argument("name")
@click.argument("path", required=False, type=click.Path(path_type=Path))
def copy(name: str, path: Path | None) -> None:
    """Write the recipe NAME to PATH, by default to NAME.toml here; a file that exists is left alone."""
    from robustfw import console

    recipe, target = named(name, registry.installed().modules()), path or Path(f"{name}.toml")
    try:
        with target.open("x", encoding="utf-8") as file:
            file.write(recipe.text)
    except FileExistsError:
        raise UsageError(f"{target} exists already: give another path") from None
    command = "reproduce" if recipe.is_experiment else "train"
    console.line(f"{target} is yours; to run it: robustfw {command} {target}")
