"""The page of a reproduction with its collections, and pages of what the real commands leave."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import numpy as np
import pytest

from robustfw import results

from .test_page import Page, words


def test_ids_are_unique_and_references_lead_to_them(reported_reproduction):
    source = reported_reproduction.page
    ids = [attributes["id"] for _, attributes in Page(source).elements if "id" in attributes]
    assert len(ids) == len(set(ids)) > 50
    references = re.findall(r"url\(#([^)]+)\)", source)
    references += [a["href"][1:] for _, a in Page(source).elements if a.get("href", "").startswith("#")]
    assert set(references) <= set(ids)


def test_a_reproduction_begins_with_its_findings(reported_reproduction):
    text = words(reported_reproduction.page)
    summary = text.index("Robust training raised accuracy at radius 0.1 from 20.1 % to 81.2 %.")
    claims = text.index("✗ not confirmed")
    assert summary < text.index("Of 3 claims: 1 confirmed, 1 not confirmed, 1 undecided.") < claims
    assert claims < text.index("Table 1 net clean plain 98.9 % of 3 seeds")
    assert text.index("robust, ℓ∞, seed 2") > claims
    assert "95 % t-interval" in text
    assert "mean of up to 2 results" in text
    assert "It generalises better all ✗ not confirmed robust, ℓ2 ✗ not confirmed +0.3 -0.4" in text, "one name for both"


def test_each_mode_of_a_reproduction_has_figures_of_its_own(reproduction, report):
    file = reproduction / "reproduction.json"
    made = json.loads(file.read_text())
    for member in made["runs"]:
        member["mode"] = "one" if member["net"] == "plain" else "other"
    file.write_text(json.dumps(made))
    page = Page(report(reproduction)[2])
    alts = [drawing["aria-label"] for drawing in page.all("svg")]
    for kind in ("Training", "Transfer", "Classes"):
        assert [alt.split(":")[0].split(" of ")[0] for alt in alts if alt.startswith(kind)] == [
            f"{kind}, one",
            f"{kind}, other",
        ]
    (swept, others) = (alt for alt in alts if alt.startswith("Accuracy against"))
    assert "plain falls" in swept
    assert "robust" not in swept
    assert "robust, ℓ∞ falls" in others


def test_the_matrix_is_of_pairs_of_one_seed(reproduction, report):
    """Collections of nets of another seed are told apart from those of the nets that began at the same weights."""
    from robustfw.report._gather import gather
    from robustfw.results._transfer import accuracy_matrix

    material = gather([reproduction])
    found = accuracy_matrix(material, material.runs)
    assert len(found["plain", "plain"]) == 1
    assert len(found["plain, another seed", "plain"]) == 2


def test_the_first_figure_of_a_collection_is_that_of_single_pixels(reported_reproduction):
    source = reported_reproduction.page
    page = Page(source)
    first = page.all("svg")[0]["aria-label"]
    assert first.startswith("5 examples of plain-0, each changed in one pixel")
    assert re.search(r"0 with \d\d % becomes 3 with \d\d %, 1 with", first)
    assert "from all its sets (a: linf:radius=0.1; b: l0:radius=1.0)" in html.unescape(source)


def test_where_no_example_differs_in_one_pixel_the_fewest_are_shown(tmp_path, report, make):
    run = make.make_run(tmp_path / "run")
    make.make_collection(run / "transfer" / "x", *make.digits(channels=3), pixels=3)
    assert "each changed in 3 pixels" in report(run)[2]


def test_examples_that_are_no_images_are_not_drawn(tmp_path, report, make):
    run = make.make_run(tmp_path / "run")
    folder = make.make_collection(run / "transfer" / "x", *make.digits())
    make.change_tensors(folder, original=np.zeros((40, 2), np.float32), adversarial=np.ones((40, 2), np.float32))
    status, _, source = report(run)
    assert status == 0
    assert len(Page(source).all("figure")) == 1


def test_the_report_of_a_real_training(tmp_path, report):
    from robustfw.cli import main

    training = ["--epochs", "1", "--attack", "pgd:steps=1", "--validation-examples", "50"]
    with pytest.raises(SystemExit):
        main(["train", *training, "--out", str(tmp_path / "real")])
    from robustfw.storage.runs import Run

    result = Run.open(tmp_path / "real").manifest()["result"]
    _, said, _ = report(tmp_path / "real")
    source = (tmp_path / "real" / "report.html").read_text()
    assert said.endswith(f"report: {tmp_path / 'real' / 'report.html'}\n")
    assert f"{result['robust']} of {result['n']}" in words(source)
    assert len(Page(source).all("figure")) == 3


def test_results_of_the_real_commands(tmp_path, report, monkeypatch, capsys):
    from robustfw.cli import main

    monkeypatch.chdir(tmp_path)
    few = ["--examples", "40"]
    for command in (
        ["train", "--epochs", "1", "--attack", "pgd:steps=1", "--out", "run"],
        ["train", "--epochs", "1", "--objective", "clean", "--out", "other"],
        ["evaluate", "run", *few],
        ["sweep", "run", *few, "--radii", "0,0.1,0.2"],
        ["craft", "other", "--uncertainty", "linf:radius=0.1", "--uncertainty", "l1:radius=1e-6", "--out", "made"],
        ["evaluate", "run", "--on", "made"],
        ["compare", "run", "other", *few],
        ["audit", "run", *few, "--attack", "pgd:steps=5"],
        ["analyze", "run", *few, "--steps", "5", "--generations", "5"],
    ):
        with pytest.raises(SystemExit) as ended:
            main(command)
        assert not ended.value.code
    capsys.readouterr()
    status, _, page = report("run", "other")
    assert status == 0
    text = words(page)
    for command in ("evaluate run --on made", "compare run other", "audit run", "analyze run"):
        assert f"robustfw {command}" in text
    assert "l1:radius=1e-06 –, 0 of 0" in text  # a set that fools nobody
    assert len(Page(page).all("figure")) >= 9
    (pairs,) = results.load_results(Path("run"), ["comparison"])
    gain = 100 * pairs["clean"]["difference"]
    assert "second − first" in text
    assert f"{gain:+.2f}".replace("-", "−") in text or f"{gain:+.2f}" in text
