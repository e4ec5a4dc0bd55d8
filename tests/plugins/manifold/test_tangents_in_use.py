"""Tangents in a training, which shows them its training split only, and as pictures."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import attrs
import numpy as np
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

import robustfw
from robustfw import make, report, results
from robustfw_manifold.bases import Transform
from robustfw_manifold.command import draw
from robustfw_manifold.command import tangents as tangents_command


def examples(split, count):
    return next(split.first(count).iterate(count))


# Learning from data: only from the training split


@attrs.frozen
class Watched(robustfw.UncertaintySet):
    """Keeps what it was shown."""

    radius: float = 0.1
    seen: ClassVar[list[object]] = []

    def fit(self, train):
        Watched.seen.append(train)
        return self

    def at(self, x):
        return robustfw.make("uncertainty", "linf:radius=0.1").at(x)


def test_a_training_shows_the_set_its_training_split_once(digits):
    Watched.seen.clear()
    for _ in robustfw.train(
        dataset=digits, uncertainty=Watched(), attack="single-step", epochs=1, validation_examples=20
    ):
        pass
    assert len(Watched.seen) == 1
    assert Watched.seen[0] is digits.train


# Pictures


def test_the_tangents_are_drawn_as_pictures(digits):
    x, _ = examples(digits.test, 3)
    basis = Transform().at(x)
    figure = draw(x, basis)
    assert len(figure.axes) == 3 * 6
    image, first = (panel.images[0] for panel in figure.axes[:2])
    np.testing.assert_array_equal(image.get_array(), x[0, 0])
    np.testing.assert_array_equal(first.get_array(), basis[0, 0, 0])
    low, high = first.get_clim()
    assert -low == high == float(basis[0, 0].abs().max())  # white is no change


def test_the_command_writes_a_picture_and_says_what_is_wrong(tmp_path):
    run = CliRunner()
    said = run.invoke(
        tangents_command, ["--basis", "knn-pca:dim=3", "--examples", "2", "--out", str(tmp_path / "t.png")]
    )
    assert said.exit_code == 0, said.output
    assert "2 images" in said.output
    assert (tmp_path / "t.png").read_bytes().startswith(b"\x89PNG")
    for arguments, message in (
        (["--dataset", "two-moons"], "is no image"),
        (["--out", str(tmp_path / "t.txt")], "choose another ending"),
        (["--out", str(tmp_path / "no" / "t.png")], "choose another --out"),
        ([str(tmp_path / "no-run")], "there is no run"),
    ):
        error = run.invoke(tangents_command, [*arguments, "--examples", "1"]).exception
        assert message in str(error)


def test_the_tangents_of_a_run_are_those_that_it_was_trained_with_and_stand_in_its_report(tmp_path, digits):
    run = tmp_path / "run"
    penalty = "tangent-prop:basis=(knn-pca:n_components=3)"
    records = robustfw.train(dataset="digits", objective=["clean", penalty], epochs=1, validation_examples=5, out=run)
    assert len(list(records)) == 1
    invoke = partial(CliRunner().invoke, catch_exceptions=False)
    assert "5 images" in invoke(tangents_command, [str(run)], obj=["tangents", str(run)]).output
    (result,) = results.load_results(run, ["pictures"])
    assert result["command"] == f"robustfw tangents {run}"
    assert [row["diverging"] for row in result["rows"]] == [False, True, True, True]
    pictures = load_file(run / "results" / result["images"])
    x, _ = examples(digits.test, 5)
    torch.testing.assert_close(pictures["0"], (x - x.amin()) / (x.amax() - x.amin()))
    expected = make("basis", "knn-pca:dim=3").fit(digits.train).at(x)[:, 1]
    torch.testing.assert_close(pictures["2"], expected / expected.flatten(1).abs().amax(1)[:, None, None, None])
    page = report.write([run], tmp_path / "report.html").read_text()
    assert "Tangents (knn-pca:n_components=3) of run" in page
    said = CliRunner().invoke(tangents_command, [str(run), "--dataset", "digits"]).exception
    assert "leave out --dataset" in str(said)
