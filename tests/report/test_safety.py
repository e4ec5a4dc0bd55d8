"""A run from elsewhere: nothing outside is read or written, and nothing but text reaches page and console."""

from __future__ import annotations

import json
import os
import sys

import pytest

from robustfw import RobustfwWarning, console, results
from robustfw.report._folder import LISTING

from .test_misuse import refused  # noqa: F401  (a fixture)
from .test_page import Page, words
from .test_pictures import kept

TRICKS = "a\x00b\x1b[31mc\u202ed\u2066e\u200ff"
"""NUL, ESC, and marks that turn text around."""


def test_a_link_in_the_place_of_the_page_is_not_followed(small_run, report, tmp_path):
    theirs = tmp_path / "theirs.txt"
    theirs.write_text("mine")
    (small_run / "report.html").symlink_to(theirs)
    assert report(small_run)[0] == 0
    assert theirs.read_text() == "mine"
    assert not (small_run / "report.html").is_symlink()


def test_a_folder_of_figures_that_is_a_link_is_refused(run, refused, tmp_path):  # noqa: F811
    (tmp_path / "theirs").mkdir()
    (run / "figures").symlink_to(tmp_path / "theirs")
    refused(run, "figures", "no folder")
    assert not list((tmp_path / "theirs").iterdir())
    assert not (run / "report.html").exists()


def test_a_link_in_the_place_of_a_figure_is_left(small_run, report, tmp_path):
    theirs = tmp_path / "theirs.png"
    theirs.write_bytes(b"mine")
    (small_run / "figures").mkdir()
    (small_run / "figures" / "training.png").symlink_to(theirs)
    _, _, source = report(small_run)
    assert theirs.read_bytes() == b"mine"
    assert 'href="figures/training-2.png"' in source
    assert (small_run / "figures" / "training-2.png").read_bytes().startswith(b"\x89PNG")


def test_files_of_others_beside_the_page_are_kept(small_run, report, tmp_path):
    """A page of several runs is written here, where there may be a folder of figures already."""
    (tmp_path / "figures").mkdir()
    thesis = tmp_path / "figures" / "radius.pdf"
    thesis.write_bytes(b"of my thesis")
    other = tmp_path / "figures" / "transfer-3.png"
    other.write_bytes(b"of my thesis")
    for _ in range(2):
        source = report(small_run, "--out", tmp_path / "report.html")[2]
        assert thesis.read_bytes() == other.read_bytes() == b"of my thesis"
        assert 'href="figures/radius-2.pdf"' in source
    assert sorted(each.name for each in (tmp_path / "figures").glob("radius*")) == [
        "radius-2.pdf",
        "radius-2.png",
        "radius.pdf",
    ]


def test_two_pages_in_one_folder_keep_their_figures(small_run, report, tmp_path):
    first = report(small_run, "--out", tmp_path / "one.html")[2]
    before = {a["href"]: (tmp_path / a["href"]).read_bytes() for a in Page(first).all("a") if a["href"][0] != "#"}
    (small_run / "metrics.jsonl").write_text((small_run / "metrics.jsonl").read_text().splitlines()[0] + "\n")
    report(small_run, "--out", tmp_path / "two.html")
    assert {name: (tmp_path / name).read_bytes() for name in before} == before


@pytest.mark.parametrize("listing", ['{"report.html": ["../manifest.json", "/etc/passwd"]}', "[", '{"report.html": 3}'])
def test_a_listing_from_elsewhere_removes_nothing_outside(listing, small_run, report):
    (small_run / "figures").mkdir()
    (small_run / "figures" / LISTING).write_text(listing)
    assert report(small_run)[0] == 0
    assert (small_run / "manifest.json").exists()
    assert "report.html" in json.loads((small_run / "figures" / LISTING).read_text())


@pytest.mark.parametrize("kind", ["pictures", "fooling"])
@pytest.mark.parametrize("name", ["../../secret.safetensors", "/tmp/secret.safetensors", "..", "a/b.safetensors", ""])
def test_pictures_elsewhere_are_refused(kind, name, tmp_path, report, make):
    run = make.make_run(tmp_path / "run", *([make.fooling(images=name)] if kind == "fooling" else []))
    if kind == "pictures":
        path = kept(run)
        path.write_text(json.dumps(json.loads(path.read_text()) | {"images": name}))
    status, said, _ = report(run)
    assert status == 1
    assert "is not a file beside it" in said
    assert not (run / "report.html").exists()


@pytest.mark.parametrize("place", ["manifest.json", "metrics.jsonl", "results/sweep-1.json", "results", "images"])
def test_links_within_a_run_are_refused(place, run, refused, tmp_path):  # noqa: F811
    path = run / ("results/fooling.safetensors" if place == "images" else place)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    refused(run, "by a link" if place != "results" else "link")


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pipes among files")
def test_a_pipe_is_refused_and_not_waited_for(run, refused):  # noqa: F811
    os.mkfifo(run / "results" / "a.json")
    refused(run, "no plain file")


def test_a_collection_elsewhere_is_not_read(tmp_path, report, make, monkeypatch):
    make.make_collection(tmp_path / "theirs", *make.digits())
    run = make.make_run(tmp_path / "a" / "b" / "c" / "run", make.transfer(collection="../../../../theirs"))
    monkeypatch.chdir(tmp_path / "a")
    status, _, source = report(run)
    assert status == 0
    assert "The examples of ../../../../theirs are not shown" in words(source)
    assert "one pixel" not in source


@pytest.mark.parametrize("path", ["../outside", "/tmp"])
def test_a_reproduction_reads_its_own_runs_only(path, reproduction, refused):  # noqa: F811
    file = reproduction / "reproduction.json"
    made = json.loads(file.read_text())
    made["runs"][0]["path"] = path
    file.write_text(json.dumps(made))
    refused(reproduction, "leads out of it")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"epoch": ' + "1" * 5000 + "}", "an integer has 5000 digits"),
        ('{"epoch": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deeply"),
        ('{"epoch": NaN}', "NaN is no number of JSON"),
        ('{"epoch": 1e999}', "too large"),
    ],
)
@pytest.mark.parametrize("place", ["metrics.jsonl", "manifest.json", "results/x.json"])
def test_json_that_no_program_of_ours_writes_is_one_sentence(text, why, place, run, refused):  # noqa: F811
    (run / place).write_text(text + "\n")
    refused(run, "is damaged", why)


def test_no_control_character_or_direction_mark_reaches_the_page(tmp_path, report, make):
    run = make.make_run(tmp_path / "run", make.evaluation(uncertainty=TRICKS, command=TRICKS))
    with (run / "metrics.jsonl").open("a") as file:
        line = {"epoch": 4, "loss": 1.0, "clean_accuracy": 0.5, "robust_accuracy": 0.4, "warnings": [TRICKS]}
        file.write(json.dumps(line) + "\n")
    source = report(run)[2]
    assert "run, epoch 4: a�b�[31mc�d�e�f" in words(source)
    assert not set(source) & set(TRICKS) - set("abcdef[31m")


def test_no_control_character_or_direction_mark_reaches_the_console(capsys):
    console.line(TRICKS)
    console.problem(TRICKS)
    console.table(TRICKS, ["", TRICKS], [[TRICKS, TRICKS]])
    console.paragraph(TRICKS, TRICKS)
    printed = capsys.readouterr()
    assert "a�b�[31mc�d�e�f" in printed.out
    assert not set(printed.out + printed.err) & set(TRICKS) - set("abcdef[31m")


def test_results_are_not_written_through_a_link(tmp_path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "results").symlink_to(tmp_path / "theirs")
    with pytest.warns(RobustfwWarning, match="is a link"):
        assert results.keep(tmp_path, "evaluation", {}, {}, "") is None
    assert not list((tmp_path / "theirs").iterdir())
