"""`robustfw analyze`: what limits a net, and what fools it, apart from attacks on examples."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from robustfw.cli.subject import Choices, Subject, alone_on_stdout, print_json
from robustfw.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from robustfw.analysis._fooling import FoolingImages

EXAMPLES = 1000
ANALYSES = ("distinguishability", "fooling", "lipschitz")
_EXAMPLES = click.option(
    "--examples", type=click.IntRange(min=1), help=f"Only the first so many. [{EXAMPLES}, or all if fewer]"
)


@click.command(short_help="Look at a net's limits: classes, slopes, fooling images.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--only", type=click.Choice(ANALYSES), multiple=True, help="This analysis; may be repeated. [all]")
@click.option(
    "--steps", type=click.IntRange(min=1), default=200, show_default=True, help="Of gradient ascent, at most."
)
@click.option(
    "--generations", type=click.IntRange(min=1), default=1000, show_default=True, help="Of the evolution, at most."
)
@functools.partial(Choices.flags, examples=_EXAMPLES)
def analyze(run: Path, only: tuple[str, ...], steps: int, generations: int, **choices: Any) -> None:
    """Look at a net's limits: how far apart its classes are, how steep it is, and which noise fools it.

    distinguishability: for each pair of classes the most that the mean distance to the boundary of a linear or
    quadratic classifier can be, from the classes' moments (Fawzi et al. 2015); on the data, and on the features that
    the last layer is given.

    fooling: images that begin as noise and that the net takes for each class with 99 % confidence, found by gradient
    ascent and by evolution (Nguyen et al. 2015).

    lipschitz: the spectral norm of each layer, their product where it bounds the net's Lipschitz constant, and the
    norms of the net's Jacobian at examples, which bound it from below.

    RUN is the directory of a training. Results, and the images, are kept in RUN/results; robustfw report shows them.
    """
    chosen = Choices(**choices)
    with alone_on_stdout(chosen.as_json):
        subject = Subject.open(run, chosen)
        subject = attrs.evolve(subject, split=subject.split.first(chosen.examples or EXAMPLES))
        if not subject.task.labelled or subject.spec.outputs < 2:
            raise UsageError(
                f"analyze is for nets with a logit for each class, and the task of {run} is "
                f"{subject.known.spell(subject.task)}: robustfw evaluate and sweep measure it"
            )
        analyses: dict[str, Callable[[Subject], dict[str, Any]]] = {
            "distinguishability": _distinguishability,
            "fooling": functools.partial(_fooling, steps=steps, generations=generations),
            "lipschitz": _lipschitz,
        }
        kept = {name: analyses[name](subject) for name in ANALYSES if name in (only or ANALYSES)}
    if chosen.as_json:
        print_json(kept)


def _distinguishability(subject: Subject) -> dict[str, Any]:
    from robustfw import console
    from robustfw.analysis import _distinguishability as distinguishability

    quiet, spaces = subject.choices.as_json, []
    for points in distinguishability.spaces(subject.model, subject.split, subject.choices.batch_size):
        text = f"pairs of classes, {points.name}"
        pairs = [attrs.asdict(p) for p in console.counted(points.pairs(), points.count, text, quiet=quiet)]
        spaces.append({"name": points.name, "dimension": points.x.shape[1], "pairs": pairs})
    if not quiet:
        console.distinguishability(spaces, len(subject.split), subject.splits.spec.labels)
    return subject.keep("distinguishability", subject.circumstances(), {"spaces": spaces})


def _fooling(subject: Subject, *, steps: int, generations: int) -> dict[str, Any]:
    from robustfw import console, results
    from robustfw.analysis import _fooling as fooling

    quiet, seed = subject.choices.as_json, subject.choices.seed
    space, like = fooling.SearchSpace.of(subject.splits.spec, subject.split), _one(subject)
    searches = {
        "gradient": (fooling.ascent(subject.model, space, like, steps=steps, seed=seed), steps),
        "evolution": (fooling.evolution(subject.model, space, like, generations=generations, seed=seed), generations),
    }
    found = {}
    for name, (rounds, most) in searches.items():
        *_, found[name] = console.counted(rounds, most, f"fooling images by {name}", quiet=quiet)
    circumstances = subject.circumstances(steps=steps, generations=generations)
    path = results.path_of(subject.home, "fooling", circumstances).with_suffix(".safetensors")
    fooling.keep(path, **found)
    listed = [_search_record(name, each, searches[name][1]) for name, each in found.items()]
    if not quiet:
        console.fooling(listed, fooling.TARGET, str(path), subject.splits.spec.labels)
    facts = {"target": fooling.TARGET, "range": [space.low, space.high], "shape": list(space.shape)}
    return subject.keep("fooling", circumstances, facts | {"images": path.name, "searches": listed})


def _one(subject: Subject) -> Tensor:
    """An example, where the net is."""
    from robustfw.training import parallel

    return next(subject.split.in_order(1, parallel.usable_device(subject.choices.device)))[0]


def _search_record(name: str, found: FoolingImages, budget: int) -> dict[str, Any]:
    return {
        "name": name,
        "budget": budget,
        "reached": int(found.on_target.sum()),
        "confidence": [round(share, 6) for share in found.confidence.tolist()],
        "rounds": found.rounds.tolist(),
    }


def _lipschitz(subject: Subject) -> dict[str, Any]:
    from robustfw import console
    from robustfw.analysis import _lipschitz as lipschitz
    from robustfw.training import parallel

    quiet, spec, choices = subject.choices.as_json, subject.splits.spec, subject.choices
    layers = lipschitz.layers(subject.model, _one(subject), seed=choices.seed)
    found = lipschitz.bound_net(subject.model, layers)
    size = lipschitz.batch_size(spec.shape, spec.classes, choices.batch_size)
    batches = subject.split.in_order(size, parallel.usable_device(choices.device))
    parts = lipschitz.slopes(subject.model, (x for x, _ in batches))
    counted = console.counted(parts, -(-len(subject.split) // size), "slopes at examples", quiet=quiet)
    slopes = lipschitz.Slopes.of(counted)
    if not quiet:
        console.lipschitz(found, slopes, lipschitz.QUANTILES)
    measured = attrs.asdict(found) | {"upper": found.upper, "levels": lipschitz.QUANTILES} | attrs.asdict(slopes)
    return subject.keep("lipschitz", subject.circumstances(), measured)
