"""The page: every number with its denominator, nothing that runs or is loaded, and the same bytes twice."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from .conftest import make_report

HOSTILE = """<script>alert("1")</script>'&$x^2$"""


class Page(HTMLParser):
    """Elements with their attributes, and the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data + " "

    def all(self, *tags: str) -> list[dict]:
        return [attributes for tag, attributes in self.elements if tag in tags]


def words(page: str) -> str:
    return " ".join(Page(page).text.split())


def test_a_run_with_results_of_each_kind_shows_all_its_numbers(reported_run):
    text = words(reported_run.page)
    for expected in (
        "95.50 % (91.50 to 99.50), 191 of 200",
        "52.50 % (48.50 to 56.50), 105 of 200",
        "77.50 % (73.50 to 81.50), 31 of 40",
        "0.062 to > 0.3",
        "of 200",
        "-14.00 points (-17.00 to -11.00)",
        "< 0.001",
        "✗ suspicious",
        "– not checked",
        "✓ passed",
        "raise it",
        "3cf519d5",
        "a processor",
        "b: the audit in linf:radius=0.1 finds its robust accuracy suspicious.",
        "robustfw compare runs/a runs/b",
        "0.525 (0, 1)",
        "features, 256 dimensions",
        "9 of 10",
        "42.00 % (9)",
        "product of the layers",
        "steepest slope ‖J‖₂ at 200 test examples",
    ):
        assert expected in text, expected


def test_every_table_names_the_commands_that_give_its_numbers_again(reported_run):
    text = words(reported_run.page)
    for command in (
        "robustfw evaluate runs/a --attack pgd:steps=100",
        "robustfw sweep runs/a",
        "robustfw evaluate runs/b --transfer transfer/a",
        "robustfw audit runs/a",
        "robustfw analyze runs/a",
    ):
        assert f"To get these numbers again: {command}" in text or f"; {command}" in text, command


def test_what_the_training_measured_can_be_measured_again(reported_run):
    """The manifest has no command; the one that is shown evaluates the same examples by the same attack."""
    text = words(reported_run.page)
    assert f"robustfw evaluate {reported_run.path} --attack pgd " in text
    assert "--attack pgd:steps=10" not in text.replace("steps=100", ""), "what the attack takes anyway is not spelled"


@pytest.mark.parametrize("made", ["reported_run", "reported_reproduction"])
def test_every_figure_says_what_it_shows(made, request):
    page = Page(request.getfixturevalue(made).page)
    drawings = page.all("svg")
    assert len(drawings) == len(page.all("figure")) == len(page.all("figcaption")) >= 5
    for drawing in drawings:
        assert drawing["role"] == "img"
        assert re.search(r"\d", drawing["aria-label"]), "the finding, in numbers"


def test_figures_lie_beside_the_page_as_png_and_pdf(reported_run):
    page = Page(reported_run.page)
    links = [a["href"] for a in page.all("a") if not a["href"].startswith("#")]
    assert len(links) == 2 * len(page.all("figure"))
    for link in links:
        assert (reported_run.path / link).read_bytes().startswith(b"\x89PNG" if link.endswith(".png") else b"%PDF")


@pytest.mark.parametrize("made", ["reported_run", "reported_reproduction"])
def test_nothing_is_loaded_and_nothing_runs(made, request):
    source = request.getfixturevalue(made).page
    page = Page(source)
    assert not page.all("script", "iframe", "object", "embed", "link", "base")
    assert "http://" not in source
    assert "https://" not in source
    for _, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href"):
            assert re.match(r"#|figures/[\w-]+\.(png|pdf)$|data:image/png;base64,|$", attributes.get(name, ""))
    assert not re.search(r"@import|url\((?!#)", source)


def test_drawings_follow_the_colours_of_the_page(reported_run):
    drawings = "".join(re.findall(r"<svg.*?</svg>", reported_run.page, re.DOTALL))
    assert "currentColor" in drawings
    assert "var(--c0)" in drawings
    assert not re.search(r"#1b1c1d|#0068a8|#8b8c8d", drawings), "a colour that stays as it is on a dark page"


@pytest.mark.parametrize("made", ["reported_run", "reported_reproduction"])
def test_the_same_input_gives_the_same_bytes(made, request):
    reported = request.getfixturevalue(made)
    path = reported.path

    def files() -> dict[Path, bytes]:
        return {each: each.read_bytes() for each in [path / "report.html", *(path / "figures").iterdir()]}

    first = files()
    shutil.rmtree(path / "figures")
    make_report(reported.folder, path)
    assert files() == first


def hostile(path: Path, make) -> Path:
    """A run all of whose names are markup."""
    results = (
        make.evaluation(uncertainty=HOSTILE, attacks=[HOSTILE], command=HOSTILE, split=HOSTILE),
        make.sweep(uncertainty=HOSTILE, attack=HOSTILE, command=HOSTILE),
        make.transfer(source=HOSTILE.replace("/", ""), command=HOSTILE),
        make.comparison(runs=[HOSTILE, HOSTILE], command=HOSTILE),
        make.distinguishability(spaces=[make.distinguishability()["spaces"][0] | {"name": HOSTILE}], split=HOSTILE),
        make.lipschitz(layers=[{"name": HOSTILE, "kind": HOSTILE, "bound": 2.0, "how": HOSTILE}], unbounded=[HOSTILE]),
        make.audit(lines=[{"name": HOSTILE, "verdict": HOSTILE, "found": HOSTILE, "advice": HOSTILE}]),
    )
    name = HOSTILE.replace("/", "")
    manifest = make.manifest()
    manifest["data"]["spec"]["labels"] = [f"{HOSTILE}{i}" for i in range(10)]
    return make.make_run(path / name, *results, data=manifest["data"], commit=HOSTILE)


def test_names_are_text_and_never_markup(tmp_path, report, make):
    run = hostile(tmp_path, make)
    make.make_collection(run / "transfer" / "x", *make.digits(), source={"run": HOSTILE}, labels=[HOSTILE] * 10)
    status, _, source = report(run, "--out", tmp_path / "out" / "page.html")
    page = Page(source)
    assert status == 0
    assert not page.all("script")
    assert HOSTILE in page.text
    assert HOSTILE[:12] + "…" not in source, "escaped in drawings as well"
    assert any(HOSTILE.replace("/", "") in drawing["aria-label"] for drawing in page.all("svg"))
    allowed = {
        "class",
        "id",
        "style",
        "role",
        "aria-label",
        "href",
        "scope",
        "tabindex",
        "focusable",
        "name",
        "content",
    }
    for tag, attributes in page.elements:
        if tag in ("div", "figure", "section", "td", "th", "p", "svg", "a"):
            assert set(attributes) <= allowed | {"viewbox", "version"}, (tag, attributes)


def test_characters_that_no_page_can_hold_are_replaced(tmp_path, report, make):
    run = make.make_run(tmp_path / "run", make.evaluation(uncertainty="a\x00\x1b[1m\ud800b"))
    assert "a��[1m�b" in report(run)[2]


def test_names_in_any_script_can_be_drawn(tmp_path, report, make):
    manifest = make.manifest()
    manifest["data"]["spec"]["labels"] = [f"猫{i}" for i in range(10)]
    run = make.make_run(tmp_path / "run", make.evaluation(), data=manifest["data"])
    assert "猫3" in report(run)[2]


def test_a_run_with_nothing_but_its_training_has_a_page(tmp_path, report, make):
    run = make.make_run(tmp_path / "alone")
    status, said, source = report(run)
    assert status == 0
    assert said == f"report: {run / 'report.html'}\n"
    assert len(Page(source).all("figure")) == 1
    assert "alone has not been evaluated on test examples; after epoch 3 it classified 88.0 %" in words(source)
    assert "Evaluations" not in source


def test_a_run_before_its_first_epoch_has_a_page(tmp_path, report, make):
    run = make.make_run(tmp_path / "young", epochs=0)
    assert "young has not finished an epoch yet." in words(report(run)[2])
    assert not (run / "figures").exists()


def test_accuracies_that_are_no_numbers_are_dashes(tmp_path, report, make):
    run = make.make_run(tmp_path / "run")
    line = {"epoch": 4, "loss": None, "clean_accuracy": None, "robust_accuracy": None, "attacked": 0}
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n" + '{"epoch": 5, "lo')
    assert "– of validation" in words(report(run)[2])


def test_several_runs_have_one_page_here(tmp_path, report, make):
    paths = [make.make_run(tmp_path / folder / "run", make.sweep()) for folder in ("a", "b")]
    status, said, source = report(*paths)
    assert (status, said) == (0, "report: report.html\n")
    assert "2 runs" in words(source)
    assert str(paths[0]) in source, "runs of one name are called by their paths"


def test_what_runs_share_is_said_once(tmp_path, report, make):
    one, other = make.manifest(), make.manifest()
    other["recipe"]["uncertainty"] = {"use": "l2", "radius": "8/255"}
    paths = [make.make_run(tmp_path / name, recipe=m["recipe"]) for name, m in (("a", one), ("b", other))]
    made = words(report(*paths)[2]).partition("How these numbers were made")[2].rpartition("How these")[2]
    assert made.count("mlp:hidden=[256,256]") == 1
    assert "Recipe, where runs differ" in made
    assert "l2:radius=8/255" in made


def test_figures_of_an_earlier_report_are_taken_away(run, report):
    report(run)
    assert (run / "figures" / "lipschitz.pdf").exists()
    (run / "figures" / "classes-7.png").write_bytes(b"not of a report")
    (run / "results" / "lipschitz-7.json").unlink()
    report(run)
    assert not list((run / "figures").glob("lipschitz*"))
    left = [file.name for file in (run / "figures").glob("classes*.png")]
    assert sorted(left) == ["classes-7.png", "classes.png"]


def test_long_tables_are_folded(tmp_path, report, make):
    runs = [make.make_run(tmp_path / f"{i}", make.sweep()) for i in range(13)]
    assert "<summary>12 rows" not in report(*runs[:12])[2]
    assert "<summary>13 rows" in report(*runs)[2]


def test_a_kind_of_result_that_is_not_known_is_said(tmp_path, report, make):
    run = make.make_run(tmp_path / "run", {"kind": "prophecy"})
    assert "this version knows no results of the kind 'prophecy'" in words(report(run)[2])


def test_a_report_needs_no_torch(run, collection):
    ending = "atexit.register(lambda: print('torch' in sys.modules, file=sys.stderr))"
    code = f"import sys, atexit; {ending}; from robustfw.cli import main; main(['report', {str(run)!r}])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert answer.stderr.splitlines()[-1] == "False"
    assert "report.html" in answer.stdout


def test_nothing_of_the_report_is_imported_before_it_is_made():
    modules = "{'matplotlib', 'jinja2', 'numpy'} & set(sys.modules)"
    ending = f"atexit.register(lambda: print({modules}))"
    code = f"import sys, atexit; {ending}; from robustfw.cli import main; main(['--help'])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert answer.stdout.splitlines()[-1] == "set()"
