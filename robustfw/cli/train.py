"""`robustfw train`."""

from __future__ import annotations

import contextlib
import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from robustfw import options, registry
from robustfw.errors import UsageError
from robustfw.recipe import DEFAULTS, Recipe, TrainOptions

if TYPE_CHECKING:
    from robustfw.evaluation import Evaluation
    from robustfw.session import Session

KINDS = ("dataset", "model", "uncertainty", "attack", "objective")
TESTED = 2000
"""Test examples attacked at the end of a training; `robustfw evaluate` takes all."""


def _part_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--dataset, --model, …: a spec each."""
    for kind in reversed(KINDS):
        text = f"Spec of the {kind}. [{DEFAULTS[kind]}]"
        command = click.option(f"--{kind}", metavar="SPEC", help=text)(command)
    return command


def _train_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """A flag for each of the engine's own options."""
    known = registry.installed()
    for help_ in reversed(options.describe(TrainOptions, known.record)):
        default = options.spell(DEFAULTS["train"].get(help_.name, help_.default))
        text = f"{help_.meaning[:1].upper()}{help_.meaning[1:]} ({help_.type}). [{default}]"
        flag = "--" + help_.name.replace("_", "-")
        command = click.option(flag, help_.name, metavar="VALUE", help=text)(command)
    return command


@click.command()
@click.argument("recipe", required=False, type=click.Path(path_type=Path))
@_part_options
@click.option("--out", type=click.Path(path_type=Path), help="Run directory. [a new one in runs/]")
@click.option("--resume", is_flag=True, help="Go on with the run in --out; start it if there is none yet.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where data files are. [ROBUSTFW_DATA]")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, and nothing else.")
@_train_options
def train(
    recipe: Path | None, out: Path | None, resume: bool, data_dir: Path | None, as_json: bool, **flags: str | None
) -> None:
    """Train a net, robustly; without any option, on scikit-learn's digits in seconds.

    RECIPE is a TOML file with the keys dataset, model, uncertainty, attack, objective (specs, or tables with
    use = "name") and a table [train]; flags win over it. A resumed run needs neither: it keeps its own.
    """
    from robustfw import console, hardware, parallel, session

    known = registry.installed()
    given = _given(recipe, flags)
    if resume and out is None:
        raise UsageError("--resume needs --out RUN, the directory of the run to go on with")
    if resume and out is not None and (out / "manifest.json").exists():
        given = _merged(_recorded(out), given)
    parsed = Recipe.read(given, known)
    hardware.keep_freed_memory()
    out = out or _new_run(known, parsed)
    started = session.begin(parsed, known, data_dir=data_dir, out=out, resume=resume)
    quiet = as_json or parallel.rank() > 0
    with stop_requests(quiet) as stopped, contextlib.closing(started.records()) as records:
        for _ in console.training(records, parsed.train.epochs, str(out), quiet=quiet):
            if stopped():
                records.close()  # saves the state
                raise click.ClickException(f"stopped; to go on: robustfw train --resume --out {out}")
    if started.run is not None:
        _finish(started, as_json)


def _given(recipe: Path | None, flags: dict[str, str | None]) -> dict[str, Any]:
    """The recipe file's parts, with the flags over them."""
    parts = {} if recipe is None else _read_toml(recipe)
    set_flags = {name: value for name, value in flags.items() if value is not None}
    train = {name: options.value_of(value) for name, value in set_flags.items() if name not in KINDS}
    return _merged(parts, {k: v for k, v in set_flags.items() if k in KINDS} | {"train": train})


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    return below | above | {"train": (below.get("train") or {}) | (above.get("train") or {})}


def _read_toml(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise UsageError(f"cannot read the recipe {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"the recipe {path} is not TOML: {error}") from error


def _recorded(out: Path) -> dict[str, Any]:
    """The recipe in a run's manifest."""
    from robustfw.runs import Run

    recipe: dict[str, Any] = Run.open(out).manifest()["recipe"]
    return recipe


def _new_run(known: registry.Registry, recipe: Recipe) -> Path:
    from robustfw.runs import unused_path

    parts = (recipe.dataset, recipe.model, recipe.uncertainty)
    return unused_path(Path("runs"), "-".join(known.name_of(part) for part in parts))


@contextlib.contextmanager
def stop_requests(quiet: bool) -> Iterator[Callable[[], bool]]:
    """Ctrl-C and SIGTERM ask to stop after the step under way; a second Ctrl-C stops at once."""
    asked = False

    def ask(signum: int, _: object) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        if not quiet:
            click.echo("stopping after this step …", err=True)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _finish(started: Session, as_json: bool) -> None:
    """Evaluate the best weights on test examples, which training never saw, and say where everything is."""
    from robustfw import console, session
    from robustfw.evaluation import Evaluation, Verdicts, verdicts

    recipe, splits, run, known = started.recipe, started.splits, started.run, started.registry
    assert run is not None
    split = splits.test.first(TESTED)
    attack = recipe.train.validation_attack or recipe.attack
    model = session.rebuild(run, known, started.state.model)
    parts = verdicts(
        model, split, uncertainty=recipe.uncertainty, attacks=[attack], bounds=splits.spec.bounds, batch_size=500
    )
    shown = console.batches(parts, len(split), "test", quiet=as_json)
    evaluation = Evaluation.of(Verdicts.joined(shown), splits.spec.classes)
    result = described(known, recipe.uncertainty, [attack], evaluation) | {"split": "test"}
    run.write_manifest(run.manifest() | {"result": result})
    if as_json:
        click.echo(json.dumps({"run": str(run.path)} | result, ensure_ascii=False))
    else:
        console.evaluation(evaluation, known.spell(recipe.uncertainty), [known.spell(attack)])
        console.line(f"run: {run.path}")
        stronger = "restarts:n=10,attack=(pgd:steps=100)"
        console.line(f"a stronger attack on all test examples: robustfw evaluate {run.path} --attack '{stronger}'")


def described(known: registry.Registry, uncertainty: Any, attacks: list[Any], evaluation: Evaluation) -> dict[str, Any]:
    """An evaluation as JSON, with the circumstances that make its numbers mean something."""
    import attrs

    radius = known.record(uncertainty).get("radius")
    return {
        "uncertainty": known.spell(uncertainty),
        "attacks": [known.spell(attack) for attack in attacks],
        "radius": options.number(radius),
    } | attrs.asdict(evaluation)
