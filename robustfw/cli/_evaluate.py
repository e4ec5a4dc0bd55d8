"""`robustfw evaluate`, and what a training does with its best weights at the end."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from robustfw.cli import _stopping as stopping
from robustfw.cli._choices import Choices, loss_option
from robustfw.cli._duration import read_duration
from robustfw.cli._escalation import (
    describe_escalation,
    find_masking,
    further_attacks,
)
from robustfw.cli._known_cases import known_cases
from robustfw.cli._outcomes import check_outcomes, write_outcomes
from robustfw.cli._shown_collection import show_collection
from robustfw.cli._stdout import alone_on_stdout, print_json
from robustfw.cli._summary import (
    interruption_message,
    summarize,
    summarize_verdicts,
)
from robustfw.cli.subject import JUDGE, Subject
from robustfw.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from robustfw.evaluation import Evaluation, Verdicts
    from robustfw.storage._partial import Partial

RESERVE = 0.05
"""Share of the time of --within that is left for the start of the program and for what is written at the end."""


@click.command(short_help="Measure a trained net: clean and robust accuracy.")
@click.argument("run", required=False, type=click.Path(path_type=Path))
@click.option(
    "--uncertainty",
    metavar="SPEC",
    help="Spec of the uncertainty set. [that of the training]",
)
@click.option(
    "--attack",
    "attacks",
    metavar="SPEC",
    multiple=True,
    help=f"Spec; may be repeated. [{JUDGE}]",
)
@loss_option
@click.option(
    "--on",
    "collection",
    type=click.Path(path_type=Path),
    help="A collection of adversarial examples.",
)
@click.option(
    "--outcomes",
    type=click.Path(path_type=Path),
    help="A file for each example's outcome: .csv or .safetensors.",
)
@click.option(
    "--within",
    metavar="TIME",
    callback=read_duration,
    help="As many random examples as fit into this time from the start: 60s, 2m …",
)
@click.option(
    "--escalate/--no-escalate",
    default=False,
    help="Look for masked gradients and randomness first, and attack through them.  [default: no-escalate]",
)
@click.option(
    "--known/--no-known",
    "known",
    default=False,
    help="Begin with the worst cases that earlier evaluations with this flag have found.  [default: no-known]",
)
@Choices.flags
def evaluate(
    run: Path | None,
    uncertainty: str | None,
    attacks: tuple[str, ...],
    loss: str | None,
    collection: Path | None,
    outcomes: Path | None,
    within: float | None,
    escalate: bool,
    known: bool,
    **choices: Any,
) -> None:
    """Measure a net: clean and robust accuracy, each example's worst case over all attacks given.

    RUN is the directory of a training; --model, --weights and --dataset name a net of your own in its place. Intervals
    are Wilson's, 95 %. The result is also kept in RUN/results. What Ctrl-C interrupts is kept there as well: the same
    command goes on with it.

    With --escalate, evidence is looked for that gradient attacks are blind: rounding, thresholds and other steps
    without a gradient, saturated outputs, randomness. Attacks then go through these (BPDA, the mean over draws), and
    the result names what was found.

    With --known, what has fooled the net before within the same set is kept, and tried first: the number can only fall.

    With --within, a first interval comes after the given time: of as many examples, drawn at random, as fit into it.

    With --on, the net is not attacked: it is shown the adversarial examples that robustfw craft made against another
    one, once it is made sure that each lies in its set, in the data range, and is what was written.
    """
    began = time.perf_counter()
    chosen = Choices(**choices)
    if outcomes is not None:
        check_outcomes(outcomes, collection)
    if within is not None and (collection or outcomes or chosen.examples):
        raise UsageError(
            "--within decides by itself which examples are measured: leave it out, or --examples, --outcomes, --on"
        )
    if (known or escalate) and (within is not None or collection is not None):
        raise UsageError(
            "--known and --escalate are for an attack on all examples: leave them out, or --within and --on"
        )
    if collection is not None and (uncertainty or attacks or loss):
        raise UsageError(
            "a collection has its own sets and attack: leave out --uncertainty, --attack, --loss, or --on"
        )
    with alone_on_stdout(chosen.as_json):
        subject = Subject.open(run, chosen)
        if within is not None:
            result = _evaluate_within(
                subject,
                uncertainty=uncertainty,
                specs=attacks,
                loss=loss,
                began=began,
                seconds=within,
            )
        elif collection is None:
            result = _evaluate_under_attack(
                subject,
                uncertainty=uncertainty,
                specs=attacks,
                loss=loss,
                outcomes=outcomes,
                begin_with_known=known,
                escalate=escalate,
            )
        else:
            result = show_collection(subject, collection)
    if chosen.as_json:
        print_json(result)


def _evaluate_under_attack(
    subject: Subject,
    uncertainty: str | None,
    specs: tuple[str, ...],
    loss: str | None,
    outcomes: Path | None,
    *,
    begin_with_known: bool,
    escalate: bool,
) -> dict[str, Any]:
    """Attack the net, show and keep the result; what an earlier command left unfinished goes on."""
    from robustfw import console
    from robustfw.evaluation import describe
    from robustfw.evaluation._gallery import Gallery
    from robustfw.storage._partial import Partial

    choices = subject.choices
    threat = subject.threat(uncertainty)
    attacks = [subject.attack(spec) for spec in specs or (JUDGE,)]
    loss_raised = subject.loss(loss)
    circumstances = subject.circumstances() | subject.measurement_facts(
        threat, attacks, loss_raised
    )
    escalation = None
    if escalate:
        escalation = find_masking(subject, threat, attacks, loss_raised)
        attacks += further_attacks(subject, escalation)
        circumstances |= describe_escalation(escalation)
    gallery = Gallery(subject.task, subject.spec.labels)
    partial = Partial.open(
        subject.home / "results", circumstances | _batches_and_weights(subject)
    )
    if partial.verdicts is not None and not choices.as_json:
        console.line(
            f"going on after {len(partial.verdicts)} of {len(subject.split)} examples"
        )
    with known_cases(subject, threat, wanted=begin_with_known) as known:
        batches = subject.verdicts(
            threat,
            attacks,
            loss_raised,
            after=partial.verdicts,
            see=gallery,
            known=known,
            escalation=escalation,
        )
        evaluation = _finish_or_keep(subject, partial, batches)
    measured = describe(evaluation)
    if known is not None:
        measured["known"] = {"tried": known.tried, "fooled": known.fooled}
    brief_attacks = [subject.known.spell(attack, brief=True) for attack in attacks]
    result = subject.show_and_keep(
        "evaluation",
        circumstances,
        measured,
        brief={"attacks": brief_attacks},
    )
    subject.keep_worst_cases(circumstances, gallery)
    if outcomes is not None and evaluation.verdicts is not None:
        write_outcomes(outcomes, evaluation.verdicts)
    return result


def _finish_or_keep(
    subject: Subject, partial: Partial, batches: Iterator[Verdicts]
) -> Evaluation:
    """Measure to the end; what Ctrl-C interrupts is kept, and a `Stopped` says how far it is."""
    with contextlib.closing(partial.collect(batches)) as saved_batches:
        try:
            return summarize_verdicts(
                saved_batches,
                split=subject.split,
                name=subject.choices.split,
                spec=subject.spec,
                quiet=subject.choices.as_json,
            )
        except KeyboardInterrupt:
            saved_batches.close()
            raise stopping.Stopped(
                interruption_message(partial, len(subject.split))
            ) from None


def _evaluate_within(
    subject: Subject,
    uncertainty: str | None,
    specs: tuple[str, ...],
    loss: str | None,
    began: float,
    seconds: float,
) -> dict[str, Any]:
    """Attack as many random examples as fit into a time that began with the command, show and keep the result."""
    from robustfw import console
    from robustfw.evaluation import describe, verdicts_within

    choices = subject.choices
    threat = subject.threat(uncertainty)
    attacks = [subject.attack(spec) for spec in specs or (JUDGE,)]
    loss_raised = subject.loss(loss)
    deadline = began + (1 - RESERVE) * seconds
    batches = verdicts_within(
        deadline,
        subject.model,
        subject.split,
        threat=threat,
        attacks=attacks,
        classes=subject.spec.classes,
        task=subject.task,
        loss=loss_raised,
        batch_size=choices.batch_size,
        seed=choices.seed,
    )
    shown = console.batches_until(
        batches, deadline, choices.split, quiet=choices.as_json
    )
    evaluation = summarize(shown, subject.spec)
    if not choices.as_json:
        console.line(
            f"{evaluation.n} of {len(subject.split)} {choices.split} examples, drawn at random, within {seconds:g} s"
        )
    circumstances = subject.circumstances(examples=evaluation.n, within=seconds)
    circumstances |= subject.measurement_facts(threat, attacks, loss_raised)
    brief_attacks = [subject.known.spell(attack, brief=True) for attack in attacks]
    return subject.show_and_keep(
        "evaluation",
        circumstances,
        describe(evaluation),
        brief={"attacks": brief_attacks},
    )


def _batches_and_weights(subject: Subject) -> dict[str, Any]:
    """What decides the verdicts besides the circumstances: the batches, and the weights themselves."""
    from robustfw.storage.collections import hash_weights

    return {
        "batch_size": subject.choices.batch_size,
        "sha256": hash_weights(subject.model.state_dict()),
    }
