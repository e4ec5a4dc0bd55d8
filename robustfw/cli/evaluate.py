"""`robustfw evaluate`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from robustfw import registry
from robustfw.cli.train import described
from robustfw.errors import DataError

ATTACK = "pgd:steps=40"


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--uncertainty", metavar="SPEC", help="Spec of the uncertainty set. [that of the training]")
@click.option("--attack", "attacks", metavar="SPEC", multiple=True, help=f"Spec; may be repeated. [{ATTACK}]")
@click.option("--split", type=click.Choice(["test", "validation", "train"]), default="test", show_default=True)
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
    from robustfw import console, hardware, losses, parallel, session
    from robustfw.evaluation import Evaluation, Verdicts, verdicts
    from robustfw.runs import Run

    known = registry.installed()
    opened = Run.open(run)
    manifest = opened.manifest()
    sets = known.make("uncertainty", uncertainty or manifest["recipe"]["uncertainty"])
    made = [known.make("attack", spec) for spec in attacks or (ATTACK,)]
    hardware.keep_freed_memory()
    splits = known.make("dataset", manifest["recipe"]["dataset"]).load(session.data_root(data_dir))
    splits.check()
    if splits.fingerprint() != manifest["data"]["hash"]:
        raise DataError(
            f"the data is not what {run} was trained on (another hash): validation may overlap with training"
        )
    model = session.rebuild(opened, known, weights=weights).to(parallel.device(device))
    chosen = getattr(splits, split).first(examples)
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
    shown = console.batches(parts, len(chosen), split, quiet=as_json)
    evaluation = Evaluation.of(Verdicts.joined(shown), splits.spec.classes)
    if as_json:
        facts = {"run": str(run), "split": split, "weights": weights, "seed": seed, "bounds": splits.spec.bounds}
        click.echo(json.dumps(facts | described(known, sets, made, evaluation), ensure_ascii=False))
    else:
        console.evaluation(evaluation, known.spell(sets), [known.spell(attack) for attack in made])
