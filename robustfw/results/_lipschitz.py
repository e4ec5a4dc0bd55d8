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
    from matplotlib.figure import Figure

    from robustfw.results._material import Material, ReportedRun

MOST = 24
"""Layers in a figure."""
MEANING = (
    "In ℓ2. exact: by a singular value decomposition or a diagonal; iteration: σ_max of the operator as it is run, "
    "from below; known: of the activation; declared: by the layer's author. Layers that are known to have 1 are left "
    "out."
)


@attrs.frozen
class LayerConstant:
    """A layer's Lipschitz constant, and how it is known."""

    name: str
    kind: str
    bound: float | None
    how: str


@attrs.frozen
class LipschitzFields:
    """Constants of the layers, and quantiles of the net's slopes at examples, of which the last is the largest."""

    layers: tuple[LayerConstant, ...]
    unbounded: tuple[str, ...]
    upper: float | None
    n: int
    levels: tuple[float, ...]
    quantiles: tuple[float, ...]
    split: str = ""
    command: str = ""

    def __attrs_post_init__(self) -> None:
        if len(self.levels) != len(self.quantiles) or not {0.25, 0.5, 0.75} <= set(self.levels):
            raise ValueError("the quantiles do not fit their levels")

    def quantile(self, level: float) -> float:
        """A quantile of the slopes."""
        return self.quantiles[self.levels.index(level)]

    def informative_layers(self) -> list[LayerConstant]:
        """All layers but activations and the like, which are known to have 1."""
        return [layer for layer in self.layers if layer.how != "known" or layer.bound != 1]


@final
@attrs.frozen
class LipschitzKind(ResultKind):
    """Lipschitz constants of layers and net; robustfw analyze keeps it."""

    fields = LipschitzFields
    place = 80

    def example(self) -> Mapping[str, Any]:
        layer = {"name": "0", "kind": "Linear", "bound": 3.5, "how": "exact"}
        slopes = {"n": 4, "split": "test", "levels": [0.25, 0.5, 0.75, 1.0], "quantiles": [1.0, 2.0, 2.5, 3.0]}
        return {"layers": [layer], "unbounded": [], "upper": 3.5} | slopes

    def lines(self, result: LipschitzFields, labels: Sequence[str] | None = None) -> Iterator[ConsoleOutput]:
        rows = [
            (layer.name, layer.kind, "none known" if layer.bound is None else f"{layer.bound:.4g}", layer.how)
            for layer in result.informative_layers()
        ]
        yield Table("layer", ("", "", "Lipschitz constant", ""), rows)
        if result.upper is None:
            unbounded = ", ".join(result.unbounded)
            yield fact("upper bound", f"none: the product of the layers is no bound, because of {unbounded}")
        else:
            yield fact("upper bound", f"{result.upper:.4g}, the product of the layers")
        yield fact("lower bound", f"{result.quantiles[-1]:.4g}, the steepest slope at {result.n} examples")
        yield fact("median slope", f"{result.quantile(0.5):.4g}")

    def tables(self, material: Material) -> list[Table]:
        """One for each run: its layers, then the net."""
        return [_table(run, result) for run, result in material.pairs(LipschitzFields)]

    def figures(self, material: Material) -> list[Drawing]:
        """For each run a bar for each layer, and the bounds of the net."""
        return [_figure(run, result) for run, result in material.pairs(LipschitzFields)]


def _table(run: ReportedRun, result: LipschitzFields) -> Table:
    rows = [(layer.name, layer.kind, number(layer.bound), layer.how) for layer in result.informative_layers()]
    upper = "product of the layers" if result.upper is not None else f"not by a product: {join_words(result.unbounded)}"
    counted = f"{result.n} {result.split} examples"
    rows += [
        ("the net, at most", "", number(result.upper), upper),
        ("the net, at least", "", number(result.quantiles[-1]), f"steepest slope ‖J‖₂ at {counted}"),
        ("slope, median", "", number(result.quantile(0.5)), f"at {counted}"),
    ]
    columns = "layer", "kind", "Lipschitz constant", "how"
    return Table(f"Lipschitz constants of {run.name}", columns, rows, MEANING, commands([result.command]))


def _figure(run: ReportedRun, result: LipschitzFields) -> Drawing:
    title = f"Lipschitz constants of {run.name}"
    layers = [layer for layer in result.informative_layers() if layer.bound is not None]
    steepest = max(layers, key=lambda layer: layer.bound or 0.0, default=None)
    above = "nothing bounds it from above" if result.upper is None else f"at most {number(result.upper)}"
    most = f" The largest of a layer is {number(steepest.bound)}, of {steepest.name}." if steepest else ""
    alt = (
        f"{title}: the net's is at least {number(result.quantiles[-1])}, the steepest slope at {result.n} examples, "
        f"and {above}; the median slope is {number(result.quantile(0.5))}.{most}"
    )
    part = "" if len(layers) <= MOST else f" The first {MOST} of {len(layers)} layers are shown."
    caption = (
        "The spectral norm of each layer; for the net, their product where it bounds its constant, and below it the "
        f"slopes ‖J‖₂ at {result.n} {result.split} examples: a line over all, a bar over the middle half, a mark at "
        f"the median. The largest slope bounds the constant from below.{part}"
    )
    return Drawing("lipschitz", title, partial(_draw, result, layers[:MOST]), caption, alt, result.command)


def _draw(result: LipschitzFields, layers: Sequence[LayerConstant]) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, NullFormatter

    from robustfw.results._style import COLOURS, INK, WIDTH

    bars = [(f"{layer.name}  {layer.kind}", layer.bound or 0.0, COLOURS[0]) for layer in layers]
    bars += [] if result.upper is None else [("the net, product", result.upper, COLOURS[1])]
    figure = Figure(figsize=(WIDTH, 1.0 + 0.3 * (len(bars) + 1)), layout="constrained")
    axes = figure.subplots()
    positive = [value for value in (*(value for _, value, _ in bars), *result.quantiles) if value > 0]
    if positive and max(positive) > 30 * min(positive):
        axes.set_xscale("log")
        axes.set_xlim(min(positive) / 2, max(positive) * (max(positive) / min(positive)) ** 0.25)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))  # powers of ten would be formulas
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_xlim(0, 1.25 * max(positive, default=1.0))
    for i, (_, value, colour) in enumerate(bars):
        axes.barh(i, value, 0.62, color=colour)
        axes.text(value, i, f" {number(value)}", va="center", fontsize=9.5, color=INK)
    last, low, high = len(bars), result.quantiles[0], result.quantiles[-1]
    axes.plot([low, high], [last, last], color=COLOURS[2], linewidth=1.4)
    axes.plot(
        [result.quantile(0.25), result.quantile(0.75)],
        [last, last],
        color=COLOURS[2],
        linewidth=7,
        solid_capstyle="butt",
    )
    axes.plot(result.quantile(0.5), last, "|", color=INK, markersize=12, markeredgewidth=2)
    axes.text(high, last, f" {number(high)}", va="center", fontsize=9.5, color=INK)
    axes.set_yticks(range(last + 1), [truncate(name, 24) for name, _, _ in bars] + ["the net, slopes"])
    axes.invert_yaxis()
    axes.set_xlabel("Lipschitz constant, ℓ2")
    axes.grid(axis="x")
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    return figure
