"""`robustfw train`: train a net, and evaluate its best weights."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from robustfw.cli import _stopping as stopping
from robustfw.cli._ending import measure_end
from robustfw.cli._foreign import NamedNet
from robustfw.cli._recipe_parts import (
    KINDS,
    collect_parts,
    merge_parts,
    read_recorded_recipe,
)
from robustfw.cli._start import read_start
from robustfw.cli._stdout import alone_on_stdout, print_json
from robustfw.errors import RunError, UsageError
from robustfw.plugin import options, registry
from robustfw.training.recipe import DEFAULTS, Recipe, TrainOptions

if TYPE_CHECKING:
    from robustfw.storage._locks import NewDirectory
    from robustfw.storage.runs import Run
    from robustfw.training._session import Session


def _part_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--dataset, --model, …: a spec each, and --objective as often as there are parts of a sum."""
    for kind in reversed(KINDS):
        several = kind == "objective"
        more = "; again for a penalty to add" if several else ""
        text = f"Spec of the {kind}{more}. [{DEFAULTS[kind]}]"
        callback = _one_or_list if several else None
        command = click.option(
            f"--{kind}", metavar="SPEC", help=text, multiple=several, callback=callback
        )(command)
    return command


def _one_or_list(
    _: click.Context, __: click.Parameter, specs: tuple[str, ...]
) -> str | list[str] | None:
    """What a recipe would hold: a spec where there is one, a list where there are several."""
    if not specs:
        return None
    if len(specs) == 1:
        return specs[0]
    return list(specs)


@functools.cache
def _train_flags() -> list[click.Option]:
    """A flag for each of the engine's own options."""
    known = registry.installed()
    flags = []
    spell = functools.partial(known.spell, brief=True)
    for help_ in options.describe(TrainOptions, spell):
        default = options.spell(DEFAULTS["train"].get(help_.name, help_.default))
        words = help_.meaning
        if not words.startswith(default):
            words = words[:1].upper() + words[1:]
        if help_.type.startswith("the spec of"):
            metavar = "SPEC"
            text = f"{words}. [{default}]"
        else:
            metavar = "VALUE"
            text = f"{words} ({help_.type}). [{default}]"
        flag = "--" + help_.name.replace("_", "-")
        flags.append(click.Option([flag, help_.name], metavar=metavar, help=text))
    return flags


class _Train(click.Command):
    """Flags of the engine are made when they are asked for: their defaults are plugins, which may fail to load."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        # what click adds, --help, stays last
        added_by_click = super().get_params(ctx)[len(self.params) :]
        return [*self.params, *_train_flags(), *added_by_click]


@click.command(cls=_Train, short_help="Train a net, robustly.")
@click.argument("recipe", required=False, type=click.Path(path_type=Path))
@_part_options
@click.option(
    "--from",
    "start",
    metavar="RUN",
    type=click.Path(path_type=Path),
    help="Begin with the net of this run, and train it further.",
)
@click.option(
    "--weights",
    metavar="NAME|FILE",
    help="best or last of --from; or a file of weights for --model, which is then trained further.",
)
@click.option(
    "--freeze",
    metavar="LAYERS",
    help="Layers of it that keep their weights: names or patterns with commas; body: all but the last.",
)
@click.option(
    "--head",
    type=click.Choice(["auto", "keep", "new"]),
    help="Its last layer: keep, new, or new where the classes are others. [auto]",
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="Run directory. [a new one in runs/]"
)
@click.option(
    "--resume",
    is_flag=True,
    help="Go on with the run in --out; start it if there is none yet.",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    help="Where data files are. [ROBUSTFW_DATA]",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object, and nothing else."
)
def train(
    recipe: Path | None,
    start: Path | None,
    weights: str | None,
    freeze: str | None,
    head: str | None,
    out: Path | None,
    resume: bool,
    data_dir: Path | None,
    as_json: bool,
    **flags: Any,
) -> None:
    """Train a net, robustly; without any option, on scikit-learn's digits in seconds.

    RECIPE is a TOML file with the keys dataset, model, uncertainty, attack, objective (specs, or tables with
    use = "name"; objective may be a list of them, a loss and penalties) and a table [train]; flags win over it. A
    resumed run needs neither: it keeps its own.

    With --from, or with --model and --weights, a net that is trained already is trained further: at a tenth of the
    learning rate, for 5 epochs, unless told otherwise. What that cost and bought is measured against the start.

    Ctrl-C (or SIGTERM, or a closed terminal) saves the state after the step under way and ends with exit status 130
    (143, 129); a second one stops at once. A run that was killed loses a minute at most: --resume goes on from the last
    checkpoint. With more --epochs than it had, a run goes on beyond its end: the schedule is then that of the longer
    training, from the update on that was reached.
    """
    from robustfw.training import hardware
    from robustfw.training._session import begin

    known = registry.installed()
    parts = collect_parts(recipe, flags)
    if resume and out is None:
        raise UsageError(
            "--resume needs --out RUN, the directory of the run to go on with"
        )
    if resume and out is not None:
        if (out / "manifest.json").exists():
            parts = merge_parts(read_recorded_recipe(out), parts)
        elif recipe is None and parts == {"train": {}}:
            raise RunError(
                f"there is no run in {out} to go on with: check the name, or leave out --resume to start one there"
            )
    beginning = read_start(start, weights=weights, freeze=freeze, head=head)
    if beginning is not None and not (
        resume and out and (out / "manifest.json").exists()
    ):
        named = NamedNet(
            model=parts.get("model"),
            dataset=parts.get("dataset"),
            weights=weights,
            device=str(parts["train"].get("device", "auto")),
            threads=parts["train"].get("threads"),
            data_dir=data_dir,
            quiet=as_json,
        )
        parts = beginning.apply(parts, named)
    parsed = Recipe.read(parts, known)
    hardware.keep_freed_memory()
    with alone_on_stdout(as_json):
        session = begin(
            parsed,
            known,
            data_dir=data_dir,
            out=out or _new_run(known, parsed),
            resume=resume,
        )
        result = _train_and_evaluate(session, quiet=as_json)
    if as_json and result is not None:
        print_json(result)


def _new_run(known: registry.Registry, recipe: Recipe) -> NewDirectory:
    """A directory in runs/ named by data set, model and set, with a number where there is one already."""
    from robustfw.storage._locks import NewDirectory

    names = []
    for part in (recipe.dataset, recipe.model, recipe.uncertainty):
        names.append(known.name_of(part))
    return NewDirectory(Path("runs"), "-".join(names))


def _train_and_evaluate(session: Session, *, quiet: bool) -> dict[str, Any] | None:
    """Train and evaluate; the result, for the first of several processes."""
    if session.run is None:
        _follow(session)
        return None
    go_on = f"to go on: {session.run.resume_command()}"
    try:
        _train(session, session.run, go_on, quiet=quiet)
        return measure_end(session, session.run, quiet=quiet)
    except KeyboardInterrupt:
        raise stopping.Stopped(f"stopped at once; {go_on}") from None
    finally:
        session.run.release()


def _follow(session: Session) -> None:
    """Train in a process other than the first: that one alone decides when to stop, and then is gone."""
    with stopping.requests(quiet=True) as asked:
        try:
            for _ in session.records():
                pass
        except Exception as error:  # once the first process is gone, an exchange with it fails in many ways
            if asked():
                raise stopping.Stopped("", asked()) from error
            raise


def _train(session: Session, run: Run, go_on: str, *, quiet: bool) -> None:
    """Train to the end, with a bar; a `Stopped` where a signal asks to stop."""
    from robustfw import console

    epochs = session.recipe.train.epochs
    if session.note and not quiet:
        console.line(session.note)
    if session.state.epoch == epochs:
        if not quiet:
            console.line(f"the training in {run.path} is finished")
        return
    # closing saves the state, also where a stop is asked for in the middle of an epoch
    with (
        stopping.requests(quiet=quiet) as asked,
        contextlib.closing(session.records()) as records,
    ):
        for _ in console.training(records, epochs, str(run.path), quiet=quiet):
            if asked():
                raise stopping.Stopped(f"stopped, all is saved; {go_on}", asked())
