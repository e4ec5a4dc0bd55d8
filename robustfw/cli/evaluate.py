"""`robustfw evaluate`, and what a training does with its best weights at the end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from robustfw.cli.subject import ATTACK, Choices, Subject, alone_on_stdout, loss_option, print_json
from robustfw.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from robustfw.dataspec import DataSpec
    from robustfw.evaluation import Evaluation, Verdicts
    from robustfw.splits import Split


@click.command(short_help="Measure a trained net: clean and robust accuracy.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--uncertainty", metavar="SPEC", help="Spec of the uncertainty set. [that of the training]")
@click.option("--attack", "attacks", metavar="SPEC", multiple=True, help=f"Spec; may be repeated. [{ATTACK}]")
@loss_option
@click.option("--on", "collection", type=click.Path(path_type=Path), help="A collection of adversarial examples.")
@Choices.flags
def evaluate(
    run: Path,
    uncertainty: str | None,
    attacks: tuple[str, ...],
    loss: str | None,
    collection: Path | None,
    **choices: Any,
) -> None:
    """Measure a trained net: clean and robust accuracy, each example's worst case over all attacks given.

    RUN is the directory of a training. Intervals are Wilson's, 95 %. The result is also kept in RUN/results.

    With --on, the net is not attacked: it is shown the adversarial examples that robustfw craft made against another
    one, once it is made sure that each lies in its set, in the data range, and is what was written.
    """
    chosen = Choices(**choices)
    if collection is not None and (uncertainty or attacks or loss):
        raise UsageError("a collection has its own sets and attack: leave out --uncertainty, --attack, --loss, or --on")
    with alone_on_stdout(chosen.as_json):
        subject = Subject.open(run, chosen)
        result = _attacked(subject, uncertainty, attacks, loss) if collection is None else _shown(subject, collection)
    if chosen.as_json:
        print_json(result)


def _attacked(subject: Subject, uncertainty: str | None, specs: tuple[str, ...], loss: str | None) -> dict[str, Any]:
    from robustfw import console
    from robustfw.evaluation import described, verdicts

    known, choices = subject.known, subject.choices
    threat, attacks = subject.threat(uncertainty), [subject.attack(spec) for spec in specs or (ATTACK,)]
    raised = subject.loss(loss)
    parts = verdicts(
        subject.model,
        subject.split,
        threat=threat,
        attacks=attacks,
        classes=subject.spec.classes,
        task=subject.task,
        loss=raised,
        batch_size=choices.batch_size,
        seed=choices.seed,
    )
    evaluation = joined(parts, subject.split, choices.split, subject.spec, quiet=choices.as_json)
    if not choices.as_json:
        spelled = [known.spell(attack, brief=True) for attack in attacks]
        console.evaluation(evaluation, known.spell(threat.uncertainty), spelled)
    circumstances = subject.circumstances() | subject.measured_with(threat, attacks, raised)
    return subject.keep("evaluation", circumstances, described(evaluation))


def _shown(subject: Subject, path: Path) -> dict[str, Any]:
    from robustfw import console
    from robustfw.collection import Collection
    from robustfw.evaluation.transfer import Transfer, verify

    collection = Collection.open(path)
    threats = collection.threats(subject.known, subject.splits)
    verify(collection.examples, getattr(subject.splits, collection.split), threats, subject.task)
    specs = [subject.known.spell(each.uncertainty) for each in threats]
    transfer = Transfer.of(subject.model, collection.examples, specs, collection.bounds, subject.task)
    if not subject.choices.as_json:
        console.transfer(transfer, str(path), str(collection.manifest["source"]["run"]))
    facts = {"collection": str(path), "source": collection.manifest["source"]["run"]}
    circumstances = {"run": subject.name, "weights": subject.choices.weights} | facts
    circumstances["collection_sha256"] = collection.manifest["sha256"]
    return subject.keep("transfer", circumstances, attrs.asdict(transfer))


def joined(parts: Iterable[Verdicts], split: Split, name: str, spec: DataSpec, *, quiet: bool) -> Evaluation:
    """The evaluation of a split, with a bar while it goes on."""
    from robustfw import console
    from robustfw.evaluation import Evaluation, Verdicts

    whole = Verdicts.joined(console.batches(parts, len(split), name, quiet=quiet))
    return Evaluation.of(whole, spec.classes, spec.task)
