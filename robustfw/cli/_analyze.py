"""`robustfw analyze`: what limits a net, and what fools it, apart from attacks on examples."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from robustfw.cli._choices import Choices
from robustfw.cli._stdout import alone_on_stdout, print_json
from robustfw.cli.subject import Subject
from robustfw.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from robustfw.analysis._fooling import FoolingImages

EXAMPLES = 1000
"""Examples that are analyzed, where no other number is asked for."""
ANALYSES = ("distinguishability", "fooling", "lipschitz")
"""The analyses in the order in which they are made."""
_EXAMPLES = click.option(
    "--examples",
    type=click.IntRange(min=1),
    help=f"Only the first so many. [{EXAMPLES}, or all if fewer]",
)


@click.command(short_help="Look at a net's limits: classes, slopes, fooling images.")
@click.argument("run", required=False, type=click.Path(path_type=Path))
@click.option(
    "--only",
    type=click.Choice(ANALYSES),
    multiple=True,
    help="This analysis; may be repeated. [all]",
)
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    default=200,
    show_default=True,
    help="Of gradient ascent, at most.",
)
@click.option(
    "--generations",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    help="Of the evolution, at most.",
)
@functools.partial(Choices.flags, examples=_EXAMPLES)
def analyze(
    run: Path | None,
    only: tuple[str, ...],
    steps: int,
    generations: int,
    **choices: Any,
) -> None:
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
        subject = attrs.evolve(
            subject, split=subject.split.first(chosen.examples or EXAMPLES)
        )
        if not subject.task.labelled or subject.spec.outputs < 2:
            raise UsageError(
                f"analyze is for nets with a logit for each class, and the task of {subject.name} is "
                f"{subject.known.spell(subject.task)}: robustfw evaluate and sweep measure it"
            )
        analyses: dict[str, Callable[[Subject], dict[str, Any]]] = {
            "distinguishability": _analyze_distinguishability,
            "fooling": functools.partial(
                _analyze_fooling, steps=steps, generations=generations
            ),
            "lipschitz": _analyze_lipschitz,
        }
        results = {}
        for name in ANALYSES:
            if name in (only or ANALYSES):
                results[name] = analyses[name](subject)
    if chosen.as_json:
        print_json(results)


def _analyze_distinguishability(subject: Subject) -> dict[str, Any]:
    """Measure, show and keep how far apart classes are."""
    from robustfw import console
    from robustfw.analysis import _distinguishability as distinguishability

    quiet = subject.choices.as_json
    spaces = []
    for points in distinguishability.spaces(
        subject.model, subject.split, subject.choices.batch_size
    ):
        text = f"pairs of classes, {points.name}"
        pairs = console.track(points.pairs(), points.count, text, quiet=quiet)
        facts = [attrs.asdict(pair) for pair in pairs]
        spaces.append(
            {"name": points.name, "dimension": points.x.shape[1], "pairs": facts}
        )
    return subject.show_and_keep(
        "distinguishability", subject.circumstances(), {"spaces": spaces}
    )


def _analyze_fooling(
    subject: Subject, *, steps: int, generations: int
) -> dict[str, Any]:
    """Search, show and keep images that begin as noise and that the net takes for each class."""
    from robustfw import console, results
    from robustfw.analysis import _fooling as fooling

    quiet = subject.choices.as_json
    seed = subject.choices.seed
    space = fooling.SearchSpace.from_data(subject.splits.spec, subject.split)
    like = _first_example(subject)
    ascent = fooling.ascent(subject.model, space, like, steps=steps, seed=seed)
    evolution = fooling.evolution(
        subject.model, space, like, generations=generations, seed=seed
    )
    *_, by_gradient = console.track(
        ascent, steps, "fooling images by gradient", quiet=quiet
    )
    *_, by_evolution = console.track(
        evolution, generations, "fooling images by evolution", quiet=quiet
    )
    circumstances = subject.circumstances(steps=steps, generations=generations)
    path = results.path_of(subject.home, "fooling", circumstances).with_suffix(
        ".safetensors"
    )
    fooling.keep(path, gradient=by_gradient, evolution=by_evolution)
    searches = [
        _search_record("gradient", by_gradient, steps),
        _search_record("evolution", by_evolution, generations),
    ]
    measured = {
        "target": fooling.TARGET,
        "range": [space.low, space.high],
        "shape": list(space.shape),
        "images": path.name,
        "searches": searches,
    }
    return subject.show_and_keep("fooling", circumstances, measured)


def _first_example(subject: Subject) -> Tensor:
    """One example, (1, *shape), where the net is."""
    from robustfw.training import parallel

    device = parallel.usable_device(subject.choices.device)
    x, _ = next(subject.split.iterate(1, device))
    return x


def _search_record(name: str, images: FoolingImages, budget: int) -> dict[str, Any]:
    """What a result says of a search."""
    return {
        "name": name,
        "budget": budget,
        "reached": int(images.success.sum()),
        "confidence": [round(share, 6) for share in images.confidence.tolist()],
        "rounds": images.rounds.tolist(),
    }


def _analyze_lipschitz(subject: Subject) -> dict[str, Any]:
    """Measure, show and keep Lipschitz constants of the layers and the net."""
    from robustfw import console
    from robustfw.analysis import _lipschitz as lipschitz
    from robustfw.training import parallel

    quiet = subject.choices.as_json
    choices = subject.choices
    spec = subject.splits.spec
    # 1. from above: a product of layers
    layers = lipschitz.layers(subject.model, _first_example(subject), seed=choices.seed)
    net = lipschitz.bound_net(subject.model, layers)

    # 2. from below: slopes at examples
    batch_size = lipschitz.batch_size(spec.shape, spec.classes, choices.batch_size)
    device = parallel.usable_device(choices.device)
    batches = (x for x, _ in subject.split.iterate(batch_size, device))
    parts = lipschitz.slopes(subject.model, batches)
    number_of_batches = math.ceil(len(subject.split) / batch_size)
    slopes = lipschitz.Slopes.from_batches(
        console.track(parts, number_of_batches, "slopes at examples", quiet=quiet)
    )

    measured = (
        attrs.asdict(net)
        | {"upper": net.upper, "levels": lipschitz.QUANTILES}
        | attrs.asdict(slopes)
    )
    return subject.show_and_keep("lipschitz", subject.circumstances(), measured)
