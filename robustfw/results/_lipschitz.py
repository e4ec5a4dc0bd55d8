"""Kind of result `lipschitz`: constants of each layer, and what bounds the net's from above and from below."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, final

import attrs

from robustfw.results._kind import ConsoleOutput, Drawing, ResultKind
from robustfw.results._table import Table
from robustfw.results._words import commands, fact, join_words, number, truncate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from robustfw.results._material import Material, ReportedRun

MOST = 24
"""Layers in a figure, at most."""
MEANING = (
    "In ℓ2. exact: by a singular value decomposition or a diagonal; iteration: σ_max of the operator as it is run, "
    "from below; known: of the activation; declared: by the layer's author. Layers that are known to have 1 are left "
    "out."
)


@attrs.frozen
class LayerConstant:
    """A layer's Lipschitz constant, and how it is known."""

    name: str
    """Where the layer stands in the net."""
    kind: str
    """The name of its class."""
    bound: float | None
    """Its Lipschitz constant, or a bound on it; None where none is known."""
    how: str
    """exact, iteration, known, declared or unknown; `MEANING` explains them."""


@attrs.frozen
class LipschitzFields:
    """Constants of the layers, and quantiles of the net's slopes at examples, of which the last is the largest."""

    layers: tuple[LayerConstant, ...]
    """All layers, in the order in which they are called."""
    unbounded: tuple[str, ...]
    """What keeps the product of the layers from being a bound."""
    upper: float | None
    """The product of the layers; None where it is no bound."""
    n: int
    """Examples at which slopes were measured."""
    levels: tuple[float, ...]
    """Levels of the quantiles, from 0 to 1."""
    quantiles: tuple[float, ...]
    """Quantiles of the slopes at these levels."""
    split: str = ""
    command: str = ""

    def __attrs_post_init__(self) -> None:
        if len(self.levels) != len(self.quantiles) or not {0.25, 0.5, 0.75} <= set(
            self.levels
        ):
            raise ValueError("the quantiles do not fit their levels")

    def quantile(self, level: float) -> float:
        """The quantile of the slopes at one of ``levels``."""
        return self.quantiles[self.levels.index(level)]

    def informative_layers(self) -> list[LayerConstant]:
        """All layers but activations and the like, which are known to have 1."""
        return [
            layer for layer in self.layers if layer.how != "known" or layer.bound != 1
        ]


@final
@attrs.frozen
class LipschitzKind(ResultKind):
    """Lipschitz constants of layers and net; robustfw analyze keeps it."""

    fields = LipschitzFields
    place = 80

    def example(self) -> Mapping[str, Any]:
        layer = {"name": "0", "kind": "Linear", "bound": 3.5, "how": "exact"}
        slopes = {
            "n": 4,
            "split": "test",
            "levels": [0.25, 0.5, 0.75, 1.0],
            "quantiles": [1.0, 2.0, 2.5, 3.0],
        }
        return {"layers": [layer], "unbounded": [], "upper": 3.5} | slopes

    def lines(
        self, result: LipschitzFields, labels: Sequence[str] | None = None
    ) -> Iterator[ConsoleOutput]:
        rows = []
        for layer in result.informative_layers():
            bound = "none known" if layer.bound is None else f"{layer.bound:.4g}"
            rows.append((layer.name, layer.kind, bound, layer.how))
        yield Table("layer", ("", "", "Lipschitz constant", ""), rows)
        if result.upper is None:
            unbounded = ", ".join(result.unbounded)
            yield fact(
                "upper bound",
                f"none: the product of the layers is no bound, because of {unbounded}",
            )
        else:
            yield fact("upper bound", f"{result.upper:.4g}, the product of the layers")
        yield fact(
            "lower bound",
            f"{result.quantiles[-1]:.4g}, the steepest slope at {result.n} examples",
        )
        yield fact("median slope", f"{result.quantile(0.5):.4g}")

    def tables(self, material: Material) -> list[Table]:
        """A table for each run: its layers, then the net."""
        return [_table(run, result) for run, result in material.pairs(LipschitzFields)]

    def figures(self, material: Material) -> list[Drawing]:
        """A figure for each run: a bar for each layer, and the bounds of the net."""
        return [_figure(run, result) for run, result in material.pairs(LipschitzFields)]


def _table(run: ReportedRun, result: LipschitzFields) -> Table:
    rows = []
    for layer in result.informative_layers():
        rows.append((layer.name, layer.kind, number(layer.bound), layer.how))
    upper = "product of the layers"
    if result.upper is None:
        upper = f"not by a product: {join_words(result.unbounded)}"
    examples = f"{result.n} {result.split} examples"
    rows += [
        ("the net, at most", "", number(result.upper), upper),
        (
            "the net, at least",
            "",
            number(result.quantiles[-1]),
            f"steepest slope ‖J‖₂ at {examples}",
        ),
        ("slope, median", "", number(result.quantile(0.5)), f"at {examples}"),
    ]
    columns = "layer", "kind", "Lipschitz constant", "how"
    return Table(
        title=f"Lipschitz constants of {run.name}",
        columns=columns,
        rows=rows,
        note=MEANING,
        commands=commands([result.command]),
    )


def _figure(run: ReportedRun, result: LipschitzFields) -> Drawing:
    title = f"Lipschitz constants of {run.name}"
    layers = [layer for layer in result.informative_layers() if layer.bound is not None]
    steepest = max(layers, key=lambda layer: layer.bound or 0.0, default=None)
    if result.upper is None:
        above = "nothing bounds it from above"
    else:
        above = f"at most {number(result.upper)}"
    if steepest:
        most = (
            f" The largest of a layer is {number(steepest.bound)}, of {steepest.name}."
        )
    else:
        most = ""
    alt = (
        f"{title}: the net's is at least {number(result.quantiles[-1])}, the steepest slope at {result.n} examples, "
        f"and {above}; the median slope is {number(result.quantile(0.5))}.{most}"
    )
    if len(layers) > MOST:
        selection = f" The first {MOST} of {len(layers)} layers are shown."
    else:
        selection = ""
    caption = (
        "The spectral norm of each layer; for the net, their product where it bounds its constant, and below it the "
        f"slopes ‖J‖₂ at {result.n} {result.split} examples: a line over all, a bar over the middle half, a mark at "
        f"the median. The largest slope bounds the constant from below.{selection}"
    )
    return Drawing(
        kind="lipschitz",
        title=title,
        draw=partial(_draw, result, layers[:MOST]),
        caption=caption,
        alt=alt,
        command=result.command,
    )


def _draw(result: LipschitzFields, layers: Sequence[LayerConstant]) -> Figure:
    from matplotlib.figure import Figure

    from robustfw.results._style import COLOURS, INK, WIDTH, mark_bars

    bars = []
    for layer in layers:
        bars.append((f"{layer.name}  {layer.kind}", layer.bound or 0.0, COLOURS[0]))
    if result.upper is not None:
        bars.append(("the net, product", result.upper, COLOURS[1]))
    height = 1.0 + 0.3 * (len(bars) + 1)
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots()
    bar_values = [value for _, value, _ in bars]
    _scale_axis(axes, [*bar_values, *result.quantiles])
    number_style: dict[str, Any] = {"va": "center", "fontsize": 9.5, "color": INK}

    # 1. a bar for each layer, and for their product
    for i, (_, value, colour) in enumerate(bars):
        axes.barh(i, value, 0.62, color=colour)
        axes.text(value, i, f" {number(value)}", **number_style)

    # 2. the slopes: a line over all, a bar over the middle half, a mark at the median
    last = len(bars)
    low = result.quantiles[0]
    high = result.quantiles[-1]
    middle_half = [result.quantile(0.25), result.quantile(0.75)]
    axes.plot([low, high], [last, last], color=COLOURS[2], linewidth=1.4)
    axes.plot(
        middle_half, [last, last], color=COLOURS[2], linewidth=7, solid_capstyle="butt"
    )
    axes.plot(
        result.quantile(0.5), last, "|", color=INK, markersize=12, markeredgewidth=2
    )
    axes.text(high, last, f" {number(high)}", **number_style)

    bar_names = [truncate(name, 24) for name, _, _ in bars]
    axes.set_yticks(range(last + 1), [*bar_names, "the net, slopes"])
    axes.invert_yaxis()
    axes.set_xlabel("Lipschitz constant, ℓ2")
    mark_bars(axes)
    return figure


def _scale_axis(axes: Axes, values: Sequence[float]) -> None:
    """Limits with room for the numbers beside the bars; a logarithmic axis where values are far apart."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    positive = [value for value in values if value > 0]
    least = min(positive, default=1.0)
    most = max(positive, default=1.0)
    if most <= 30 * least:
        axes.set_xlim(0, 1.25 * most)
        return
    axes.set_xscale("log")
    axes.set_xlim(least / 2, most * (most / least) ** 0.25)
    # numbers as they are: powers of ten would be formulas
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
