"""`robustfw attack`: picture files against a net."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from robustfw.cli import _saved_pictures as saved_pictures
from robustfw.cli._attacked import case_of, describe_attacked, show_attacked
from robustfw.cli._choices import Choices, loss_option
from robustfw.cli._picture_facts import describe_pictures
from robustfw.cli._stdout import alone_on_stdout, print_json
from robustfw.cli.subject import JUDGE, Subject
from robustfw.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from robustfw.attack import Attack
    from robustfw.evaluation._single import AttackedExamples
    from robustfw.inner.threat import Threat
    from robustfw.loss import Loss

TARGETED = "restarts:n=5,attack=(pgd:steps=100)"
"""The attack on the way to one class, where no other is asked for."""
_SPLIT = click.option("--split", default="test", hidden=True)
_EXAMPLES = click.option("--examples", type=int, hidden=True)


@click.command(short_help="Attack picture files.")
@click.argument(
    "pictures",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
)
@click.option(
    "--run",
    type=click.Path(path_type=Path),
    help="Directory of a training, whose net is attacked; or name a net by --model and --dataset.",
)
@click.option(
    "--label", metavar="CLASS", help="Name or number. [what the net says of each]"
)
@click.option(
    "--target", metavar="CLASS", help="Name or number that the net shall say. [any]"
)
@click.option(
    "--uncertainty",
    metavar="SPEC",
    help="Spec of the uncertainty set. [that of the training]",
)
@click.option(
    "--attack",
    metavar="SPEC",
    help=f"Spec of the attack. [{JUDGE}; with --target {TARGETED}]",
)
@loss_option
@saved_pictures.save_option
# pictures leave no choice of examples
@functools.partial(Choices.flags, split=_SPLIT, examples=_EXAMPLES)
def attack(
    pictures: tuple[Path, ...],
    run: Path | None,
    label: str | None,
    target: str | None,
    uncertainty: str | None,
    attack: str | None,
    loss: str | None,
    save: Path | None,
    **choices: Any,
) -> None:
    """Attack PICTURES, image files of any size, and say what the net takes them for before and after.

    Each is brought to the size and the channels of the net's data. With --target the attack is on its way to one class.
    With --save the adversarial pictures are written as PNG files of 8 bits, beside the originals and the differences,
    and measured again as files.
    """
    from robustfw import console

    chosen = Choices(**choices)
    with alone_on_stdout(chosen.as_json):
        subject = Subject.open(run, chosen)
        if not subject.task.labelled:
            raise UsageError(
                "the net says numbers and no class: robustfw craft and robustfw evaluate attack it on its data"
            )
        saved_pictures.check_pictures(subject.spec.shape, save)
        threat = subject.threat(uncertainty)
        spec = attack or (TARGETED if target else JUDGE)
        attacked = _attack_pictures(
            subject,
            pictures=pictures,
            label=_find_class(subject, label),
            target=_find_class(subject, target),
            threat=threat,
            attack=subject.attack(spec),
            loss=subject.loss(loss),
        )
        result: dict[str, Any] = {
            "run": subject.name,
            "uncertainty": subject.known.spell(threat.uncertainty),
            "attack": spec,
            "target": target,
            "pictures": describe_attacked(subject, pictures, attacked, threat),
        }
        if not chosen.as_json:
            for picture in result["pictures"]:
                show_attacked(picture)
        if save is not None:
            case = case_of(subject, pictures, attacked, threat)
            title = f"Adversarial pictures against {subject.name}"
            result["images"] = saved_pictures.save_pictures(
                save, subject, [case], title
            )
            if not chosen.as_json:
                for sentence in describe_pictures(result["images"]):
                    console.line(sentence)
                console.line(f"images: {save / saved_pictures.PAGE}")
    if chosen.as_json:
        print_json(result)


def _find_class(subject: Subject, word: str | None) -> int | None:
    """The number of a class by its name or its number; None where none is given.

    Raises:
        UsageError: there is no such class.
    """
    if word is None:
        return None
    names = subject.spec.labels or ()
    if word in names:
        return names.index(word)
    if word.isdecimal() and int(word) < subject.spec.classes:
        return int(word)
    known = ", ".join(names[:20]) if names else f"0 to {subject.spec.classes - 1}"
    raise UsageError(f"there is no class {word!r}: the data has {known}")


def _attack_pictures(
    subject: Subject,
    pictures: Sequence[Path],
    *,
    label: int | None,
    target: int | None,
    threat: Threat,
    attack: Attack,
    loss: Loss,
) -> AttackedExamples:
    """Read the pictures, and attack them together.

    Args:
        subject: the net.
        pictures: image files.
        label: what all of them are; None: what the net says of each.
        target: the class that the attack is on its way to; None: any other.
        threat: the set within the data range.
        attack: what is tried.
        loss: what it raises.
    """
    from robustfw.evaluation._rounding import Levels
    from robustfw.evaluation._single import attack_examples
    from robustfw.storage._image_files import read_pictures

    # pictures as the data has them: a part of the range for each of the 256 levels
    resize = subject.recipe["dataset"].get("resize")
    side = resize if isinstance(resize, int) else None
    pixels = read_pictures(pictures, subject.spec.shape, side)
    example, _ = next(subject.split.first(1).iterate(1))
    x = Levels.over(subject.spec.bounds, example).decode(pixels).to(example.dtype)
    return attack_examples(
        subject.model,
        x,
        label=label,
        target=target,
        threat=threat,
        attack=attack,
        task=subject.task,
        loss=loss,
        batch_size=subject.choices.batch_size,
        seed=subject.choices.seed,
    )
