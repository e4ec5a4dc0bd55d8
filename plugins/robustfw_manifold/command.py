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
"""Width and height of one picture."""
EXAMPLES = 5
"""Test images that are drawn by default."""
BASIS = "transform"
"""Spec of the basis that is drawn where neither the call nor the run names one."""


@click.command(short_help="Draw the tangents of a basis at test images.")
@click.argument("run", type=click.Path(path_type=Path), required=False)
@click.option(
    "--dataset",
    metavar="SPEC",
    help="Spec of the data set. [that of the run, or digits]",
)
@click.option(
    "--basis",
    metavar="SPEC",
    help="Spec of the basis. [what the run was trained with, or transform]",
)
@click.option(
    "--examples",
    type=click.IntRange(min=1),
    default=EXAMPLES,
    show_default=True,
    help="Test images.",
)
@click.option(
    "--directions",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    help="Tangents of each, at most.",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    help="Where data files are. [ROBUSTFW_DATA]",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="PNG, PDF, SVG. [tangents.png, without a run]",
    metavar="FILE",
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

    subject: Subject | None = None
    if run is None:
        splits = make("dataset", dataset or "digits").load(data_root(data_dir))
        basis_spec = basis or BASIS
    else:
        if dataset is not None:
            raise UsageError("a run has its own data: leave out --dataset, or RUN")
        subject = _open_subject(run, examples, data_dir)
        splits = subject.splits
        basis_spec = basis or _find_basis(subject.recipe) or BASIS
    x, vectors = _evaluate_basis(splits, basis_spec, examples, directions)
    if subject is not None:
        _save_result(subject, basis_spec, x, vectors)
        click.echo(
            f"{subject.home / 'results'}: {len(x)} images and their tangents, for robustfw report"
        )
    if out is not None or run is None:
        _save_figure(draw(x, vectors), out or Path("tangents.png"))
        click.echo(f"{out or 'tangents.png'}: {len(x)} images and their tangents")


def _open_subject(run: Path, examples: int, data_dir: Path | None) -> Subject:
    """The run with its data and its recipe."""
    choices = Choices(
        model=None,
        dataset=None,
        weights="best",
        split="test",
        examples=examples,
        batch_size=examples,
        device="cpu",
        threads=None,
        seed=0,
        data_dir=data_dir,
        as_json=False,
    )
    return Subject.open(run, choices)


def _find_basis(part: Any) -> Any:
    """The first basis among the options of a recipe's parts, as a mapping; None where there is none."""
    if isinstance(part, Mapping):
        if isinstance(part.get("basis"), Mapping):
            return part["basis"]
        parts = list(part.values())
    elif isinstance(part, list):
        parts = part
    else:
        return None
    for inner in parts:
        basis = _find_basis(inner)
        if basis:
            return basis
    return None


def _evaluate_basis(
    splits: Splits, basis: Any, examples: int, directions: int
) -> tuple[Tensor, Tensor]:
    """The first test images, and the basis at these, which is fitted to the training examples."""
    from robustfw import make

    if len(splits.spec.shape) != 3:
        raise UsageError(
            f"the examples have shape {tuple(splits.spec.shape)}, which is no image: choose other data"
        )
    fitted = make("basis", basis).fit(splits.learning_split())
    x, _ = next(splits.test.first(examples).iterate(examples))
    return x, fitted.at(x)[:, :directions]


def _save_result(subject: Subject, basis: Any, x: Tensor, vectors: Tensor) -> None:
    """Save the pictures with the results of a run, for its report."""
    from robustfw import make, results

    spec = subject.known.spell(make("basis", basis), brief=True)
    texts = {
        "title": f"Tangents ({spec})",
        "caption": f"Test images, and below each the directions that {spec} finds for its data to go on in, blue less "
        "and red more, each as strong as it can be drawn. An uncertainty set or penalty on tangents knows no others.",
        "alt": f"{len(x)} test images, and {vectors.shape[1]} tangent directions of each, found by {spec}.",
    }
    circumstances = subject.circumstances(basis=spec, directions=vectors.shape[1])
    results.keep_pictures(
        subject.home, circumstances, texts, _picture_rows(x, vectors), command_line()
    )


def _picture_rows(x: Tensor, vectors: Tensor) -> list[Pictures]:
    """A row of the images, and a row for each direction; several channels are drawn as their mean."""
    from robustfw.results import Pictures

    grey = x.mean(1, keepdim=True)
    spread = (grey.amax() - grey.amin()).clamp_min(1e-12)
    rows = [Pictures("image", (grey - grey.amin()) / spread, [""] * len(x))]
    for number, direction in enumerate(
        vectors.mean(2, keepdim=True).unbind(1), start=1
    ):
        most = direction.flatten(1).abs().amax(1).clamp_min(1e-12)
        changes = direction / most[:, None, None, None]
        rows.append(
            Pictures(f"tangent {number}", changes, [""] * len(x), diverging=True)
        )
    return rows


def _save_figure(figure: Figure, out: Path) -> None:
    """Write a figure, with an error that names the option where the file cannot be written."""
    try:
        figure.savefig(out, dpi=150)
    except OSError as error:
        raise RunError(
            f"cannot write {out}: {error.strerror}; choose another --out"
        ) from error
    except (
        ValueError
    ) as error:  # what matplotlib says of a file name whose ending it does not know
        raise UsageError(f"{error}: choose another ending of --out") from error


def draw(x: Tensor, basis: Tensor) -> Figure:
    """A figure with a row for each image: x (batch, channels, height, width), and its basis (batch, directions, …)."""
    from matplotlib.figure import Figure

    rows = len(x)
    columns = 1 + basis.shape[1]
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
