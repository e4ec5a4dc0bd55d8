"""`robustfw compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from robustfw.cli._choices import Choices, loss_option
from robustfw.cli._stdout import alone_on_stdout, print_json
from robustfw.cli.subject import JUDGE, Subject
from robustfw.errors import UsageError

if TYPE_CHECKING:
    from robustfw.attack import Attack
    from robustfw.evaluation import Verdicts
    from robustfw.inner.threat import Threat
    from robustfw.loss import Loss


@click.command(short_help="Compare two nets on the same examples.")
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", required=False, type=click.Path(path_type=Path))
@click.option(
    "--uncertainty",
    metavar="SPEC",
    help="Spec of the uncertainty set. [that of the first training]",
)
@click.option(
    "--attack",
    "attacks",
    metavar="SPEC",
    multiple=True,
    help=f"Spec; may be repeated. [{JUDGE}]",
)
@loss_option
@Choices.flags
def compare(
    first: Path,
    second: Path | None,
    uncertainty: str | None,
    attacks: tuple[str, ...],
    loss: str | None,
    **choices: Any,
) -> None:
    """Compare the nets of two runs, FIRST and SECOND, on the same examples, by McNemar's exact test.

    With --model, a net of your own takes the place of SECOND; its data are those of FIRST unless --dataset says so.

    What counts is the examples that one net has right and the other has not, on clean examples and at each
    example's worst case. The interval of the difference is of 95 %.
    """
    from robustfw.evaluation import Comparison

    chosen = Choices(**choices)
    with alone_on_stdout(chosen.as_json):
        subject, other = _open_both(first, second, chosen)
        threat = subject.threat(uncertainty)
        attacks_made = [subject.attack(spec) for spec in attacks or (JUDGE,)]
        loss_raised = subject.loss(loss)
        ours = _verdicts(subject, threat=threat, attacks=attacks_made, loss=loss_raised)
        theirs = _verdicts(other, threat=threat, attacks=attacks_made, loss=loss_raised)
        clean = Comparison.from_masks(ours.clean, theirs.clean)
        robust = Comparison.from_masks(ours.robust, theirs.robust)
        circumstances = subject.circumstances(runs=[subject.name, other.name])
        circumstances |= subject.measurement_facts(threat, attacks_made, loss_raised)
        measured = {
            "n": len(ours.y),
            "clean": attrs.asdict(clean),
            "robust": attrs.asdict(robust),
        }
        result = subject.show_and_keep("comparison", circumstances, measured)
    if chosen.as_json:
        print_json(result)


def _open_both(
    first: Path, second: Path | None, choices: Choices
) -> tuple[Subject, Subject]:
    """The nets of both runs, or of the first one and the net that the flags name."""
    if second is not None:
        subject = Subject.open(first, choices)
        return subject, Subject.open(second, choices, beside=subject)
    if choices.model is None:
        raise UsageError(
            "compare takes two nets: name another RUN, or a net of your own by --model"
        )
    subject = Subject.open(first, choices.adopted())
    if choices.dataset is None:
        dataset = subject.known.spell(
            subject.known.make("dataset", subject.recipe["dataset"])
        )
        choices = attrs.evolve(choices, dataset=dataset)
    return subject, Subject.open(None, choices, beside=subject)


def _verdicts(
    subject: Subject, threat: Threat, attacks: list[Attack], loss: Loss
) -> Verdicts:
    """The verdicts on one of the nets, on the examples that both share."""
    from robustfw import console
    from robustfw.evaluation import Evaluation, Verdicts

    choices = subject.choices
    batches = subject.verdicts(threat, attacks, loss)
    batches = console.batches(
        batches, len(subject.split), choices.split, quiet=choices.as_json
    )
    all_verdicts = Verdicts.concatenate(batches)
    for doubt in Evaluation.from_verdicts(
        all_verdicts, classes=subject.spec.classes, task=subject.task
    ).doubts:
        console.problem(f"{subject.name}: {doubt}")
    return all_verdicts
