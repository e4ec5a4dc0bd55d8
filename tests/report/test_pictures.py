"""Rows of pictures that a command of a plugin keeps by `robustfw.results.keep_pictures`."""

from __future__ import annotations

import json
import re

import pytest
import torch

from robustfw import results
from robustfw.errors import RobustfwWarning
from robustfw.results import Pictures

from .test_page import words

SAID = {"title": "Ghosts & <b>", "caption": "What haunts it.", "alt": "Seven ghosts, and what they did."}


def kept(run, count=7, side=4):
    ghosts = torch.rand(count, 1, side, side, generator=torch.Generator().manual_seed(0))
    rows = [
        Pictures("ghost", ghosts, [f"no. {i}" for i in range(count)]),
        Pictures("change", 2 * ghosts - 1, [""] * count, diverging=True),
    ]
    return results.keep_pictures(run, {"of": "ghosts"}, SAID, rows, "robustfw haunt run")


def test_rows_become_a_figure_of_five_columns(tmp_path, report, make):
    run = make.make_run(tmp_path / "run")
    kept(run)
    status, _, page = report(run)
    assert status == 0
    drawing = re.search(r'<svg[^>]*aria-label="Seven ghosts, and what they did\.".*?</svg>', page, re.DOTALL)[0]
    assert drawing.count("<image") == 2 * 5
    assert "no. 4" in drawing
    assert "no. 5" not in drawing
    assert "Ghosts &amp; &lt;b&gt; of run" in page
    assert "What haunts it." in page
    assert "robustfw haunt run" in words(page)


def test_pictures_of_two_sizes_are_refused(tmp_path):
    rows = [Pictures("a", torch.zeros(1, 1, 2, 2), [""]), Pictures("b", torch.zeros(1, 1, 2, 3), [""])]
    with pytest.raises(ValueError, match="one shape"):
        results.keep_pictures(tmp_path, {}, SAID, rows, "")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_none_is_said(tmp_path):
    file = tmp_path / "run"
    file.write_text("")
    with pytest.warns(RobustfwWarning, match=r"could not be kept in .*Not a directory"):
        kept(file)


@pytest.mark.parametrize("change", [{"shape": [1, 4, 5]}, {"images": "other.safetensors"}, {"rows": [{"name": "x"}]}])
def test_what_does_not_fit_is_said(change, tmp_path, report, make):
    run = make.make_run(tmp_path / "run")
    path = kept(run)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    status, said, _ = report(run)
    assert status == 1
    assert said.startswith("Error: ")
    assert "is damaged" in said
