"""`robustfw evaluate`, and what a training does with its best weights at the end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from robustfw import registry
from robustfw.cli.subject import ATTACK, Choices, Subject, alone_on_stdout, print_json, radius_of
from robustfw.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from robustfw.attack import Attack
    from robustfw.evaluation import Evaluation, Verdicts
    from robustfw.splits import Split
    from robustfw.uncertainty import UncertaintySet

LOSSES = ("cross-entropy", "margin")


@click.command(short_help="Measure a trained net: clean and robust accuracy.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--uncertainty", metavar="SPEC", help="Spec of the uncertainty set. [that of the training]")
@click.option("--attack", "attacks", metavar="SPEC", multiple=True, help=f"Spec; may be repeated. [{ATTACK}]")
@click.option("--loss", type=click.Choice(LOSSES), default="cross-entropy", show_default=True, help="To be raised.")
@click.option("--on", "collection", type=click.Path(path_type=Path), help="A collection of adversarial examples.")
@Choices.flags
def evaluate(
    run: Path,
    uncertainty: str | None,
    attacks: tuple[str, ...],
    loss: str,
    collection: Path | None,
    **choices: Any,
) -> None:
    """Measure a trained net: clean and robust accuracy, each example's worst case over all attacks given.

    RUN is the directory of a training. Intervals are Wilson's, 95 %. The result is also kept in RUN/results.

    With --on, the net is not attacked: it is shown the adversarial examples that robustfw craft made against another
    one, once it is made sure that each lies in its set, in the data range, and is what was written.
    """
    chosen = Choices(**choices)
    if collection is not None and (uncertainty or attacks):
        raise UsageError("a collection has its own sets and attack: leave out --uncertainty and --attack, or --on")
    with alone_on_stdout(chosen.as_json):
        subject = Subject.open(run, chosen)
        result = _attacked(subject, uncertainty, attacks, loss) if collection is None else _shown(subject, collection)
    if chosen.as_json:
        print_json(result)


def _attacked(subject: Subject, uncertainty: str | None, specs: tuple[str, ...], loss: str) -> dict[str, Any]:
    from robustfw import console, losses
    from robustfw.evaluation import verdicts

    known, choices = subject.known, subject.choices
    sets, attacks = subject.uncertainty(uncertainty), [subject.attack(spec) for spec in specs or (ATTACK,)]
    parts = verdicts(
        subject.model,
        subject.split,
        uncertainty=sets,
        attacks=attacks,
        bounds=subject.splits.spec.bounds,
        loss={"cross-entropy": losses.cross_entropy, "margin": losses.margin}[loss],
        batch_size=choices.batch_size,
        seed=choices.seed,
    )
    classes = subject.splits.spec.classes
    evaluation = joined(parts, subject.split, choices.split, classes, quiet=choices.as_json)
    if not choices.as_json:
        console.evaluation(evaluation, known.spell(sets), [known.spell(attack, brief=True) for attack in attacks])
    circumstances = subject.circumstances(loss=loss) | attacked_by(known, sets, attacks)
    return subject.keep("evaluation", circumstances, attrs.asdict(evaluation))


def _shown(subject: Subject, path: Path) -> dict[str, Any]:
    from robustfw import console
    from robustfw.collection import Collection
    from robustfw.evaluation.transfer import Transfer, verify

    collection = Collection.open(path)
    uncertainties = collection.uncertainties(subject.known, subject.splits.train)
    verify(collection.examples, collection.originals(subject.splits), uncertainties, collection.bounds)
    specs = [subject.known.spell(each) for each in uncertainties]
    transfer = Transfer.of(subject.model, collection.examples, specs, collection.bounds)
    if not subject.choices.as_json:
        console.transfer(transfer, str(path), collection.source)
    facts = {"collection": str(path), "source": collection.source}
    circumstances = {"run": str(subject.run.path), "weights": subject.choices.weights} | facts
    circumstances["collection_sha256"] = collection.manifest["sha256"]
    return subject.keep("transfer", circumstances, attrs.asdict(transfer))


def joined(parts: Iterable[Verdicts], split: Split, name: str, classes: int, *, quiet: bool) -> Evaluation:
    """The evaluation of a split, with a bar while it goes on."""
    from robustfw import console
    from robustfw.evaluation import Evaluation, Verdicts

    return Evaluation.of(Verdicts.joined(console.batches(parts, len(split), name, quiet=quiet)), classes)


def attacked_by(known: registry.Registry, uncertainty: UncertaintySet, attacks: list[Attack]) -> dict[str, Any]:
    """The set and the attacks, in full."""
    return {
        "uncertainty": known.spell(uncertainty),
        "attacks": [known.spell(attack) for attack in attacks],
        "radius": radius_of(known, uncertainty),
    }
