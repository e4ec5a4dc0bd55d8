"""`robustfw tangents`: tangent vectors as pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from robustfw import RunError, UsageError
from robustfw.cli.subject import Choices, Subject, command_line
from robustfw.dataset import data_root

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

    from robustfw import Splits
    from robustfw.results import Pictures

INCHES = 0.8
"""Of one picture."""
EXAMPLES, BASIS = 5, "transform"


@click.command(short_help="Draw the tangents of a basis at test images.")
@click.argument("run", type=click.Path(path_type=Path), required=False)
@click.option("--dataset", metavar="SPEC", help="Spec of the data set. [that of the run, or digits]")
@click.option("--basis", metavar="SPEC", help="Spec of the basis. [what the run was trained with, or transform]")
@click.option("--examples", type=click.IntRange(min=1), default=EXAMPLES, show_default=True, help="Test images.")
@click.option(
    "--directions", type=click.IntRange(min=1), default=8, show_default=True, help="Tangents of each, at most."
)
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where data files are. [ROBUSTFW_DATA]")
@click.option(
    "--out", type=click.Path(path_type=Path), help="PNG, PDF, SVG. [tangents.png, without a run]", metavar="FILE"
)
def tangents(
    run: Path | None,
    dataset: str | None,
    basis: str | None,
    examples: int,
    directions: int,
    data_dir: Path | None,
    out: Path | None,
) -> None:
    """Draw the tangents of a basis at test images.

    A row is an image and the directions in which its data goes on, blue less and red more; the basis has seen the
    training images only.

    RUN is the directory of a training: the pictures are of its data and its basis, and are kept in RUN/results, from
    where robustfw report takes them.
    """
    from robustfw import make  # which needs torch

    if run is None:
        splits, chosen = make("dataset", dataset or "digits").load(data_root(data_dir)), basis or BASIS
    else:
        if dataset is not None:
            raise UsageError("a run has its own data: leave out --dataset, or RUN")
        subject = _subject(run, examples, data_dir)
        splits, chosen = subject.splits, basis or _basis_of(subject.recipe) or BASIS
    x, vectors = _at_test_images(splits, chosen, examples, directions)
    if run is not None:
        _keep(subject, chosen, x, vectors)
        click.echo(f"{subject.home / 'results'}: {len(x)} images and their tangents, for robustfw report")
    if out is not None or run is None:
        _save(drawn(x, vectors), out or Path("tangents.png"))
        click.echo(f"{out or 'tangents.png'}: {len(x)} images and their tangents")


def _subject(run: Path, examples: int, data_dir: Path | None) -> Subject:
    choices = Choices("test", examples, examples, "best", "cpu", None, 0, data_dir, as_json=False)
    return Subject.open(run, choices)


def _basis_of(part: Any) -> Any:
    """The first basis among the options of a recipe's parts, as a mapping; None where there is none."""
    listed = part.values() if isinstance(part, Mapping) else part if isinstance(part, list) else ()
    if isinstance(part, Mapping) and isinstance(part.get("basis"), Mapping):
        return part["basis"]
    return next((found for found in map(_basis_of, listed) if found), None)


def _at_test_images(splits: Splits, basis: Any, examples: int, directions: int) -> tuple[Tensor, Tensor]:
    from robustfw import make

    if len(splits.spec.shape) != 3:
        raise UsageError(f"the examples have shape {tuple(splits.spec.shape)}, which is no image: choose other data")
    fitted = make("basis", basis).fitted(splits.learning_split())
    x, _ = next(splits.test.first(examples).in_order(examples))
    return x, fitted.at(x)[:, :directions]


def _keep(subject: Subject, basis: Any, x: Tensor, vectors: Tensor) -> None:
    from robustfw import make, results

    spec = subject.known.spell(make("basis", basis), brief=True)
    said = {
        "title": f"Tangents ({spec})",
        "caption": f"Test images, and below each the directions that {spec} finds for its data to go on in, blue less "
        "and red more, each as strong as it can be drawn. An uncertainty set or penalty on tangents knows no others.",
        "alt": f"{len(x)} test images, and {vectors.shape[1]} tangent directions of each, found by {spec}.",
    }
    circumstances = subject.circumstances(basis=spec, directions=vectors.shape[1])
    results.keep_pictures(subject.home, circumstances, said, _rows(x, vectors), command_line())


def _rows(x: Tensor, vectors: Tensor) -> list[Pictures]:
    """The images, and a row for each direction; of several channels all are drawn as their mean."""
    from robustfw.results import Pictures

    grey = x.mean(1, keepdim=True)
    spread = (grey.amax() - grey.amin()).clamp_min(1e-12)
    rows = [Pictures("image", (grey - grey.amin()) / spread, [""] * len(x))]
    for number, direction in enumerate(vectors.mean(2, keepdim=True).unbind(1), start=1):
        most = direction.flatten(1).abs().amax(1).clamp_min(1e-12)
        changes = direction / most[:, None, None, None]
        rows.append(Pictures(f"tangent {number}", changes, [""] * len(x), diverging=True))
    return rows


def _save(figure: Figure, out: Path) -> None:
    try:
        figure.savefig(out, dpi=150)
    except OSError as error:
        raise RunError(f"cannot write {out}: {error.strerror}; choose another --out") from error
    except ValueError as error:  # what matplotlib says of a file name whose ending it does not know
        raise UsageError(f"{error}: choose another ending of --out") from error


def drawn(x: Tensor, basis: Tensor) -> Figure:
    """A figure with a row for each image: x (batch, channels, height, width), and its basis (batch, directions, …)."""
    from matplotlib.figure import Figure

    rows, columns = len(x), 1 + basis.shape[1]
    figure = Figure(figsize=(INCHES * columns, INCHES * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for image, vectors, line in zip(x.cpu(), basis.mean(2).cpu(), axes, strict=True):
        picture = image.movedim(0, -1) if len(image) == 3 else image.mean(0)
        line[0].imshow(picture.numpy(), cmap="gray")
        for vector, panel in zip(vectors, line[1:], strict=True):
            most = float(vector.abs().max()) or 1.0
            panel.imshow(vector.numpy(), cmap="RdBu_r", vmin=-most, vmax=most)
        for panel in line:
            panel.set_axis_off()
    return figure
