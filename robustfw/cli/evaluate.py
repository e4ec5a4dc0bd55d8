"""`robustfw evaluate`, and what a training does with its best weights at the end."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from robustfw import options, registry
from robustfw.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from robustfw.attack import Attack
    from robustfw.evaluation import Evaluation, Verdicts
    from robustfw.runs import Run
    from robustfw.splits import Split, Splits
    from robustfw.uncertainty import UncertaintySet

ATTACK = "pgd:steps=40"
SPLITS = ("test", "validation", "train")


@click.command(short_help="Measure a trained net: clean and robust accuracy.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--uncertainty", metavar="SPEC", help="Spec of the uncertainty set. [that of the training]")
@click.option("--attack", "attacks", metavar="SPEC", multiple=True, help=f"Spec; may be repeated. [{ATTACK}]")
@click.option("--split", type=click.Choice(SPLITS), default="test", show_default=True)
@click.option("--examples", type=click.IntRange(min=1), help="Only the first so many. [all]")
@click.option("--batch-size", type=click.IntRange(min=1), default=500, show_default=True)
@click.option("--weights", type=click.Choice(["best", "last"]), default="best", show_default=True)
@click.option("--loss", type=click.Choice(["cross-entropy", "margin"]), default="cross-entropy", show_default=True)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda …")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the attacks' randomness.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where data files are. [ROBUSTFW_DATA]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, and nothing else.")
def evaluate(
    run: Path,
    uncertainty: str | None,
    attacks: tuple[str, ...],
    split: str,
    examples: int | None,
    batch_size: int,
    weights: str,
    loss: str,
    device: str,
    seed: int,
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """Measure a trained net: clean and robust accuracy, each example's worst case over all attacks given.

    RUN is the directory of a training. Intervals are Wilson's, 95 %.
    """
    from robustfw import console, hardware, losses, session
    from robustfw.evaluation import verdicts
    from robustfw.runs import Run

    known = registry.installed()
    opened = Run.open(run)
    recipe = session.named_parts(opened, "dataset", "model", *([] if uncertainty else ["uncertainty"]))
    sets = known.make("uncertainty", uncertainty or recipe["uncertainty"])
    made = [known.make("attack", spec) for spec in attacks or (ATTACK,)]
    on = session.usable_device(device)
    hardware.keep_freed_memory()
    with alone_on_stdout(as_json):
        splits = known.make("dataset", recipe["dataset"]).load(session.data_root(data_dir))
        _check_data(splits, opened)
        model = session.rebuild(opened, known, weights=weights).to(on)
        chosen = _first(splits, split, examples)
        parts = verdicts(
            model,
            chosen,
            uncertainty=sets,
            attacks=made,
            bounds=splits.spec.bounds,
            loss={"cross-entropy": losses.cross_entropy, "margin": losses.margin}[loss],
            batch_size=batch_size,
            seed=seed,
        )
        evaluation = joined(parts, chosen, split, splits.spec.classes, quiet=as_json)
    if as_json:
        facts = {"run": str(run), "split": split, "weights": weights, "seed": seed, "bounds": splits.spec.bounds}
        print_json(facts | described(known, sets, made, evaluation))
    else:
        console.evaluation(evaluation, known.spell(sets), [known.spell(a, brief=True) for a in made])


def _check_data(splits: Splits, run: Run) -> None:
    splits.check()
    if splits.fingerprint() != run.manifest()["data"]["hash"]:
        raise DataError(
            f"the data is not what {run.path} was trained on (another hash), so that test examples may be training "
            "examples: give the folder of its own data by --data-dir"
        )


def _first(splits: Splits, name: str, examples: int | None) -> Split:
    """The first examples of a split; all of them if none are asked for."""
    split: Split = getattr(splits, name)
    if not len(split):
        raise DataError(f"there are no {name} examples: choose another --split")
    if examples is not None and examples > len(split):
        raise UsageError(f"there are {len(split)} {name} examples: leave out --examples {examples} to take them all")
    return split.first(examples)


def joined(parts: Iterable[Verdicts], split: Split, name: str, classes: int, *, quiet: bool) -> Evaluation:
    """The evaluation of a split, with a bar while it goes on."""
    from robustfw import console
    from robustfw.evaluation import Evaluation, Verdicts

    return Evaluation.of(Verdicts.joined(console.batches(parts, len(split), name, quiet=quiet)), classes)


def described(
    known: registry.Registry, uncertainty: UncertaintySet, attacks: list[Attack], evaluation: Evaluation
) -> dict[str, Any]:
    """An evaluation as JSON, with the circumstances that make its numbers mean something."""
    import attrs

    radius = known.record(uncertainty).get("radius")
    return {
        "uncertainty": known.spell(uncertainty),
        "attacks": [known.spell(attack) for attack in attacks],
        "radius": options.number(radius),
    } | attrs.asdict(evaluation)


def alone_on_stdout(as_json: bool) -> contextlib.AbstractContextManager[object]:
    """Where one JSON object is promised, whatever else is printed meanwhile (by a plugin, say) goes to stderr."""
    return contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext()


def print_json(result: dict[str, Any]) -> None:
    """One object on one line, valid JSON in any encoding."""
    from robustfw.runs import plain

    click.echo(json.dumps(plain(result), allow_nan=False))
