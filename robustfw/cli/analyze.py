"""`robustfw analyze`: what limits a net, and what fools it, apart from attacks on examples."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from robustfw.cli.subject import Choices, Subject, alone_on_stdout, print_json

if TYPE_CHECKING:
    from torch import Tensor, nn

    from robustfw.analysis.fooling import Found, Space

EXAMPLES = 1000
ANALYSES = ("distinguishability", "fooling", "lipschitz")
_EXAMPLES = click.option(
    "--examples", type=click.IntRange(min=1), help=f"Only the first so many. [{EXAMPLES}, or all if fewer]"
)


@click.command(short_help="Look at a net's limits: its classes, its slopes, images that fool it.")
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
        analyses: dict[str, Callable[[Subject], dict[str, Any]]] = {
            "distinguishability": _distinguishability,
            "fooling": functools.partial(_fooling, steps=steps, generations=generations),
            "lipschitz": _lipschitz,
        }
        kept = {name: analyses[name](subject) for name in ANALYSES if name in (only or ANALYSES)}
    if chosen.as_json:
        print_json(kept)


def _batches(subject: Subject, size: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
    device = next(iter(subject.model.parameters())).device
    return subject.split.in_order(size or subject.choices.batch_size, device)


def _distinguishability(subject: Subject) -> dict[str, Any]:
    import torch

    from robustfw import console
    from robustfw.analysis import distinguishability
    from robustfw.analysis.features import features, head_of

    x, labels = next(_batches(subject, 2))
    head = head_of(subject.model, x)
    parts = [(x.flatten(1).cpu(), y.cpu()) for x, y in _batches(subject)]
    data, labels = (torch.cat(column) for column in zip(*parts, strict=True))
    points: dict[str, tuple[Tensor, nn.Linear | None]] = {"data": (data, None)}
    if head is not None:
        seen = features(subject.model, head, (x for x, _ in _batches(subject)))
        # a linear classifier is given the data itself
        points |= {"data": (data, head)} if torch.equal(seen, data) else {"features": (seen, head)}
    quiet, spaces = subject.choices.as_json, []
    for name, (each, layer) in points.items():
        found = distinguishability.pairs(each, labels, layer)
        counted = console.counted(found, distinguishability.count(labels), f"pairs of classes, {name}", quiet=quiet)
        spaces.append({"name": name, "dimension": each.shape[1], "pairs": [attrs.asdict(pair) for pair in counted]})
    if not quiet:
        console.distinguishability(spaces, len(labels), subject.splits.spec.labels)
    return subject.keep("distinguishability", subject.circumstances(), {"spaces": spaces})


def _fooling(subject: Subject, *, steps: int, generations: int) -> dict[str, Any]:
    import torch

    from robustfw import console, results
    from robustfw.analysis import fooling

    quiet, spec = subject.choices.as_json, subject.splits.spec
    like = next(_batches(subject, 1))[0]
    space = fooling.Space(spec.classes, spec.shape, *(spec.bounds or _range(subject)))
    found = {}
    for name, search, most in (
        ("gradient", functools.partial(fooling.ascent, steps=steps), steps),
        ("evolution", functools.partial(fooling.evolution, generations=generations), generations),
    ):
        generator = torch.Generator().manual_seed(subject.choices.seed)
        rounds = search(subject.model, space, like, generator)
        *_, found[name] = console.counted(rounds, most, f"fooling images by {name}", quiet=quiet)
    circumstances = subject.circumstances(steps=steps, generations=generations)
    path = results.path_of(subject.run.path, "fooling", circumstances).with_suffix(".safetensors")
    fooling.keep(path, **found)
    budgets = {"gradient": steps, "evolution": generations}
    searches = [_searched(name, each, budgets[name]) for name, each in found.items()]
    if not quiet:
        console.fooling(searches, fooling.TARGET, str(path), spec.labels)
    return subject.keep("fooling", circumstances, _searches(searches, space, path.name, fooling.TARGET))


def _range(subject: Subject) -> tuple[float, float]:
    """Of the values of the examples, for data without one."""
    extremes = [x.aminmax() for x, _ in _batches(subject)]
    return min(float(each.min) for each in extremes), max(float(each.max) for each in extremes)


def _searched(name: str, found: Found, budget: int) -> dict[str, Any]:
    return {
        "name": name,
        "budget": budget,
        "reached": int(found.reached.sum()),
        "confidence": [round(share, 6) for share in found.confidence.tolist()],
        "rounds": found.rounds.tolist(),
    }


def _searches(searches: list[dict[str, Any]], space: Space, images: str, target: float) -> dict[str, Any]:
    return {
        "target": target,
        "range": [space.low, space.high],
        "shape": list(space.shape),
        "images": images,
        "searches": searches,
    }


def _lipschitz(subject: Subject) -> dict[str, Any]:
    import torch

    from robustfw import console
    from robustfw.analysis import lipschitz

    quiet, spec = subject.choices.as_json, subject.splits.spec
    generator = torch.Generator().manual_seed(subject.choices.seed)
    one = next(_batches(subject, 1))[0]
    found = lipschitz.bounded(subject.model, lipschitz.layers(subject.model, one, generator))
    size = lipschitz.batch_size(spec.shape, spec.classes, subject.choices.batch_size)
    parts = lipschitz.slopes(subject.model, (x for x, _ in _batches(subject, size)))
    batches = -(-len(subject.split) // size)
    slopes = lipschitz.Slopes.of(console.counted(parts, batches, "slopes at examples", quiet=quiet))
    if not quiet:
        console.lipschitz(found, slopes, lipschitz.QUANTILES)
    measured = attrs.asdict(found) | {"upper": found.upper, "levels": lipschitz.QUANTILES} | attrs.asdict(slopes)
    return subject.keep("lipschitz", subject.circumstances(), measured)
