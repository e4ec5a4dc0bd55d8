"""What became of pictures under attack: as facts, as lines on the console, and as files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustfw.cli import _saved_pictures as saved_pictures

if TYPE_CHECKING:
    from torch import Tensor

    from robustfw.cli.subject import Subject
    from robustfw.evaluation._single import AttackedExamples
    from robustfw.inner.threat import Threat

NORMS = {"linf": float("inf"), "l2": 2.0, "l1": 1.0, "l0": 0.0}
"""The order of the norm of each set that is a ball of one."""
SHOWN = 3
"""Classes whose probabilities are printed."""


def describe_attacked(
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


def show_attacked(picture: Mapping[str, Any]) -> None:
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


def case_of(
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
