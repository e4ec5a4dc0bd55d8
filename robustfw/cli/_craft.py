"""`robustfw craft`: a collection of adversarial examples against a net."""

from __future__ import annotations

import datetime
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from robustfw.cli._choices import Choices, loss_option
from robustfw.cli._records import command_line
from robustfw.cli._stdout import alone_on_stdout, print_json
from robustfw.cli.subject import Subject
from robustfw.version import __version__

if TYPE_CHECKING:
    from robustfw.attack import Attack
    from robustfw.evaluation import Examples
    from robustfw.inner.threat import Threat

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
@Choices.flags
def craft(
    run: Path | None,
    specs: tuple[str, ...],
    attack: str,
    loss: str | None,
    out: Path | None,
    **choices: Any,
) -> None:
    """Make a collection of adversarial examples against the net of RUN, to try other nets on.

    Only examples that the net has right are attacked, once for each uncertainty set, and only those that fool it are
    kept. They are stored as floats, with everything that is needed to make sure of them later; how many still fool the
    net after rounding to the 256 values of an image file is said as well.
    """
    from robustfw import console
    from robustfw.evaluation import Examples
    from robustfw.evaluation import craft as craft_batches
    from robustfw.storage._locks import NewDirectory
    from robustfw.storage.collections import Collection

    chosen = Choices(**choices)
    with alone_on_stdout(chosen.as_json):
        subject = Subject.open(run, chosen)
        threats = [subject.threat(spec) for spec in specs or (None,)]
        attack_made = subject.attack(attack)
        loss_raised = subject.loss(loss)
        parts = craft_batches(
            subject.model,
            subject.split,
            threats=threats,
            attack=attack_made,
            classes=subject.spec.classes,
            task=subject.task,
            loss=loss_raised,
            batch_size=chosen.batch_size,
            seed=chosen.seed,
        )
        batches = math.ceil(len(subject.split) / chosen.batch_size) * len(threats)
        examples = Examples.concatenate(
            list(console.track(parts, batches, "crafting", quiet=chosen.as_json))
        )
        facts = _facts(
            subject, threats=threats, attack=attack_made, examples=examples
        ) | subject.loss_facts(loss_raised)
        place = out or NewDirectory(Path("transfer"), subject.home.resolve().name)
        collection = Collection.create(place, examples, facts)
    if chosen.as_json:
        print_json({"collection": str(collection.path)} | collection.manifest)
    else:
        console.collection(collection.manifest, str(collection.path))


def _facts(
    subject: Subject, threats: list[Threat], attack: Attack, examples: Examples
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
            "tried": len(subject.split),
        },
        "attack": known.spell(attack),
        "seed": subject.choices.seed,
        "bounds": bounds,
        "labels": subject.splits.spec.labels,
        "sets": sets,
        "fooling_8bit": int(fooled.sum()),
    }
