"""`robustfw sweep`: accuracy against the size of the set."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from robustfw.cli import _stopping as stopping
from robustfw.cli._choices import Choices, loss_option
from robustfw.cli._records import radius_of
from robustfw.cli._stdout import alone_on_stdout, print_json
from robustfw.cli.subject import Subject
from robustfw.errors import UsageError
from robustfw.plugin import options

if TYPE_CHECKING:
    from collections.abc import Iterable

    from robustfw.evaluation import Fooled, Sweep
    from robustfw.plugin.options import Ratio

ATTACK = "pgd:steps=20"
"""What is tried at each radius, where no other attack is asked for."""
POINTS = 11
"""Radii of a sweep, where none are asked for."""


@click.command(short_help="Measure accuracy against the size of the set.")
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
    help="Spec of the attack.",
)
@loss_option
@click.option(
    "--radii",
    metavar="LIST",
    help=f"Growing numbers with commas. [0 to twice the radius, {POINTS} points]",
)
@click.option(
    "--independent",
    is_flag=True,
    help="Attack anew at each radius, as a plot of the plain fast method does.",
)
@Choices.flags
def sweep(
    run: Path | None,
    uncertainty: str | None,
    attack: str,
    loss: str | None,
    radii: str | None,
    independent: bool,
    **choices: Any,
) -> None:
    """Measure accuracy against the radius, and the smallest radius that fools the net for each example.

    An example that is fooled at a radius is fooled at larger ones, so it is not attacked again, and accuracy cannot
    rise; the smallest radius is then found by bisection. With --independent each radius is a measurement of its own,
    and a weak attack may do worse with a larger set.

    The radii are those of the set's option radius; for a set without one, they are factors of the set.
    """
    from robustfw import console
    from robustfw.evaluation import Sweep
    from robustfw.evaluation import sweep as sweep_batches

    chosen = Choices(**choices)
    with alone_on_stdout(chosen.as_json):
        subject = Subject.open(run, chosen)
        threat = subject.threat(uncertainty)
        attack_made = subject.attack(attack)
        loss_raised = subject.loss(loss)
        unit = _unit(radius_of(subject.known, threat.uncertainty))
        ratios = _read_radii(radii, unit)
        factors = [float(radius) / unit for radius in ratios]
        parts = sweep_batches(
            subject.model,
            subject.split,
            threat=threat,
            attack=attack_made,
            factors=factors,
            nested=not independent,
            classes=subject.spec.classes,
            task=subject.task,
            loss=loss_raised,
            batch_size=chosen.batch_size,
            seed=chosen.seed,
        )
        tracked = console.track(
            parts,
            len(subject.split),
            "sweeping",
            size=lambda part: len(part.at),
            quiet=chosen.as_json,
        )
        fooled = _collect(tracked, factors, len(subject.split), unit)
        accuracies = Sweep.from_fooled(fooled, factors)
        uncertainty_spec = subject.known.spell(threat.uncertainty)
        attack_spec = subject.known.spell(attack_made)
        specs = {"uncertainty": uncertainty_spec, "attack": attack_spec}
        circumstances = subject.circumstances(
            radii=subject.known.record(ratios), independent=independent, **specs
        )
        circumstances |= subject.loss_facts(loss_raised)
        result = subject.show_and_keep(
            "sweep", circumstances, _record(accuracies, fooled.smallest.tolist(), unit)
        )
    if chosen.as_json:
        print_json(result)


def _collect(
    parts: Iterable[Fooled], factors: list[float], n: int, unit: float
) -> Fooled:
    """All batches as one; where Ctrl-C comes, the accuracy of those that are done is said, and they are lost.

    Args:
        parts: what became of each batch.
        factors: the sizes of the set.
        n: examples of all batches.
        unit: the radius at factor 1.
    """
    from robustfw.evaluation import Fooled, Sweep

    done: list[Fooled] = []
    try:
        for part in parts:
            done.append(part)
    except KeyboardInterrupt:
        if not done:
            raise stopping.Stopped("stopped before the first batch was swept") from None
        so_far = Sweep.from_fooled(Fooled.concatenate(done), factors)
        points = [
            f"{share:.1%} at {unit * factor:.4g}"
            for share, factor in zip(so_far.accuracy, factors, strict=True)
        ]
        raise stopping.Stopped(
            f"stopped after {so_far.n} of {n} examples, whose accuracy is {', '.join(points)}; nothing of it is kept: "
            "--examples takes fewer"
        ) from None
    return Fooled.concatenate(done)


def _unit(radius: Any) -> float:
    """The radius at factor 1; a set without a scalar one is measured in factors."""
    if isinstance(radius, int | float) and radius > 0:
        return float(radius)
    return 1.0


def _read_radii(text: str | None, unit: float) -> list[Ratio]:
    """The radii that are asked for; without any, `POINTS` of them from 0 to twice the set's own."""
    if text is None:
        return [2 * unit * point / (POINTS - 1) for point in range(POINTS)]
    try:
        return list(options.numbers(text))
    except UsageError as error:
        raise UsageError(f"--radii: {error}") from error


def _record(sweep: Sweep, smallest: list[float], unit: float) -> dict[str, Any]:
    """A sweep as its result has it, in radii instead of factors.

    Args:
        sweep: the accuracies.
        smallest: the smallest factor that fools the net, of each example.
        unit: the radius at factor 1.
    """
    low, median, high = (unit * quartile for quartile in sweep.quartiles)
    minimal_radius = {
        "median": median,
        "quartiles": [low, high],
        "beyond": sweep.beyond,
        "each": [
            round(unit * factor, 6) if math.isfinite(factor) else None
            for factor in smallest
        ],
    }
    accuracies = attrs.asdict(
        sweep, filter=attrs.filters.exclude("factors", "quartiles", "beyond")
    )
    return accuracies | {"minimal_radius": minimal_radius}
