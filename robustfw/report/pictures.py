"""Pictures that a command of a plugin left beside a run, in rows."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from safetensors import SafetensorError
from safetensors.numpy import load_file

from robustfw.report.drawing import Drawing
from robustfw.report.examples import Floats
from robustfw.report.gather import Material, Run
from robustfw.report.images import COLUMNS, Row, grid
from robustfw.report.reading import damaged
from robustfw.report.schema import Pictures
from robustfw.report.words import cut


def figures(material: Material) -> list[Drawing]:
    """A figure of each result, as its maker calls and describes it."""
    return [_figure(run, result) for run in material.runs for result in run.of(Pictures)]


def _figure(run: Run, result: Pictures) -> Drawing:
    counts = {str(i): (len(row.words), *result.shape) for i, row in enumerate(result.rows)}
    tensors = read(run.path / "results" / result.images, counts)
    rows = [
        Row(row.name, list(tensors[str(i)][:COLUMNS]), [cut(word, 16) for word in row.words[:COLUMNS]], row.diverging)
        for i, row in enumerate(result.rows)
    ]
    title = f"{result.title} of {run.name}"
    return Drawing("pictures", title, partial(grid, rows), result.caption, result.alt, result.command)


def read(file: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Floats]:
    """The tensors of these names, which must have these shapes.

    Raises:
        RunError: the file cannot be read, or holds something else.
    """
    try:
        tensors = load_file(file)
        pictures = {name: tensors[name] for name in shapes}
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise damaged(file, f"no images can be read: {error}") from error
    if any(pictures[name].shape != shape for name, shape in shapes.items()):
        raise damaged(file, "its images are not those of its result")
    return pictures
