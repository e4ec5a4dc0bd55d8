"""What `robustfw analyze` left, as tables and figures."""

from __future__ import annotations

import re

import numpy as np
import pytest

from .test_page import Page, words


def alternatives(page, start):
    return [drawing["aria-label"] for drawing in Page(page).all("svg") if drawing["aria-label"].startswith(start)]


def test_the_matrices_of_pairs(tmp_path, report, make):
    status, _, page = report(make.make_run(tmp_path / "run", make.distinguishability()))
    assert status == 0
    data, features = alternatives(page, "Distances of classes")
    assert "above 0.525 between 0, 1, the closest of 45 pairs, and above 1.125 between 8, 9" in data
    assert features.startswith("Distances of classes: features of run")
    text = words(page)
    assert "the net's own, measured 0.21 (0, 1)" in text
    assert "√(½‖C₁ − C₂‖_*)" in text


def test_many_classes_are_cut_to_the_closest(tmp_path, report, make):
    pairs = [
        {"first": i, "second": j, "linear": 1.0 + i + j, "quadratic": 2.0} for i in range(30) for j in range(i + 1, 30)
    ]
    spaces = [{"name": "data", "dimension": 4, "pairs": pairs}]
    page = report(make.make_run(tmp_path / "run", make.distinguishability(spaces=spaces)))[2]
    assert "The 10 of 30 classes with the closest pairs." in words(page)


def test_a_single_pair_and_none(tmp_path, report, make):
    pair = {"first": 0, "second": 1, "linear": 0.0, "quadratic": 0.0}
    one = make.distinguishability(spaces=[{"name": "data", "dimension": 1, "pairs": [pair]}])
    none = make.distinguishability(spaces=[{"name": "data", "dimension": 1, "pairs": []}])
    runs = [make.make_run(tmp_path / name, result) for name, result in (("one", one), ("none", none))]
    status, _, page = report(*runs)
    assert status == 0
    (alt,) = alternatives(page, "Distances of classes")
    assert "1 pair," in alt


def test_the_images_that_fool(tmp_path, report, make):
    run = make.make_images(make.make_run(tmp_path / "run", make.fooling()))
    status, _, page = report(run)
    assert status == 0
    (alt,) = alternatives(page, "Fooling images")
    assert "10 of 10 classes by gradient within 200 rounds and 9 of 10 classes by evolution within 50 rounds" in alt
    drawing = re.search(r"<svg[^>]*Fooling.*?</svg>", page, re.DOTALL)[0]
    assert drawing.count("<image") == 20
    assert "9, 42 %" in drawing


@pytest.mark.parametrize(("shape", "n"), [((3, 8, 8), 10), ((2, 4, 4), 10)])
def test_images_of_several_channels(shape, n, tmp_path, report, make):
    run = make.make_images(make.make_run(tmp_path / "run", make.fooling(shape=list(shape))), *shape)
    status, _, page = report(run)
    assert status == 0
    assert page.count("<image") == 2 * n


def test_vectors_have_a_table_and_no_figure(tmp_path, report, make):
    run = make.make_images(make.make_run(tmp_path / "run", make.fooling(shape=[64])), 64)
    status, _, page = report(run)
    assert status == 0
    assert not alternatives(page, "Fooling images")
    assert "10 of 10" in words(page)


@pytest.mark.parametrize("wrong", ["missing", "damaged", "another shape"])
def test_images_that_cannot_be_shown(wrong, tmp_path, report, make):
    run = make.make_images(make.make_run(tmp_path / "run", make.fooling()), *((1, 4, 4) if wrong[0] == "a" else ()))
    file = run / "results" / "fooling.safetensors"
    if wrong == "missing":
        file.unlink()
    if wrong == "damaged":
        file.write_bytes(b"x")
    status, said, _ = report(run)
    assert status == 1
    assert said.startswith("Error: ")
    assert "fooling.safetensors is damaged" in said


def test_constants_of_layers_and_net(tmp_path, report, make):
    status, _, page = report(make.make_run(tmp_path / "run", make.lipschitz()))
    assert status == 0
    (alt,) = alternatives(page, "Lipschitz constants")
    assert "at least 4.4, the steepest slope at 200 examples, and at most 9.306; the median slope is 2.2." in alt
    assert "The largest of a layer is 3.5, of 2." in alt
    text = words(page)
    assert "the net, at most 9.306 product of the layers" in text
    assert "ReLU" not in text, "known to have 1"


def test_a_net_without_a_bound(tmp_path, report, make):
    layers = [{"name": "3", "kind": "LayerNorm", "bound": None, "how": "unknown"}]
    result = make.lipschitz(layers=layers, upper=None, unbounded=["3", "4 (PreActBlock)"])
    status, _, page = report(make.make_run(tmp_path / "run", result))
    assert status == 0
    assert "the net, at most – not by a product: 3 and 4 (PreActBlock)" in words(page)
    assert "nothing bounds it from above" in alternatives(page, "Lipschitz constants")[0]


@pytest.mark.parametrize("quantiles", [[0.0] * 7, [1e-9, 1e-5, 0.1, 1.0, 10.0, 1e4, 1e9]])
def test_slopes_of_any_size_can_be_drawn(quantiles, tmp_path, report, make):
    status, _, page = report(make.make_run(tmp_path / "run", make.lipschitz(quantiles=quantiles)))
    assert status == 0
    assert "mathdefault" not in page, "formulas are not set"


def test_shades_and_numbers_of_the_matrix():
    from robustfw.results._pair_matrix import _shades, _three

    assert _shades([1.0, 3.0, 2.0]) == pytest.approx([0.05, 0.95, 0.5])
    assert _shades([2.0]) == [0.5]
    assert [_three(value) for value in (0.123, 9.87, 12.34, 123.4)] == ["0.12", "9.87", "12.3", "123"]
    assert np.isfinite(_shades([0.0, 0.0])).all()


@pytest.mark.parametrize(
    ("kind", "changed"),
    [
        ("lipschitz", {"quantiles": [1.0]}),
        ("lipschitz", {"levels": [0.1] * 7}),
        ("fooling", {"searches": []}),
        ("distinguishability", {"spaces": [{"name": "data"}]}),
    ],
)
def test_damaged_results(kind, changed, tmp_path, report, make):
    run = make.make_run(tmp_path / "run", getattr(make, kind)(**changed))
    status, said, _ = report(run)
    assert status == 1
    assert f"{kind}-0.json is damaged" in said
