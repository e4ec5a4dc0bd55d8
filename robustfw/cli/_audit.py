"""`robustfw audit`: does the robust accuracy of a net deserve belief?"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from robustfw.cli.subject import ATTACK, Choices, Subject, alone_on_stdout, loss_option, print_json
from robustfw.errors import UsageError
from robustfw.plugin import options, registry

if TYPE_CHECKING:
    from robustfw.attack import Attack
    from robustfw.evaluation._audit import Attacks, TransferExamples
    from robustfw.uncertainty import UncertaintySet

EXAMPLES = 200
ONE_STEP, NOISE, RESTARTS = "single-step", "random:samples=100", 5
_EXAMPLES = click.option(
    "--examples", type=click.IntRange(min=1), help=f"Only the first so many. [{EXAMPLES}, or all if fewer]"
)


@click.command(short_help="Look for masked gradients, which overstate robust accuracy.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--uncertainty", metavar="SPEC", help="Spec of the uncertainty set. [that of the training]")
@click.option("--attack", metavar="SPEC", default=ATTACK, show_default=True, help="Spec of the attack in question.")
@loss_option
@click.option("--transfer", "collections", type=click.Path(path_type=Path), multiple=True, help="A collection to try.")
@click.option("--strict", is_flag=True, help="Exit with status 1 if a line failed.")
@functools.partial(Choices.flags, examples=_EXAMPLES)
def audit(
    run: Path,
    uncertainty: str | None,
    attack: str,
    loss: str | None,
    collections: tuple[Path, ...],
    strict: bool,
    **choices: Any,
) -> None:
    """Look for masked gradients, which blind the attack, so that robust accuracy is overstated.

    RUN is the directory of a training. Ten signs are looked for (Athalye et al. 2018, Carlini et al. 2019); for each
    the verdict, the counts behind it, and what to do if it failed. That none is found is no certificate. The result is
    also kept in RUN/results.

    Collections that robustfw craft made against other nets, within the same set, may be given by --transfer: what they
    fool and the attack does not is a sign as well.
    """
    from robustfw import console
    from robustfw.evaluation import _audit as audits
    from robustfw.evaluation._checklist import AuditCase

    chosen = Choices(**choices)
    with alone_on_stdout(chosen.as_json):
        subject = Subject.open(run, chosen)
        subject = attrs.evolve(subject, split=subject.split.first(chosen.examples or EXAMPLES))
        threat, attacks = subject.threat(uncertainty), attacks_of(subject.known, attack)
        raised = subject.loss(loss)
        case = AuditCase(
            subject.model,
            subject.split,
            threat,
            attacks,
            transfer=[_load_transfer(subject, path, threat.uncertainty) for path in collections],
            batch_size=chosen.batch_size,
            seed=chosen.seed,
            task=subject.task,
            classes=subject.spec.classes,
            loss=raised,
        )
        text = f"looking for signs of masking in {run}"
        counted = console.counted(audits.lines(case), len(audits.CHECKS), text, quiet=chosen.as_json)
        result = audits.Audit.of(len(subject.split), counted)
        spell = subject.known.spell
        if not chosen.as_json:
            console.audit(result, spell(threat.uncertainty), spell(attacks.many, brief=True), chosen.split)
        paths = [str(path) for path in collections]
        facts = {"uncertainty": spell(threat.uncertainty), "attack": spell(attacks.many), "transfer": paths}
        circumstances = subject.circumstances(**facts) | subject.loss_facts(raised)
        kept = subject.keep("audit", circumstances, result.describe())
    if chosen.as_json:
        print_json(kept)
    if strict and result.failed:
        raise click.exceptions.Exit(1)


def _load_transfer(subject: Subject, path: Path, uncertainty: UncertaintySet) -> TransferExamples:
    """The examples of a collection that are within the audited set and start from audited examples."""
    from robustfw.evaluation._audit import TransferExamples
    from robustfw.evaluation._transfer import verify
    from robustfw.storage.collections import Collection

    collection = Collection.open(path)
    threats, examples = collection.threats(subject.known, subject.splits), collection.examples
    sets = [threat.uncertainty for threat in threats]
    if collection.split != subject.choices.split:
        raise UsageError(f"{path} is made from {collection.split} examples: give --split {collection.split}")
    verify(examples, collection.originals(subject.splits), threats, subject.task)
    same = [number for number, each in enumerate(sets) if each == uncertainty]
    if not same:
        held = ", ".join(subject.known.spell(each) for each in sets)
        raise UsageError(f"{path} holds no examples within {subject.known.spell(uncertainty)}, but within {held}")
    rows = [
        row
        for row, (number, index) in enumerate(zip(examples.set.tolist(), examples.index.tolist(), strict=True))
        if number in same and index < len(subject.split)
    ]
    return TransferExamples(examples.index[rows], examples.adversarial[rows])


def attacks_of(known: registry.Registry, spec: str) -> Attacks:
    """The attack in question and its rivals, as far as its options allow to make them of it."""
    from robustfw.evaluation._audit import Attacks

    many = known.make("attack", spec)
    own = {field.name: getattr(many, field.name) for field in options.fields(type(many))}
    return Attacks(
        many=many,
        one=known.make("attack", ONE_STEP),
        double=_with(many, steps=2 * own["steps"]) if isinstance(own.get("steps"), int) else None,
        restarts=_restarted(known, _with(many, random_start=True)) if "random_start" in own else None,
        noise=known.make("attack", NOISE),
    )


def _with(attack: Any, **changed: Any) -> Attack:
    return attrs.evolve(attack, **changed)


def _restarted(known: registry.Registry, attack: Attack) -> Attack:
    return known.make("attack", {"use": "restarts", "n": RESTARTS, "attack": attack})
