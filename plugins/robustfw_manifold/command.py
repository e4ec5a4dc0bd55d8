"""`robustfw tangents`: tangent vectors as pictures."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from robustfw import RunError, UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

INCHES = 0.8
"""Of one picture."""


@click.command(short_help="Draw the tangents of a basis at test images.")
@click.option("--dataset", metavar="SPEC", default="digits", show_default=True, help="Spec of the data set.")
@click.option("--basis", metavar="SPEC", default="transform", show_default=True, help="Spec of the basis.")
@click.option("--examples", type=click.IntRange(min=1), default=6, show_default=True, help="Test images.")
@click.option(
    "--directions", type=click.IntRange(min=1), default=8, show_default=True, help="Tangents of each, at most."
)
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where data files are. [ROBUSTFW_DATA]")
@click.option(
    "--out", type=click.Path(path_type=Path), default="tangents.png", show_default=True, help="PNG, PDF, SVG."
)
def tangents(dataset: str, basis: str, examples: int, directions: int, data_dir: Path | None, out: Path) -> None:
    """Draw the tangents of a basis at test images.

    A row is an image and the directions in which its data goes on, blue less and red more; the basis has seen the
    training images only.
    """
    from robustfw import make  # which needs torch

    root = (data_dir or Path(os.environ.get("ROBUSTFW_DATA") or "~/.cache/robustfw")).expanduser()
    splits = make("dataset", dataset).load(root)
    if len(splits.spec.shape) != 3:
        raise UsageError(f"the examples of {dataset} have shape {splits.spec.shape}, which is no image: choose another")
    fitted = make("basis", basis).fitted(splits.train)
    x, _ = next(splits.test.first(examples).in_order(examples))
    try:
        drawn(x, fitted.at(x)[:, :directions]).savefig(out, dpi=150)
    except OSError as error:
        raise RunError(f"cannot write {out}: {error.strerror}; choose another --out") from error
    except ValueError as error:  # what matplotlib says of a file name whose ending it does not know
        raise UsageError(f"{error}: choose another ending of --out") from error
    click.echo(f"{out}: {len(x)} images and their tangents")


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
