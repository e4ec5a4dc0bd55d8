"""Kind of result `pictures`: rows of pictures that a command left for a figure of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, final

import attrs

from robustfw.results._kind import ConsoleOutput, Drawing, ResultKind
from robustfw.results._table import Table
from robustfw.results._words import count_of, fact, join_words, truncate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from robustfw.results._material import Material, ReportedRun


@attrs.frozen
class PictureRow:
    """One picture in each column, with words below it."""

    name: str
    """Stands at the left of the row."""
    words: tuple[str, ...]
    """What stands below each picture."""
    diverging: bool = False
    """Whether the pictures show changes: blue below 0, white at 0, red above."""


@attrs.frozen
class PicturesFields:
    """Rows of pictures, with the title and the words that their maker gave them."""

    title: str
    caption: str
    alt: str
    shape: tuple[int, int, int]
    images: str
    """The name of the file of the pictures, which lies beside the result."""
    rows: tuple[PictureRow, ...]
    command: str = ""


@final
@attrs.frozen
class PicturesKind(ResultKind):
    """Rows of pictures for a figure of a plugin's own; `robustfw.results.keep_pictures` keeps them."""

    fields = PicturesFields
    place = 90

    def example(self) -> Mapping[str, Any]:
        return {
            "title": "Tangents",
            "caption": "Where the data goes on.",
            "alt": "1 picture.",
            "shape": [1, 8, 8],
            "images": "pictures.safetensors",
            "rows": [{"name": "a", "words": [""]}],
        }

    def lines(
        self, result: PicturesFields, labels: Sequence[str] | None = None
    ) -> Iterator[ConsoleOutput]:
        counts = []
        for row in result.rows:
            counts.append(f"{count_of(len(row.words), 'picture')} ({row.name})")
        yield fact("pictures", f"{result.title}: {join_words(counts)}")
        yield fact("images", result.images)

    def tables(self, material: Material) -> list[Table]:
        """No table: the figure is all."""
        return []

    def figures(self, material: Material) -> list[Drawing]:
        """A figure of each result, with the title and the words that its maker gave it."""
        return [_figure(run, result) for run, result in material.pairs(PicturesFields)]


def _figure(run: ReportedRun, result: PicturesFields) -> Drawing:
    title = f"{result.title} of {run.name}"
    return Drawing(
        kind="pictures",
        title=title,
        draw=partial(_draw, run, result),
        caption=result.caption,
        alt=result.alt,
        command=result.command,
    )


def _draw(run: ReportedRun, result: PicturesFields) -> Figure:
    from robustfw.results._picture_grid import COLUMNS, Row, draw_grid
    from robustfw.results._reading import read_tensors

    shapes = {
        str(i): (len(row.words), *result.shape) for i, row in enumerate(result.rows)
    }
    tensors = read_tensors(run.path, result.images, shapes)
    rows = []
    for i, row in enumerate(result.rows):
        words = [truncate(word, 16) for word in row.words[:COLUMNS]]
        rows.append(
            Row(
                name=row.name,
                pictures=list(tensors[str(i)][:COLUMNS]),
                words=words,
                diverging=row.diverging,
            )
        )
    return draw_grid(rows)
