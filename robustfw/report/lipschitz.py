"""Lipschitz constants: of each layer, and what bounds the net's from above and from below."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from robustfw.report.analyses import Layer, Lipschitz
from robustfw.report.drawing import COLOURS, INK, WIDTH, Drawing
from robustfw.report.gather import Material, Run
from robustfw.report.table import Table
from robustfw.report.words import cut, listed, number

MOST = 24
"""Layers in a figure."""
MEANING = (
    "In ℓ2. exact: by a singular value decomposition or a diagonal; iteration: σ_max of the operator as it is run, "
    "from below; known: of the activation; declared: by the layer's author. Layers that are known to have 1 are left "
    "out."
)


def tables(runs: Sequence[Run]) -> list[Table]:
    """One for each run: its layers, then the net."""
    return [_table(run, result) for run in runs for result in run.of(Lipschitz)]


def _shown(result: Lipschitz) -> list[Layer]:
    """All but activations and the like, which are known to have 1."""
    return [layer for layer in result.layers if layer.how != "known" or layer.bound != 1]


def _table(run: Run, result: Lipschitz) -> Table:
    rows = [(layer.name, layer.kind, number(layer.bound), layer.how) for layer in _shown(result)]
    upper = "product of the layers" if result.upper is not None else f"not by a product: {listed(result.unbounded)}"
    counted = f"{result.n} {result.split} examples"
    rows += [
        ("the net, at most", "", number(result.upper), upper),
        ("the net, at least", "", number(result.quantiles[-1]), f"steepest slope ‖J‖₂ at {counted}"),
        ("slope, median", "", number(result.at(0.5)), f"at {counted}"),
    ]
    columns = "layer", "kind", "Lipschitz constant", "how"
    command = [result.command] if result.command else []
    return Table(f"Lipschitz constants of {run.name}", columns, rows, MEANING, command)


def figures(material: Material) -> list[Drawing]:
    """For each run a bar for each layer, and the bounds of the net."""
    return [_figure(run, result) for run in material.runs for result in run.of(Lipschitz)]


def _figure(run: Run, result: Lipschitz) -> Drawing:
    title = f"Lipschitz constants of {run.name}"
    layers = [layer for layer in _shown(result) if layer.bound is not None]
    steepest = max(layers, key=lambda layer: layer.bound or 0.0, default=None)
    above = "nothing bounds it from above" if result.upper is None else f"at most {number(result.upper)}"
    most = f" The largest of a layer is {number(steepest.bound)}, of {steepest.name}." if steepest else ""
    alt = (
        f"{title}: the net's is at least {number(result.quantiles[-1])}, the steepest slope at {result.n} examples, "
        f"and {above}; the median slope is {number(result.at(0.5))}.{most}"
    )
    part = "" if len(layers) <= MOST else f" The first {MOST} of {len(layers)} layers are shown."
    caption = (
        "The spectral norm of each layer; for the net, their product where it bounds its constant, and below it the "
        f"slopes ‖J‖₂ at {result.n} {result.split} examples: a line over all, a bar over the middle half, a mark at "
        f"the median. The largest slope bounds the constant from below.{part}"
    )
    return Drawing("lipschitz", title, partial(_draw, result, layers[:MOST]), caption, alt, result.command)


def _draw(result: Lipschitz, layers: Sequence[Layer]) -> Figure:
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
    axes.plot([result.at(0.25), result.at(0.75)], [last, last], color=COLOURS[2], linewidth=7, solid_capstyle="butt")
    axes.plot(result.at(0.5), last, "|", color=INK, markersize=12, markeredgewidth=2)
    axes.text(high, last, f" {number(high)}", va="center", fontsize=9.5, color=INK)
    axes.set_yticks(range(last + 1), [cut(name, 24) for name, _, _ in bars] + ["the net, slopes"])
    axes.invert_yaxis()
    axes.set_xlabel("Lipschitz constant, ℓ2")
    axes.grid(axis="x")
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    return figure
