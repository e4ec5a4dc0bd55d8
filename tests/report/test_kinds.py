"""Kinds of results: each on the console and on the page, a plugin's as ours."""

from __future__ import annotations

import json

import pytest
import torch

import robustfw.results
from robustfw import PluginError, console, report, results
from robustfw.plugin.registry import Registry, installed
from robustfw.report._gather import gather
from robustfw.results._registered_kinds import kinds_by_name
from robustfw.results._worst_cases import WorstCasesKind
from robustfw.storage.files import json_bytes
from robustfw.testing import LawBroken, check

from . import plugin_calibration
from .test_page import Page, words

KNOWN = Registry({"results": robustfw.results, "calibration": plugin_calibration})
MEASURED = {"confidence": [0.5, 0.9], "accuracy": [0.4, 0.8], "n": 40}


def test_a_plugins_kind_is_kept_printed_and_shown(tmp_path, make, capsys):
    run = make.make_run(tmp_path / "run", make.evaluation(), make.audit())
    results.keep(run, "calibration", {"run": "run"}, MEASURED, "robustfw calibrate run")
    (kept,) = results.load_results(run, ["calibration"])
    console.show("calibration", kept, known=KNOWN)
    printed = capsys.readouterr()
    assert printed.out.splitlines()[-1] == "examples         40"
    assert "Warning: the net is surer than it is right" in printed.err
    source = report.write([run], known=KNOWN).read_text()
    text = words(source)
    assert "Calibration run confidence accuracy run 50 % 40 % 90 % 80 %" in text.replace("run 90", "90")
    assert "robustfw calibrate run" in text
    assert "run is right 80% where it is 90% sure." in [drawing["aria-label"] for drawing in Page(source).all("svg")]
    assert (run / "figures" / "calibration.png").exists()
    assert text.index("Calibration run") < text.index("Audit of run"), "at the place that the kind asks for"


def test_a_plugins_kind_obeys_the_laws_and_a_broken_one_does_not():
    check(plugin_calibration.CalibrationKind())

    class Ragged(plugin_calibration.CalibrationKind):
        def tables(self, material):
            return [robustfw.results.Table("a", ("b", "c"), [("only one",)])] if material.runs else []

    class Silent(plugin_calibration.CalibrationKind):
        def lines(self, result, labels=None):
            return iter(())

    class Unread(plugin_calibration.CalibrationKind):
        def example(self):
            return {"n": "many"}

    for broken in (Ragged, Silent, Unread):
        with pytest.raises((LawBroken, AssertionError)):
            check(broken())


def test_an_unknown_kind_and_a_result_of_another_form_name_what_is_wrong():
    with pytest.raises(PluginError, match="no kind of result is called 'prophecy'"):
        console.show("prophecy", {})
    with pytest.raises(PluginError, match="'sweep'"):
        console.show("sweep", {"radii": 3})


@pytest.mark.parametrize("kind", [entry.name for entry in installed().entries_of_kind("result")])
def test_every_kind_can_be_printed_from_its_file(kind, capsys):
    """What a file holds, JSON, is enough for the console."""
    example = json.loads(json_bytes(dict(kinds_by_name()[kind].example())))
    console.show(kind, example)
    assert capsys.readouterr().out.strip()


REGRESSION = {
    "task": "regression:tolerance=50",
    "per_class": [],
    "metrics": {"mean error": {"clean": 41.25, "robust": 55.0}, "worst error": {"clean": 160.0, "robust": None}},
}


def test_an_evaluation_of_a_regression_says_within_tolerance(make, tmp_path, capsys):
    result = make.evaluation(**REGRESSION)
    console.show("evaluation", result)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("clean             95.50%   191 of 200 within tolerance, 95 % interval")
    assert "mean error       clean 41.25, robust 55" in lines
    assert "task             regression:tolerance=50" in lines
    source = report.write([make.make_run(tmp_path / "run", result, result=result)]).read_text()
    text = words(source)
    assert "run is within tolerance on 95.5 % of 200 test examples; 52.5 %" in text
    assert "105 of 200 within tolerance" in text
    assert "run task set attacks metric clean robust n" in text
    assert "worst error 160 – 200" in text
    assert not [alt for alt in (d["aria-label"] for d in Page(source).all("svg")) if alt.startswith("Classes")]


@pytest.mark.parametrize(
    ("task", "said"), [("multilabel", "all labels right"), ("segmentation:share=0.1", "right"), ("binary", "")]
)
def test_what_is_counted_as_right_is_said_for_each_task(task, said, make, capsys):
    console.show("evaluation", make.evaluation(task=task))
    first = capsys.readouterr().out.splitlines()[0]
    assert f" of 200 {said}, 95 %".replace(" ,", ",") in first
    assert first.startswith("clean accuracy") == (not said)


def worst_cases(run, shape, n=12):
    x = torch.rand(n, *shape, generator=torch.Generator().manual_seed(0))
    moved = (x + 0.1).clamp(max=1)
    circumstances = {"run": str(run), "split": "test", "uncertainty": "linf:radius=0.1", "attacks": ["pgd:steps=40"]}
    names = [str(i) for i in range(n)]
    return results.keep_worst_cases(
        run, circumstances, x, moved, names, [f"not {i}" for i in names], "robustfw evaluate"
    )


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 6, 6)])
def test_worst_cases_that_are_images_are_drawn_without_a_collection(shape, tmp_path, report, make):
    run = make.make_run(tmp_path / "run")
    kept = json.loads(worst_cases(run, shape).read_text())
    assert len(kept["examples"]) == 10
    source = report(run)[2]
    (alt, *_) = [drawing["aria-label"] for drawing in Page(source).all("svg")]
    assert alt.startswith("10 examples that pgd:steps=40 fools run with, within linf:radius=0.1: 0 becomes not 0, 1")
    drawn = source[source.index('id="worst-cases"') : source.index('id="training"')]
    assert drawn.count("<image") == 30


def test_of_the_seeds_of_a_net_one_gallery_is_drawn(reproduction):
    runs = json.loads((reproduction / "reproduction.json").read_text())["runs"]
    for member in runs:
        worst_cases(reproduction / member["path"], (1, 4, 4), n=3)
    drawings = WorstCasesKind().figures(gather([reproduction]))
    assert len(drawings) == len({member["net"] for member in runs}) < len(runs)


def test_worst_cases_that_are_no_images_are_listed(tmp_path, report, make):
    run = make.make_run(tmp_path / "run")
    worst_cases(run, (13,), n=2)
    text = words(report(run)[2])
    assert "Worst cases run set before after largest change entries changed run linf:radius=0.1 0 not 0 0.1 13" in text


def test_no_worst_case_leaves_no_file_and_unequal_counts_are_refused(tmp_path):
    nothing = torch.zeros(0, 1, 8, 8)
    assert results.keep_worst_cases(tmp_path, {}, nothing, nothing, [], [], "") is None
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="not of the same examples"):
        results.keep_worst_cases(tmp_path, {}, torch.zeros(2, 3), torch.zeros(2, 3), ["a"], ["b", "c"], "")


def test_advice_stands_beside_failed_lines_only(tmp_path, report, make):
    passed = {"name": "one step", "verdict": "passed", "found": "0 of 5", "advice": "the attack has not converged"}
    failed = {"name": "noise", "verdict": "failed", "found": "5 of 5", "advice": "look at the gradient"}
    sound = words(report(make.make_run(tmp_path / "sound", make.audit(verdict="sound", lines=[passed])))[2])
    assert "the attack has not converged" not in sound
    assert "check verdict found one step" in sound
    both = words(report(make.make_run(tmp_path / "both", make.audit(lines=[passed, failed])))[2])
    assert "the attack has not converged" not in both
    assert "look at the gradient" in both


def test_radii_stand_below_each_other(tmp_path, report, make):
    one = words(report(make.make_run(tmp_path / "one", make.sweep()))[2])
    assert "radius one 0 97.5 % (93.5 to 100.0) 0.05" in one
    runs = [make.make_run(tmp_path / f"r{i}", make.sweep()) for i in range(13)]
    many = words(report(*runs)[2])
    assert "run 0 0.05 0.1" in many, "more runs than radii: the runs stand below each other"


def test_the_training_curve_comes_before_the_results(run, report):
    ids = [figure["id"] for figure in Page(report(run)[2]).all("figure")]
    assert ids[0] == "training"


def test_a_collection_alone_has_a_page(collection, report):
    status, said, source = report(collection)
    assert (status, said) == (0, f"report: {collection / 'report.html'}\n")
    text = words(source)
    assert "a holds 40 adversarial examples crafted against a, within linf:radius=0.1 and l0:radius=1.0." in text
    assert len(Page(source).all("figure")) == 2


def test_fooling_images_are_listed_by_the_names_of_the_classes(make, capsys):
    from robustfw import console

    console.show("fooling", make.fooling(), tuple("abcdefghij"))
    rows = [line.split()[0] for line in capsys.readouterr().out.splitlines() if " after " in line]
    assert rows == list("abcdefghij")
