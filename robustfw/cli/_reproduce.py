"""`robustfw reproduce` and `robustfw recipes`: whole experiments."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from robustfw.cli._findings import write_findings
from robustfw.cli._recipes import read_recipe
from robustfw.cli._stopping import Stopped
from robustfw.cli.subject import command_line
from robustfw.errors import PluginError, RobustfwError, RunError, UsageError
from robustfw.plugin import registry

if TYPE_CHECKING:
    from robustfw.reproduction import Experiment, Judge

RECIPE = "recipe.toml"
"""The recipe, in the folder of an experiment."""
TYPED = "robustfw.reproduce.typed"
"""Where a context keeps the words that were typed."""


class RecipeCommand(click.Command):
    """A command whose flags are its own and, once a recipe is named, the budgets and modes of that recipe."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Look for the recipe first, as its flags must be known before the others are read."""
        ctx.meta[TYPED] = list(args)
        return super().parse_args(ctx, args)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The command's own parameters and the recipe's flags."""
        *parameters, help_flag = super().get_params(ctx)
        taken = set(help_flag.opts)
        for parameter in parameters:
            taken.update(parameter.opts)
        flags = [flag for flag in self._recipe_flags(ctx) if flag.opts[0] not in taken]
        return [*parameters, *flags, help_flag]

    def _recipe_flags(self, ctx: click.Context) -> list[click.Option]:
        experiment = _named_experiment(ctx.meta.get(TYPED, []))
        if experiment is None:
            return []
        flags = []
        for budget in experiment.budgets:
            help_ = f"As --budget {budget}."
            flags.append(
                click.Option([f"--{budget}", "budget"], flag_value=budget, help=help_)
            )
        for mode in experiment.modes:
            help_ = f"As --mode {mode}."
            flags.append(
                click.Option(
                    [f"--{mode}", "modes"], flag_value=mode, multiple=True, help=help_
                )
            )
        return flags


def _named_experiment(typed: list[str]) -> Experiment | None:
    """The first word of a command line that names a recipe, read; None where there is none that can be read."""
    from robustfw.reproduction import Experiment

    for word in typed:
        if word.startswith("-"):
            continue
        with contextlib.suppress(RobustfwError):
            _, text = read_recipe(word)
            return Experiment.read(text, word)
    return None


@click.command(
    cls=RecipeCommand, short_help="Run a whole experiment, and write its page."
)
@click.argument("recipe")
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="How often, each time anew.",
)
@click.option(
    "--budget",
    metavar="NAME",
    default="full",
    show_default=True,
    help="How long to train, by the recipe.",
)
@click.option(
    "--mode",
    "modes",
    metavar="NAME",
    multiple=True,
    help="A mode of the recipe; may be repeated. [the budget's]",
)
@click.option(
    "--model", metavar="SPEC", help="Another model than the recipe's, for all nets."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder. [reproductions/RECIPE-BUDGET, and the model's]",
)
@click.option(
    "--processes", type=click.IntRange(min=1), help="Commands at a time. [the recipe's]"
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    help="Where data files are. [ROBUSTFW_DATA]",
)
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
    """Run a whole experiment: train nets, measure them, and set the numbers beside those that were claimed.

    RECIPE is a name that robustfw recipes lists, or a file. Its budgets and modes are flags as well, such as --quick;
    robustfw reproduce RECIPE --help lists them. Every step is a command of robustfw that you could type; log.txt has
    them and what they printed, log-*.txt those that are under way. Stopped at any point, the same command goes on
    there; asked for more seeds, it adds them.
    """
    from robustfw import console
    from robustfw.cli import main
    from robustfw.reproduction import Experiment
    from robustfw.reproduction._plan import Plan
    from robustfw.reproduction._running import Runner

    # 1. the recipe, and who judges it
    name, text = read_recipe(recipe)
    experiment = Experiment.read(text, recipe)
    folder = out or Path("reproductions") / f"{name}-{budget}"
    if model is not None:
        spec = registry.installed().spell(
            registry.installed().make("model", model), brief=True
        )
        experiment = experiment.with_model(spec)
        text = f"# by --model {spec}\n{text}"
        folder = out or folder.with_name(f"{folder.name}-{spec.partition(':')[0]}")
    judge = _judge_of(experiment)

    # 2. the commands, and how many at a time
    processors = os.cpu_count() or 1
    at_a_time = processes or min(experiment.processes, processors)
    threads = max(1, processors // at_a_time)
    data = None if data_dir is None else str(data_dir.resolve())
    plan = Plan(
        experiment=experiment,
        modes=experiment.modes_of(budget, modes),
        budget=budget,
        seeds=seeds,
        data_dir=data,
    )
    jobs = plan.jobs()

    # 3. run what is not there yet, and write the page
    with contextlib.closing(_Folder(folder, text)):
        console.line(f"{experiment.title}: {len(jobs)} commands in {folder}")
        try:
            for _ in console.progress(
                Runner(
                    main=main, folder=folder, processes=at_a_time, threads=threads
                ).carry_out(jobs),
                f"all of it is in {folder}",
            ):
                pass
        except KeyboardInterrupt:
            raise Stopped(
                f"stopped, nothing is lost; to go on: {command_line()}"
            ) from None
        write_findings(plan, folder, judge)


def _judge_of(experiment: Experiment) -> Judge | None:
    """The judge of an experiment that makes claims.

    Raises:
        PluginError: a plugin's hook failed.
        UsageError: no plugin knows the claims.
    """
    if not experiment.claims:
        return None
    known = registry.installed()
    for plugin, judge_of in known.callers("robustfw_judge").items():
        try:
            judge: Judge | None = judge_of(experiment=experiment)
        except RobustfwError:
            raise
        except Exception as error:  # a stranger's hook may raise anything
            raise PluginError(
                f"the plugin {plugin} ({known.distribution(plugin)}) failed in robustfw_judge: "
                f"{type(error).__name__}: {error}"
            ) from error
        if judge is not None:
            return judge
    claims = experiment.claims.get("use")
    raise UsageError(
        f"no plugin judges the claims {claims!r} of this recipe: install it, or leave out [claims]"
    )


class _Folder:
    """The folder of an experiment, with its recipe, for one process at a time, until it is closed."""

    def __init__(self, path: Path, text: str) -> None:
        from robustfw.storage._locks import claim
        from robustfw.storage.files import advice, write_whole

        self.lock = claim(path, "reproduced", patience=0)
        kept, content = path / RECIPE, text.encode()
        try:
            if kept.exists() and kept.read_bytes() != content:
                raise RunError(
                    f"{path} was begun with another recipe: choose another --out"
                )
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
