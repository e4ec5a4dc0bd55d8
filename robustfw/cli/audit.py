"""`robustfw audit`: does the robust accuracy of a net deserve belief?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from robustfw import options as settings
from robustfw import registry
from robustfw.cli.evaluate import ATTACK, SPLITS, _check_data, _first, alone_on_stdout, print_json

if TYPE_CHECKING:
    from robustfw.attack import Attack
    from robustfw.evaluation.audit import Attacks

EXAMPLES = 200
ONE_STEP, NOISE, RESTARTS = "single-step", "random:samples=100", 5


@click.command(short_help="Look for masked gradients, which overstate robust accuracy.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--uncertainty", metavar="SPEC", help="Spec of the uncertainty set. [that of the training]")
@click.option("--attack", metavar="SPEC", default=ATTACK, show_default=True, help="Spec of the attack in question.")
@click.option("--split", type=click.Choice(SPLITS), default="test", show_default=True)
@click.option("--examples", type=click.IntRange(min=1), help=f"Only the first so many. [{EXAMPLES}, or all if fewer]")
@click.option("--batch-size", type=click.IntRange(min=1), default=500, show_default=True)
@click.option("--weights", type=click.Choice(["best", "last"]), default="best", show_default=True)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda …")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the attacks' randomness.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where data files are. [ROBUSTFW_DATA]")
@click.option("--strict", is_flag=True, help="Exit with status 1 if a line failed.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, and nothing else.")
def audit(
    run: Path,
    uncertainty: str | None,
    attack: str,
    split: str,
    examples: int | None,
    batch_size: int,
    weights: str,
    device: str,
    seed: int,
    data_dir: Path | None,
    strict: bool,
    as_json: bool,
) -> None:
    """Look for masked gradients, which blind the attack, so that robust accuracy is overstated.

    RUN is the directory of a training. Ten signs are looked for (Athalye et al. 2018, Carlini et al. 2019); for each
    the verdict, the counts behind it, and what to do if it failed. That none is found is no certificate.
    """
    from robustfw import console, hardware, session
    from robustfw.evaluation import audit as audits
    from robustfw.runs import Run

    known = registry.installed()
    opened = Run.open(run)
    recipe = session.named_parts(opened, "dataset", "model", *([] if uncertainty else ["uncertainty"]))
    sets = known.make("uncertainty", uncertainty or recipe["uncertainty"])
    attacks = attacks_of(known, attack)
    on = session.usable_device(device)
    hardware.keep_freed_memory()
    with alone_on_stdout(as_json):
        splits = known.make("dataset", recipe["dataset"]).load(session.data_root(data_dir))
        _check_data(splits, opened)
        model = session.rebuild(opened, known, weights=weights).to(on)
        chosen = _first(splits, split, examples).first(examples or EXAMPLES)
        bounds = splits.spec.bounds
        lines = audits.lines(
            model, chosen, uncertainty=sets, attacks=attacks, bounds=bounds, batch_size=batch_size, seed=seed
        )
        text = f"looking for signs of masking in {run}"
        result = audits.Audit.of(len(chosen), console.counted(lines, len(audits.CHECKS), text, quiet=as_json))
    spelt = {"uncertainty": known.spell(sets), "attack": known.spell(attacks.many)}
    if as_json:
        facts = {"split": split, "weights": weights, "seed": seed, "bounds": bounds}
        print_json({"kind": "audit", "run": str(run)} | spelt | facts | result.described())
    else:
        console.audit(result, spelt["uncertainty"], known.spell(attacks.many, brief=True), split)
    if strict and result.failed:
        raise click.exceptions.Exit(1)


def attacks_of(known: registry.Registry, spec: str) -> Attacks:
    """The attack in question and its rivals, as far as its options allow to make them of it."""
    from robustfw.evaluation.audit import Attacks

    many = known.make("attack", spec)
    options = {field.name: getattr(many, field.name) for field in settings.fields(type(many))}
    return Attacks(
        many=many,
        one=known.make("attack", ONE_STEP),
        double=_with(many, steps=2 * options["steps"]) if isinstance(options.get("steps"), int) else None,
        restarts=_restarted(known, _with(many, random_start=True)) if "random_start" in options else None,
        noise=known.make("attack", NOISE),
    )


def _with(attack: Any, **options: Any) -> Attack:
    return attrs.evolve(attack, **options)


def _restarted(known: registry.Registry, attack: Attack) -> Attack:
    return known.make("attack", {"use": "restarts", "n": RESTARTS, "attack": attack})
