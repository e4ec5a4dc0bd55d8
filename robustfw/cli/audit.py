"""`robustfw audit`: does the robust accuracy of a net deserve belief?"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from robustfw import options, registry
from robustfw.cli.subject import ATTACK, Choices, Subject, alone_on_stdout, print_json

if TYPE_CHECKING:
    from robustfw.attack import Attack
    from robustfw.evaluation.audit import Attacks

EXAMPLES = 200
ONE_STEP, NOISE, RESTARTS = "single-step", "random:samples=100", 5
_EXAMPLES = click.option(
    "--examples", type=click.IntRange(min=1), help=f"Only the first so many. [{EXAMPLES}, or all if fewer]"
)


@click.command(short_help="Look for masked gradients, which overstate robust accuracy.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--uncertainty", metavar="SPEC", help="Spec of the uncertainty set. [that of the training]")
@click.option("--attack", metavar="SPEC", default=ATTACK, show_default=True, help="Spec of the attack in question.")
@click.option("--strict", is_flag=True, help="Exit with status 1 if a line failed.")
@functools.partial(Choices.flags, examples=_EXAMPLES)
def audit(run: Path, uncertainty: str | None, attack: str, strict: bool, **choices: Any) -> None:
    """Look for masked gradients, which blind the attack, so that robust accuracy is overstated.

    RUN is the directory of a training. Ten signs are looked for (Athalye et al. 2018, Carlini et al. 2019); for each
    the verdict, the counts behind it, and what to do if it failed. That none is found is no certificate. The result is
    also kept in RUN/results.
    """
    from robustfw import console
    from robustfw.evaluation import audit as audits

    chosen = Choices(**choices)
    with alone_on_stdout(chosen.as_json):
        subject = Subject.open(run, chosen)
        subject = attrs.evolve(subject, split=subject.split.first(chosen.examples or EXAMPLES))
        sets, attacks = subject.uncertainty(uncertainty), attacks_of(subject.known, attack)
        lines = audits.lines(
            subject.model,
            subject.split,
            uncertainty=sets,
            attacks=attacks,
            bounds=subject.splits.spec.bounds,
            batch_size=chosen.batch_size,
            seed=chosen.seed,
        )
        text = f"looking for signs of masking in {run}"
        counted = console.counted(lines, len(audits.CHECKS), text, quiet=chosen.as_json)
        result = audits.Audit.of(len(subject.split), counted)
        spell = subject.known.spell
        if not chosen.as_json:
            console.audit(result, spell(sets), spell(attacks.many, brief=True), chosen.split)
        circumstances = subject.circumstances(uncertainty=spell(sets), attack=spell(attacks.many))
        kept = subject.keep("audit", circumstances, result.described())
    if chosen.as_json:
        print_json(kept)
    if strict and result.failed:
        raise click.exceptions.Exit(1)


def attacks_of(known: registry.Registry, spec: str) -> Attacks:
    """The attack in question and its rivals, as far as its options allow to make them of it."""
    from robustfw.evaluation.audit import Attacks

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
