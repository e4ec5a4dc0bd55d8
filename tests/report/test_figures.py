"""What figures compute: bands, factors, choices, and SVG that can stand in a page with others."""

from __future__ import annotations

import itertools
from pathlib import Path

import matplotlib.style
import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy import stats

from robustfw.report._collection_examples import take_turns
from robustfw.report._svg import SETTINGS, inline
from robustfw.results._material import Material, ReportedRun
from robustfw.results._picture_grid import LINE, magnification, rows_of_changes
from robustfw.results._style import show_percent
from robustfw.results._sweep import SweepKind
from robustfw.results._sweep_fields import SweepFields
from robustfw.results._sweep_figures import SweepLine
from robustfw.results._words import chance, drop_radius, join_words, number, points


def swept(*accuracy: float) -> SweepFields:
    near = tuple((a - 0.1, a + 0.1) for a in accuracy)
    return SweepFields("linf", "pgd", 10, (0.0, 0.1), (1, 1), accuracy, near)


def test_the_band_of_one_run_is_its_own_interval():
    assert [b.tolist() for b in SweepLine("a", (swept(0.5, 0.25),)).band()] == [[0.4, 0.15], [0.6, 0.35]]


def test_the_band_of_two_seeds_is_their_range():
    assert [b.tolist() for b in SweepLine("a", (swept(0.5, 0.2), swept(0.7, 0.1))).band()] == [[0.5, 0.1], [0.7, 0.2]]


def test_the_band_of_three_seeds_is_the_t_interval():
    values = [0.5, 0.6, 0.7]
    low, high = SweepLine("a", tuple(swept(value, 0.0) for value in values)).band()
    known = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert (low[0], high[0]) == pytest.approx(known, abs=1e-3)
    assert (low[1], high[1]) == (0, 0)


@pytest.mark.parametrize("largest", [0.015, 0.02, 0.0005, 0.3, 8.0])
def test_the_labels_of_radii_stand_apart(largest):
    radii = tuple(np.linspace(0, largest, 7))
    sweep = SweepFields("linf", "pgd", 10, radii, (5,) * 7, (0.5,) * 7, ((0.4, 0.6),) * 7)
    run = ReportedRun(Path("a"), "a", None, "", None, {}, (), (sweep,), None)
    (drawing,) = SweepKind().figures(Material((run,), (), None, ()))
    with matplotlib.style.context(["default", SETTINGS]):
        figure = drawing.draw()
        figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in figure.axes[0].get_xticklabels() if label.get_text()]
    assert all(right.x0 - left.x1 > 3 for left, right in itertools.pairwise(boxes))


@pytest.mark.parametrize(("largest", "times"), [(1.0, 1), (0.5, 2), (0.1, 10), (0.3, 3), (8 / 255, 30), (0.0, 100)])
def test_the_factor_is_the_greatest_that_fits(largest, times):
    assert magnification(np.array([[[0.0, -largest]]], dtype=np.float32)) == times


def test_sets_and_classes_are_chosen_in_turn():
    sets, classes = np.array([0, 0, 0, 0, 1, 1]), np.array([3, 3, 4, 4, 3, 3])
    assert take_turns(sets, classes, 5) == [0, 4, 2, 5, 1]
    assert take_turns(sets, classes, 100) == [0, 4, 2, 5, 1, 3]


def test_a_drawing_keeps_its_text_and_has_ids_of_its_own():
    svg = b"""<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="9">
    <metadata>x</metadata><text id="a" style="fill: #1b1c1d">id="a" &lt;b&gt;</text>
    <use xlink:href="#a" clip-path="url(#a)"/></svg>"""
    made = inline(svg, "one", 'a "b" <c>')
    assert '<text id="one-a" style="fill: currentColor">id="a" &lt;b&gt;</text>' in made
    assert 'href="#one-a"' in made
    assert "url(#one-a)" in made
    assert 'aria-label="a &quot;b&quot; &lt;c&gt;"' in made
    for gone in ("metadata", "xmlns", "width=", "http"):
        assert gone not in made


@pytest.mark.parametrize(
    ("spec", "without"),
    [
        ("linf:radius=0.1", "linf"),
        ("linf", "linf"),
        ("l2:radius=[0.1,0.2],center=1", "l2:center=1"),
        ("l2:center=1,radius=8/255", "l2:center=1"),
        ("annulus:inner_radius=3,radius=5", "annulus:inner_radius=3"),
        ("annulus:inner_radius=3", "annulus:inner_radius=3"),
        ("scaled:set=(linf:radius=0.1),radius=2", "scaled:set=(linf:radius=0.1)"),
        ("union:sets=[(linf:radius=0.1),(l2:radius=1)]", "union:sets=[(linf:radius=0.1),(l2:radius=1)]"),
        ("union:sets=[(linf:radius=0.1),l2],radius=2", "union:sets=[(linf:radius=0.1),l2]"),
        ("no spec (radius=1", "no spec (radius=1"),
    ],
)
def test_a_spec_without_its_radius(spec, without):
    assert drop_radius(spec) == without


def test_words():
    assert join_words([]) == "none"
    assert join_words(["a"]) == "a"
    assert join_words(["a", "b", "c"]) == "a, b and c"
    assert join_words(["a", "b", "c"], 2) == "a, b and 1 more"
    assert (number(None, "> 3"), number(0.12345), number(2.0)) == ("> 3", "0.1235", "2")
    assert (chance(None), chance(0.0001), chance(0.25)) == ("–", "< 0.001", "0.250")
    assert points(0.1, (-0.05, 0.2)) == "+10.00 points (-5.00 to +20.00)"


@pytest.mark.parametrize(
    ("low", "high", "written"),
    [(0.66, 0.91, ["70 %", "75 %", "80 %", "85 %", "90 %"]), (0.985, 0.995, ["98.6 %", "98.8 %", "99.0 %"])],
)
def test_an_axis_of_shares_has_as_many_decimals_as_its_ticks_need(low, high, written):
    axes = Figure().subplots()
    axes.set_ylim(low, high)
    show_percent(axes, "accuracy")
    found = [label.get_text() for label in axes.get_yticklabels()]
    assert [label for label in found if label in written] == written


def test_words_beneath_pictures_do_not_run_into_each_other():
    pictures = np.zeros((3, 1, 4, 4), np.float32)
    said = ["cat, 9 %", "automobile, 32 %", "a name longer than any picture is wide, 7 %"]
    rows = rows_of_changes(pictures, pictures, ["cat"] * 3, said)
    assert rows[-1].words == ["cat, 9 %", "automobile\n32 %", "a name longe…\n7 %"]
    assert all(len(line) <= LINE for words in rows[-1].words for line in words.split("\n"))
