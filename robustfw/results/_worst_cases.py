"""Kind of result `worst-cases`: a few examples of an evaluation, before and after the attack."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, final

import attrs

from robustfw.results._kind import ConsoleOutput, Drawing, ResultKind
from robustfw.results._table import Table
from robustfw.results._words import (
    abbreviate_attacks,
    commands,
    count_of,
    fact,
    join_words,
    number,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from robustfw.results._material import Material, ReportedRun

TOLD = 5
"""Examples that are told to those who do not see the figure, at most."""


@attrs.frozen
class WorstCase:
    """One example, and what the attack made of it."""

    before: str
    """The target, or what the net says of the example, in a word or two."""
    after: str
    """What the net says of the adversarial example."""
    largest: float
    """The greatest change of one entry, max |δ_j|."""
    changed: int
    """Entries of the example that differ."""


@attrs.frozen
class WorstCasesFields:
    """Examples that an attack fools the net with."""

    uncertainty: str
    attacks: tuple[str, ...]
    split: str
    shape: tuple[int, ...]
    range: tuple[float, float]
    """The values of black and white in a picture."""
    images: str
    """The name of the file of the tensors ``original`` and ``adversarial``, which lies beside the result."""
    examples: tuple[WorstCase, ...]
    command: str = ""


@final
@attrs.frozen
class WorstCasesKind(ResultKind):
    """A few examples that fool the net; robustfw evaluate keeps them."""

    fields = WorstCasesFields
    place = 0

    def example(self) -> Mapping[str, Any]:
        case = {"before": "7", "after": "3", "largest": 0.1, "changed": 60}
        return {
            "uncertainty": "linf:radius=0.1",
            "attacks": ["pgd:steps=40"],
            "split": "test",
            "shape": [1, 8, 8],
            "range": [0.0, 1.0],
            "images": "worst-cases.safetensors",
            "examples": [case],
        }

    def lines(
        self, result: WorstCasesFields, labels: Sequence[str] | None = None
    ) -> Iterator[ConsoleOutput]:
        yield fact(
            "worst cases",
            f"{join_words(_stories(result), TOLD)}; robustfw report shows them",
        )

    def tables(self, material: Material) -> list[Table]:
        """A table of all runs whose examples are no images; images are drawn."""
        rows = []
        again = []
        for run, result in material.pairs(WorstCasesFields):
            if _are_images(result):
                continue
            again.append(result.command)
            for case in result.examples:
                size = (number(case.largest), str(case.changed))
                rows.append(
                    (run.name, result.uncertainty, case.before, case.after, *size)
                )
        columns = ("run", "set", "before", "after", "largest change", "entries changed")
        note = "Examples that the attack fools the net with: what it says of them before and after."
        if rows:
            return [
                Table(
                    title="Worst cases",
                    columns=columns,
                    rows=rows,
                    note=note,
                    commands=commands(again),
                )
            ]
        return []

    def figures(self, material: Material) -> list[Drawing]:
        """A figure for each net, set and attacks: of several seeds, that of the first run."""
        drawn: dict[tuple[Any, ...], Drawing] = {}
        for run, result in material.pairs(WorstCasesFields):
            shown = (run.group, result.uncertainty, tuple(result.attacks))
            if result.examples and _are_images(result) and shown not in drawn:
                drawn[shown] = _figure(run, result)
        return list(drawn.values())


def _are_images(result: WorstCasesFields) -> bool:
    return len(result.shape) == 3


def _stories(result: WorstCasesFields) -> list[str]:
    return [f"{case.before} becomes {case.after}" for case in result.examples]


def _figure(run: ReportedRun, result: WorstCasesFields) -> Drawing:
    attacks = abbreviate_attacks(result.attacks)
    title = f"Worst cases of {run.name}: {result.uncertainty}"
    examples = count_of(len(result.examples), "example")
    alt = (
        f"{examples} that {attacks} fools {run.name} with, within {result.uncertainty}: "
        f"{join_words(_stories(result), TOLD)}."
    )
    if result.shape[0] > 1:
        colour = " Of colours, the one that changes most is drawn."
    else:
        colour = ""
    caption = (
        f"{result.split.capitalize()} examples that {attacks} fools {run.name} with, within {result.uncertainty}. "
        "Above: original; in the middle: the perturbation, times the factor beneath it, red where it adds and blue "
        f"where it takes away; below: adversarial, with what the net takes it for.{colour}"
    )
    return Drawing(
        kind="worst-cases",
        title=title,
        draw=partial(_draw, run, result),
        caption=caption,
        alt=alt,
        command=result.command,
    )


def _draw(run: ReportedRun, result: WorstCasesFields) -> Figure:
    import numpy as np

    from robustfw.results._picture_grid import draw_grid, rows_of_changes
    from robustfw.results._reading import read_tensors

    shape = (len(result.examples), *result.shape)
    tensors = read_tensors(
        run.path, name=result.images, shapes={"original": shape, "adversarial": shape}
    )
    low, high = result.range
    width = (high - low) or 1.0
    original = ((tensors["original"] - low) / width).astype(np.float32)
    adversarial = ((tensors["adversarial"] - low) / width).astype(np.float32)
    return draw_grid(
        rows_of_changes(
            original,
            adversarial,
            before=[case.before for case in result.examples],
            after=[case.after for case in result.examples],
        )
    )
