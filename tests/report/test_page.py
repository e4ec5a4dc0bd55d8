"""The page: every number of the results, nothing that could run or load, and clear words about what is damaged."""

from __future__ import annotations

import html
import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from robustfw import results

from .conftest import LINF, evaluation, make_collection, make_run, sweep, write

NASTY = "<script>alert(1)</script>\"'&<b>"


def figures(page):
    return re.findall(r"<figure.*?</figure>", page, re.DOTALL)


def test_numbers_with_denominators_and_commands(run, collection, report):
    status, _, page = report(run)
    assert status == 0
    text = html.unescape(re.sub(r"<[^>]+>", " ", page))
    for number in ("191 of 200", "105 of 200", "31 of 40", "77.50 %", "75.00 %", "12 of 20", "0.137", "< 0.001"):
        assert number in text, number
    for command in (
        "robustfw evaluate runs/a",
        "robustfw sweep runs/a",
        "robustfw compare runs/a runs/b",
        "robustfw audit",
    ):
        assert command in text
    for word in ("suspicious", "✓ passed", "✗ failed", "not checked", "raise it", "abc1234", "a processor"):
        assert word in text, word
    assert "3cf519d5" in text


def test_it_runs_nothing_and_loads_nothing(reproduction, run, report):
    for path in (reproduction, run):
        _, _, page = report(path)
        assert "<script" not in page.lower()
        assert not re.search(r"\bon\w+=", page)
        assert not re.findall(r"(?:src|href|url\()\s*=?\s*[\"']?(?:https?:)?//[^\"')]+", page)
        assert "Content-Security-Policy" in page


def test_every_figure_has_words_for_those_who_do_not_see_it(reproduction, report):
    _, _, page = report(reproduction)
    found = figures(page)
    assert len(found) >= 6
    for figure in found:
        (label,) = re.findall(r'role="img"[^>]*aria-label="([^"]{30,})"', figure) or [None]
        assert label, figure[:300]
        assert "<figcaption" in figure
        svg = ElementTree.fromstring(re.search(r"<svg.*</svg>", figure, re.DOTALL)[0])
        assert svg.get("viewBox")


def test_figures_lie_beside_it_as_png_and_pdf(reproduction, report):
    report(reproduction)
    names = {path.suffix: set() for path in (reproduction / "figures").iterdir()}
    for path in (reproduction / "figures").iterdir():
        names[path.suffix].add(path.stem)
        head = path.read_bytes()[:4]
        assert head == (b"\x89PNG" if path.suffix == ".png" else b"%PDF")
    assert names[".png"] == names[".pdf"]
    assert {"training", "radius", "transfer"} <= names[".png"]


def test_identifiers_in_drawings_do_not_clash(reproduction, report):
    _, _, page = report(reproduction)
    identifiers = re.findall(r'\bid="([^"]+)"', page)
    assert len(identifiers) == len(set(identifiers))
    used = set(re.findall(r"url\(#([^)]+)\)|href=\"#([^\"]+)\"", page))
    assert {a or b for a, b in used} <= set(identifiers)


def test_the_same_twice(reproduction, report):
    _, _, first = report(reproduction)
    drawn = {path.name: path.read_bytes() for path in (reproduction / "figures").iterdir()}
    _, _, second = report(reproduction)
    assert first == second
    assert drawn == {path.name: path.read_bytes() for path in (reproduction / "figures").iterdir()}


def test_names_cannot_inject_markup(tmp_path, report):
    spoken = evaluation(uncertainty=NASTY, attacks=[NASTY], command=NASTY)
    swept = sweep(uncertainty=NASTY, attack=NASTY)
    made = make_run(tmp_path / "a<b>&'x", spoken, swept, commit=NASTY, hardware={"processor": NASTY, "torch": NASTY})
    labels = [NASTY, *map(str, range(1, 10))]
    manifest = json.loads((made / "manifest.json").read_text())
    manifest["data"]["spec"]["labels"] = labels
    write(made / "manifest.json", manifest)
    status, _, page = report(made)
    assert status == 0
    assert "<script" not in page.lower()
    assert "<b>" not in page
    assert "alert(1)" in page
    for figure in figures(page):
        ElementTree.fromstring(re.search(r"<svg.*</svg>", figure, re.DOTALL)[0])


def test_a_reproduction_has_claims_with_a_word_and_a_sign(reproduction, report):
    _, _, page = report(reproduction)
    text = re.sub(r"<[^>]+>", " ", page)
    for words in ("✓ confirmed", "✗ not confirmed", "? undecided", "Table 1", "98.9 %", "of 3 seeds"):
        assert words in text
    assert page.index("Robust training raised accuracy") < page.index("<table") < page.index("<figure")


def test_the_matrix_is_of_pairs_of_one_seed(reproduction, report):
    """What a net of another seed does with a collection is told apart from the collection's own victim."""
    from robustfw.report.gather import gather
    from robustfw.report.shares import crossed

    found = crossed(gather([reproduction]))
    assert len(found["plain", "plain"]) == 1
    assert len(found["plain", "plain, another seed"]) == 2


def test_a_training_and_nothing_else(tmp_path, report):
    status, said, page = report(make_run(tmp_path / "run"))
    assert (status, said.strip()) == (0, f"report: {tmp_path / 'run' / 'report.html'}")
    assert len(figures(page)) == 1


def test_several_runs_in_one_page(tmp_path, report):
    runs = [make_run(tmp_path / name / "run", sweep(strength=k + 1)) for k, name in enumerate("ab")]
    status, said, page = report(*runs)
    assert (status, said.strip()) == (0, "report: report.html")
    assert "2 runs" in page
    status, _, _ = report(*runs, "--out", tmp_path / "elsewhere" / "page.html")
    assert status == 0
    assert (tmp_path / "elsewhere" / "figures" / "radius.png").exists()


def test_one_pixel_is_found_and_circled(tmp_path, run, collection, report):
    _, _, page = report(run)
    assert "one pixel" in page.lower()


def test_where_no_example_is_of_one_pixel_the_fewest_are_shown(tmp_path, report):
    from .conftest import digits, transfer

    made = make_run(tmp_path / "runs" / "b", transfer())
    make_collection(tmp_path / "transfer" / "a", *digits(), pixels=3)
    _, _, page = report(made)
    assert "3 pixels" in page


@pytest.mark.parametrize(
    ("damage", "words", "status"),
    [
        (lambda run: (run / "manifest.json").unlink(), "there is no run in", 1),
        (lambda run: (run / "manifest.json").write_text("{"), "manifest.json", 1),
        (lambda run: (run / "manifest.json").write_text("[]"), "manifest.json", 1),
        (lambda run: (run / "metrics.jsonl").write_text("{\n"), "metrics.jsonl", 1),
        (lambda run: write(run / "results" / "sweep-9.json", {"kind": "sweep"}), "sweep-9.json", 1),
        (lambda run: (run / "results" / "x.json").write_text("no"), "x.json", 1),
    ],
    ids=["no manifest", "cut off", "a list", "metrics", "a result without numbers", "no JSON"],
)
def test_what_is_damaged_is_named(run, report, damage, words, status):
    damage(run)
    found, said, _ = report(run)
    assert found == status
    assert said.startswith("Error: ")
    assert said.count("\n") == 1
    assert words in said


def test_misuse(tmp_path, reproduction, report):
    import shutil

    assert report()[0] == 2
    assert "there is no run in nothing" in report("nothing")[1]
    shutil.copytree(reproduction, tmp_path / "again")
    assert report(reproduction, tmp_path / "again")[0] == 2


def test_results_of_the_real_commands(tmp_path, report, monkeypatch, capsys):
    from robustfw.cli import main

    monkeypatch.chdir(tmp_path)
    few = ["--examples", "40"]
    for command in (
        ["train", "--epochs", "1", "--attack", "pgd:steps=1", "--out", "run"],
        ["train", "--epochs", "1", "--objective", "clean", "--out", "other"],
        ["evaluate", "run", *few],
        ["sweep", "run", *few, "--radii", "0,0.1,0.2"],
        ["craft", "other", "--uncertainty", LINF, "--uncertainty", "l1:radius=2", "--out", "made"],
        ["evaluate", "run", "--on", "made"],
        ["compare", "run", "other", *few],
        ["audit", "run", *few, "--attack", "pgd:steps=5"],
    ):
        with pytest.raises(SystemExit) as ended:
            main(command)
        assert not ended.value.code
    capsys.readouterr()
    status, _, page = report("run", "other")
    assert status == 0
    text = html.unescape(re.sub(r"<[^>]+>", " ", page))
    for command in ("robustfw evaluate run --on made", "robustfw compare run other", "robustfw audit run"):
        assert command in text
    assert len(figures(page)) >= 5
    (pairs,) = results.kept(Path("run"), ["comparison"])
    gain = 100 * pairs["clean"]["difference"]
    assert "second − first" in text
    assert f"{gain:+.2f}".replace("-", "−") in text or f"{gain:+.2f}" in text
