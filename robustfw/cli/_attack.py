"""`robustfw attack`: picture files against a net."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from robustfw.cli import _saved_pictures as saved_pictures
from robustfw.cli._choices import Choices, loss_option
from robustfw.cli._picture_facts import describe_pictures
from robustfw.cli._stdout import alone_on_stdout, print_json
from robustfw.cli.subject import JUDGE, Subject
from robustfw.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from robustfw.attack import Attack
    from robustfw.evaluation._single import AttackedExamples
    from robustfw.inner.threat import Threat
    from robustfw.loss import Loss

TARGETED = "restarts:n=5,attack=(pgd:steps=100)"
"""The attack on the way to one class, where no other is asked for."""
NORMS = {"linf": float("inf"), "l2": 2.0, "l1": 1.0, "l0": 0.0}
"""The order of the norm of each set that is a ball of one."""
SHOWN = 3
"""Classes whose probabilities are printed."""
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
    required=True,
    help="Directory of a training, whose net is attacked.",
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
    run: Path,
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
            "pictures": _describe(subject, pictures, attacked, threat),
        }
        if not chosen.as_json:
            for picture in result["pictures"]:
                _show(picture)
        if save is not None:
            case = _case(subject, pictures, attacked, threat)
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


def _describe(
    subject: Subject,
    pictures: Sequence[Path],
    attacked: AttackedExamples,
    threat: Threat,
) -> list[dict[str, Any]]:
    """What became of each picture: probabilities before and after, the size of the change, and the file of 8 bits."""
    from robustfw.evaluation._rounding import Levels, find_outputs, round_inside

    perturbed = attacked.perturbed
    levels = Levels.over(subject.spec.bounds, attacked.x, perturbed)
    rounded = round_inside(attacked.x, perturbed, threat, levels)
    file_outputs = find_outputs(
        subject.model,
        levels.decode(rounded.levels).to(attacked.x.dtype),
        subject.task,
        subject.choices.batch_size,
    )
    order = _norm_of(subject, threat)
    rows = []
    for i, path in enumerate(pictures):
        delta = (perturbed[i] - attacked.x[i]).flatten().double()
        before = int(attacked.clean_outputs[i].argmax())
        label = int(attacked.y[i])
        file_says = int(file_outputs[i].argmax())
        fooled = bool(attacked.reached[i])
        rows.append(
            {
                "picture": str(path),
                "shape": list(subject.spec.shape),
                "label": saved_pictures.name_class(subject, label),
                "right_before": before == label,
                "before": _probabilities(subject, attacked.clean_outputs[i]),
                "after": _probabilities(subject, attacked.outputs[i]),
                "reached": fooled,
                "norm": order,
                "size": float(delta.norm(order)),
                "largest_change": float(delta.abs().max()),
                "uncertainty": subject.known.spell(threat.uncertainty),
                "file_says": saved_pictures.name_class(subject, file_says),
                "file_reached": fooled
                and file_says == int(attacked.outputs[i].argmax()),
                "outside": None if rounded.excess is None else float(rounded.excess[i]),
            }
        )
    return rows


def _norm_of(subject: Subject, threat: Threat) -> float:
    """The order of the norm that a set is a ball of; ∞ for other sets, whose change is told by its largest value."""
    name = subject.known.name_of(threat.uncertainty)
    if name in NORMS:
        return NORMS[name]
    p = subject.known.record(threat.uncertainty).get("p")
    return float(p) if isinstance(p, int | float) else float("inf")


def _probabilities(subject: Subject, outputs: Tensor) -> dict[str, float]:
    """The most probable classes by name, with their probabilities."""
    probabilities = outputs.double().softmax(0)
    most = probabilities.topk(min(SHOWN, len(probabilities)))
    return {
        saved_pictures.name_class(subject, label): probability
        for label, probability in zip(
            most.indices.tolist(), most.values.tolist(), strict=True
        )
    }


def _show(picture: Mapping[str, Any]) -> None:
    """Print what became of one picture."""
    from robustfw import console
    from robustfw.results._words import fact

    size = "×".join(str(side) for side in picture["shape"])
    console.line(fact("picture", f"{picture['picture']}, read as {size}"))
    if not picture["right_before"]:
        console.problem(
            f"the net takes {picture['picture']} for something else than {picture['label']} before any attack"
        )
    for when in ("before", "after"):
        shares = [f"{name} {share:.1%}" for name, share in picture[when].items()]
        console.line(fact(when, ", ".join(shares)))
    symbol = {float("inf"): "∞", 2.0: "₂", 1.0: "₁", 0.0: "₀"}.get(
        picture["norm"], f" of order {picture['norm']:g}"
    )
    change = f"‖δ‖{symbol} = {picture['size']:.4g}, within {picture['uncertainty']}"
    if not picture["reached"]:
        console.line(fact("result", f"the attack has not reached its aim; {change}"))
    elif picture["file_reached"]:
        console.line(fact("result", f"fooled, and as a file of 8 bits too; {change}"))
    else:
        console.line(
            fact(
                "result",
                f"fooled, but not as a file of 8 bits, of which the net says {picture['file_says']}; {change}",
            )
        )


def _case(
    subject: Subject,
    pictures: Sequence[Path],
    attacked: AttackedExamples,
    threat: Threat,
) -> saved_pictures.PictureCase:
    """The pictures with the names of their files: number, name, label, and what the net said."""
    stems = []
    labels = []
    outputs = attacked.outputs
    for i, path in enumerate(pictures):
        label = saved_pictures.name_class(subject, int(attacked.y[i]))
        after = saved_pictures.name_class(subject, int(outputs[i].argmax()))
        labels.append(label)
        stems.append(
            saved_pictures.stem_of(f"{i:02d}", path.stem, label, "becomes", after)
        )
    return saved_pictures.PictureCase(
        threat=threat,
        uncertainty=subject.known.spell(threat.uncertainty),
        stems=tuple(stems),
        labels=tuple(labels),
        x=attacked.x,
        perturbed=attacked.perturbed,
        y=attacked.y,
    )
