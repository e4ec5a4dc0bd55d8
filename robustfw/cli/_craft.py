"""`robustfw craft`: a collection of adversarial examples against a net."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from robustfw.cli import _stopping as stopping
from robustfw.cli._choices import Choices, loss_option
from robustfw.cli._picture_facts import describe_pictures
from robustfw.cli._records import command_line
from robustfw.cli._saved_pictures import (
    PAGE,
    PictureCase,
    check_pictures,
    name_class,
    save_option,
    save_pictures,
    stem_of,
)
from robustfw.cli._stdout import alone_on_stdout, print_json
from robustfw.cli.subject import Subject
from robustfw.version import __version__

if TYPE_CHECKING:
    from robustfw.attack import Attack
    from robustfw.evaluation import Examples
    from robustfw.inner.threat import Threat
    from robustfw.loss import Loss

ATTACK = "single-step"
"""What examples are crafted by, where no other attack is asked for."""


@click.command(short_help="Make a collection of adversarial examples against a net.")
@click.argument("run", required=False, type=click.Path(path_type=Path))
@click.option(
    "--uncertainty",
    "specs",
    metavar="SPEC",
    multiple=True,
    help="Spec; may be repeated. [the training's]",
)
@click.option(
    "--attack",
    metavar="SPEC",
    default=ATTACK,
    show_default=True,
    help="Spec of the attack.",
)
@loss_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Directory of the collection. [a new one in transfer/]",
)
@save_option
@Choices.flags
def craft(
    run: Path | None,
    specs: tuple[str, ...],
    attack: str,
    loss: str | None,
    out: Path | None,
    save: Path | None,
    **choices: Any,
) -> None:
    """Make a collection of adversarial examples against the net of RUN, to try other nets on.

    Only examples that the net has right are attacked, once for each uncertainty set, and only those that fool it are
    kept. They are stored as floats, with everything that is needed to make sure of them later; how many still fool the
    net after rounding to the 256 values of an image file is said as well. Ctrl-C ends the attack, and what was crafted
    by then is kept.

    With --save, originals, adversarial examples and their differences are also written as PNG files of 8 bits. Where
    the nearest values of a file lie outside the set, values are rounded towards the original; the files are read back,
    and how many fool the net and how many left their set is said.
    """
    from robustfw import console
    from robustfw.storage._locks import NewDirectory
    from robustfw.storage.collections import Collection

    chosen = Choices(**choices)
    with alone_on_stdout(chosen.as_json):
        subject = Subject.open(run, chosen)
        threats = [subject.threat(spec) for spec in specs or (None,)]
        attack_made = subject.attack(attack)
        loss_raised = subject.loss(loss)
        if save is not None:
            check_pictures(subject.spec.shape, save)
        examples, tried = _craft(subject, threats, attack_made, loss_raised)
        facts = _facts(
            subject,
            threats=threats,
            attack=attack_made,
            examples=examples,
            tried=tried,
        ) | subject.loss_facts(loss_raised)
        place = out or NewDirectory(Path("transfer"), subject.home.resolve().name)
        collection = Collection.create(place, examples, facts)
        result = {"collection": str(collection.path)} | collection.manifest
        if not chosen.as_json:
            console.collection(collection.manifest, str(collection.path))
        if save is not None:
            title = f"Adversarial examples of {subject.name}"
            cases = _picture_cases(subject, threats, examples)
            result["images"] = save_pictures(save, subject, cases, title)
            if not chosen.as_json:
                for sentence in describe_pictures(result["images"]):
                    console.line(sentence)
                console.line(f"images: {save / PAGE}")
    if chosen.as_json:
        print_json(result)
    if tried < len(subject.split):
        raise stopping.Stopped(
            f"stopped after {tried} of {len(subject.split)} examples, whose adversarial ones are kept"
        )


def _craft(
    subject: Subject, threats: list[Threat], attack: Attack, loss: Loss
) -> tuple[Examples, int]:
    """All adversarial examples, and how many examples were tried; Ctrl-C ends it early.

    Args:
        subject: the net and the examples.
        threats: the sets.
        attack: what is tried.
        loss: what it raises.
    """
    from robustfw import console
    from robustfw.evaluation import Examples
    from robustfw.evaluation._crafting import craft_batches

    choices = subject.choices
    batches = craft_batches(
        subject.model,
        subject.split,
        threats=threats,
        attack=attack,
        classes=subject.spec.classes,
        task=subject.task,
        loss=loss,
        batch_size=choices.batch_size,
        seed=choices.seed,
    )
    tracked = console.track(
        batches,
        len(subject.split),
        "crafting",
        size=lambda batch: batch.tried,
        quiet=choices.as_json,
    )
    tried = 0
    parts: list[Examples] = []
    try:
        for batch in tracked:
            parts += batch.examples
            tried += batch.tried
    except KeyboardInterrupt:
        if not parts:
            raise stopping.Stopped("stopped before the first batch was tried") from None
    return Examples.concatenate(parts), tried


def _picture_cases(
    subject: Subject, threats: list[Threat], examples: Examples
) -> list[PictureCase]:
    """The examples of each set with the names of their files: number, label, and what the net said."""
    cases = []
    for number, threat in enumerate(threats):
        rows = (examples.set == number).nonzero()[:, 0]
        part = examples[rows]
        stems = []
        labels = []
        for i, index in enumerate(part.index.tolist()):
            words = []
            if subject.task.labelled:
                before = name_class(subject, int(part.y[i]))
                after = name_class(subject, int(part.label[i]))
                labels.append(before)
                words = [before, "becomes", after]
            else:
                labels.append("")
            if len(threats) > 1:
                words.append(f"set{number}")
            stems.append(stem_of(f"{index:05d}", *words))
        cases.append(
            PictureCase(
                threat=threat,
                uncertainty=subject.known.spell(threat.uncertainty),
                stems=tuple(stems),
                labels=tuple(labels),
                x=part.original,
                perturbed=part.adversarial,
                y=part.y,
            )
        )
    return cases


def _facts(
    subject: Subject,
    threats: list[Threat],
    attack: Attack,
    examples: Examples,
    tried: int,
) -> dict[str, Any]:
    """What the manifest of the collection says of it."""
    from robustfw.evaluation._transfer import correct, round_to_8_bits
    from robustfw.storage.collections import hash_weights

    known = subject.known
    bounds = subject.splits.spec.bounds
    rounded = round_to_8_bits(examples.adversarial, bounds)
    fooled = ~correct(subject.model, x=rounded, y=examples.y, task=subject.task)
    sets = []
    for number, threat in enumerate(threats):
        n = int((examples.set == number).sum())
        sets.append({"uncertainty": known.spell(threat.uncertainty), "n": n})
    return {
        "robustfw": __version__,
        "command": command_line(),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "source": {
            "run": subject.name,
            "model": subject.recipe["model"],
            "weights": subject.choices.weights,
            "sha256": hash_weights(subject.model.state_dict()),
        },
        "data": {
            "hash": subject.data_hash,
            "split": subject.choices.split,
            "dataset": subject.recipe["dataset"],
            "tried": tried,
        },
        "attack": known.spell(attack),
        "seed": subject.choices.seed,
        "bounds": bounds,
        "labels": subject.splits.spec.labels,
        "sets": sets,
        "fooling_8bit": int(fooled.sum()),
    }
