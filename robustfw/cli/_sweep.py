"""`robustfw sweep`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from robustfw.cli.subject import Choices, Subject, alone_on_stdout, loss_option, print_json, radius_of
from robustfw.errors import UsageError
from robustfw.plugin import options

if TYPE_CHECKING:
    from robustfw.evaluation import Sweep
    from robustfw.plugin.options import Ratio

ATTACK = "pgd:steps=20"
POINTS = 11


@click.command(short_help="Measure accuracy against the size of the set.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--uncertainty", metavar="SPEC", help="Spec of the uncertainty set. [that of the training]")
@click.option("--attack", metavar="SPEC", default=ATTACK, show_default=True, help="Spec of the attack.")
@loss_option
@click.option("--radii", metavar="LIST", help=f"Growing numbers with commas. [0 to twice the radius, {POINTS} points]")
@click.option(
    "--independent", is_flag=True, help="Attack anew at each radius, as a plot of the plain fast method does."
)
@Choices.flags
def sweep(
    run: Path,
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
    from robustfw.evaluation import Fooled, Sweep
    from robustfw.evaluation import sweep as swept

    chosen = Choices(**choices)
    with alone_on_stdout(chosen.as_json):
        subject = Subject.open(run, chosen)
        threat, made, raised = subject.threat(uncertainty), subject.attack(attack), subject.loss(loss)
        unit = _unit(radius_of(subject.known, threat.uncertainty))
        asked = _radii(radii, unit)
        factors = [float(radius) / unit for radius in asked]
        parts = swept(
            subject.model,
            subject.split,
            threat=threat,
            attack=made,
            factors=factors,
            nested=not independent,
            classes=subject.spec.classes,
            task=subject.task,
            loss=raised,
            batch_size=chosen.batch_size,
            seed=chosen.seed,
        )
        batches = math.ceil(len(subject.split) / chosen.batch_size)
        fooled = Fooled.concatenate(console.counted(parts, batches, "sweeping", quiet=chosen.as_json))
        result = Sweep.of(fooled, factors)
        spelled = {"uncertainty": subject.known.spell(threat.uncertainty), "attack": subject.known.spell(made)}
        if not chosen.as_json:
            console.sweep(result, [float(radius) for radius in asked], unit, spelled["uncertainty"], spelled["attack"])
        circumstances = subject.circumstances(radii=subject.known.record(asked), independent=independent) | spelled
        circumstances |= subject.loss_facts(raised)
        kept = subject.keep("sweep", circumstances, _measured(result, fooled.smallest.tolist(), unit))
    if chosen.as_json:
        print_json(kept)


def _unit(radius: Any) -> float:
    """The radius at factor 1; a set without a scalar one is measured in factors."""
    return float(radius) if isinstance(radius, int | float) and radius > 0 else 1.0


def _radii(text: str | None, unit: float) -> list[Ratio]:
    if text is None:
        return [2 * unit * point / (POINTS - 1) for point in range(POINTS)]
    try:
        return list(options.numbers(text))
    except UsageError as error:
        raise UsageError(f"--radii: {error}") from error


def _measured(result: Sweep, smallest: list[float], unit: float) -> dict[str, Any]:
    """In radii instead of factors."""
    low, median, high = (unit * quartile for quartile in result.quartiles)
    found = {"median": median, "quartiles": [low, high], "beyond": result.beyond}
    each = [round(unit * factor, 6) if math.isfinite(factor) else None for factor in smallest]
    whole = attrs.asdict(result, filter=attrs.filters.exclude("factors", "quartiles", "beyond"))
    return whole | {"minimal_radius": found | {"each": each}}
