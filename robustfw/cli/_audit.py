"""`robustfw audit`: does the robust accuracy of a net deserve belief?"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from robustfw.cli._choices import Choices, loss_option
from robustfw.cli._stdout import alone_on_stdout, print_json
from robustfw.cli.subject import ATTACK, Subject
from robustfw.errors import UsageError
from robustfw.plugin import options, registry

if TYPE_CHECKING:
    from robustfw.attack import Attack
    from robustfw.evaluation._audit import Attacks, TransferExamples
    from robustfw.uncertainty import UncertaintySet

EXAMPLES = 200
"""Examples that are audited, where no other number is asked for."""
ONE_STEP = "single-step"
"""The attack of a single step that the attack in question must not lose to."""
NOISE = "random:samples=100"
"""The attack by random members that the attack in question must not lose to."""
RESTARTS = 5
"""Random starts of the attack that the attack in question is compared with."""
_EXAMPLES = click.option(
    "--examples",
    type=click.IntRange(min=1),
    help=f"Only the first so many. [{EXAMPLES}, or all if fewer]",
)


@click.command(short_help="Look for masked gradients, which overstate robust accuracy.")
@click.argument("run", required=False, type=click.Path(path_type=Path))
@click.option(
    "--uncertainty",
    metavar="SPEC",
    help="Spec of the uncertainty set. [that of the training]",
)
@click.option(
    "--attack",
    metavar="SPEC",
    default=ATTACK,
    show_default=True,
    help="Spec of the attack in question.",
)
@loss_option
@click.option(
    "--transfer",
    "collections",
    type=click.Path(path_type=Path),
    multiple=True,
    help="A collection to try.",
)
@click.option("--strict", is_flag=True, help="Exit with status 1 if a line failed.")
@functools.partial(Choices.flags, examples=_EXAMPLES)
def audit(
    run: Path | None,
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
        subject = attrs.evolve(
            subject, split=subject.split.first(chosen.examples or EXAMPLES)
        )
        threat = subject.threat(uncertainty)
        attacks = attacks_of(subject.known, attack)
        loss_raised = subject.loss(loss)
        case = AuditCase(
            model=subject.model,
            split=subject.split,
            threat=threat,
            attacks=attacks,
            transfer=[
                _load_transfer(subject, path, threat.uncertainty)
                for path in collections
            ],
            batch_size=chosen.batch_size,
            seed=chosen.seed,
            task=subject.task,
            classes=subject.spec.classes,
            loss=loss_raised,
        )
        text = f"looking for signs of masking in {subject.name}"
        lines = console.track(
            audits.lines(case), len(audits.CHECKS), text, quiet=chosen.as_json
        )
        audited = audits.Audit.from_lines(len(subject.split), lines)
        spell = subject.known.spell
        paths = [str(path) for path in collections]
        facts = {
            "uncertainty": spell(threat.uncertainty),
            "attack": spell(attacks.many),
            "transfer": paths,
        }
        circumstances = subject.circumstances(**facts) | subject.loss_facts(loss_raised)
        brief = {"attack": spell(attacks.many, brief=True)}
        result = subject.show_and_keep(
            "audit", circumstances, audited.describe(), brief
        )
    if chosen.as_json:
        print_json(result)
    if strict and audited.failed:
        raise click.exceptions.Exit(1)


def _load_transfer(
    subject: Subject, path: Path, uncertainty: UncertaintySet
) -> TransferExamples:
    """The examples of a collection that are within the audited set and start from audited examples."""
    from robustfw.evaluation._audit import TransferExamples
    from robustfw.evaluation._transfer import verify
    from robustfw.storage.collections import Collection

    collection = Collection.open(path)
    examples = collection.examples
    threats = collection.threats(subject.known, subject.splits)
    sets = [threat.uncertainty for threat in threats]
    if collection.split != subject.choices.split:
        raise UsageError(
            f"{path} is made from {collection.split} examples: give --split {collection.split}"
        )
    verify(
        examples,
        split=collection.originals(subject.splits),
        threats=threats,
        task=subject.task,
    )
    audited_sets = [
        number for number, member in enumerate(sets) if member == uncertainty
    ]
    if not audited_sets:
        specs = ", ".join(subject.known.spell(member) for member in sets)
        raise UsageError(
            f"{path} holds no examples within {subject.known.spell(uncertainty)}, but within {specs}"
        )
    rows = []
    members_and_indices = zip(
        examples.set.tolist(), examples.index.tolist(), strict=True
    )
    for row, (number, index) in enumerate(members_and_indices):
        if number in audited_sets and index < len(subject.split):
            rows.append(row)
    return TransferExamples(examples.index[rows], examples.adversarial[rows])


def attacks_of(known: registry.Registry, spec: str) -> Attacks:
    """The attack in question and its rivals, as far as its options allow to make them of it."""
    from robustfw.evaluation._audit import Attacks

    many: Any = known.make("attack", spec)
    values = {}
    for field in options.fields(type(many)):
        values[field.name] = getattr(many, field.name)
    double: Attack | None = None
    if isinstance(values.get("steps"), int):
        double = attrs.evolve(many, steps=2 * values["steps"])
    restarts: Attack | None = None
    if "random_start" in values:
        from_random_start = attrs.evolve(many, random_start=True)
        restarts = known.make(
            "attack", {"use": "restarts", "n": RESTARTS, "attack": from_random_start}
        )
    return Attacks(
        many=many,
        one=known.make("attack", ONE_STEP),
        double=double,
        restarts=restarts,
        noise=known.make("attack", NOISE),
    )
