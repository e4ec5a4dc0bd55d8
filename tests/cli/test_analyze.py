"""`robustfw analyze`: what it prints, what it keeps, and how it is misused."""

from __future__ import annotations

import json
from unittest.mock import ANY

import pytest
from safetensors.torch import load_file

from robustfw import results

FEW = ("--examples", 60, "--steps", 60, "--generations", 20)
KINDS = ["distinguishability", "fooling", "lipschitz"]


def test_in_words(robustfw, run):
    answer = robustfw("analyze", run, *FEW)
    assert (answer.status, answer.err) == (0, "")
    lines = answer.out.splitlines()
    heads = [line.split("  ")[0] for line in lines if line and not line.startswith(" ")]
    assert [head for head in heads if head in ("robustness of pairs", "fooling images", "layer")] == [
        "robustness of pairs",
        "fooling images",
        "layer",
    ]
    for start in ("  data ", "  features ", "  9 ", "  0    Standardize ", "upper bound ", "lower bound "):
        assert any(line.startswith(start) for line in lines), start
    assert any("of 10 classes at 99% confidence within 20 rounds" in line for line in lines)


def test_as_json(robustfw, run):
    answer = robustfw("analyze", run, *FEW, "--seed", 4, "--json")
    assert (answer.status, answer.err, answer.out.count("\n")) == (0, "", 1)
    found = json.loads(answer.out)
    assert list(found) == KINDS
    for kind in KINDS:
        (kept,) = results.load_results(run, [kind])
        assert kept == {"command": ANY, "robustfw": ANY} | found[kind]
        assert found[kind]["run"] == str(run)
        assert found[kind]["examples"] == 60
        assert found[kind]["seed"] == 4
    data, features = found["distinguishability"]["spaces"]
    assert (data["name"], data["dimension"], len(data["pairs"])) == ("data", 64, 45)
    assert (features["name"], features["dimension"], len(features["pairs"])) == ("features", 256, 45)
    assert all(p["measured"] is None or p["measured"] <= p["bound"] for p in features["pairs"])
    assert sum(p["measured"] is not None for p in features["pairs"]) > 40
    slopes = found["lipschitz"]
    assert slopes["n"] == 60
    assert 0 < slopes["quantiles"][-1] <= slopes["upper"]


def test_images_lie_beside_the_result_and_fool_the_net(robustfw, run):
    import robustfw as package

    found = json.loads(robustfw("analyze", run, "--only", "fooling", *FEW, "--json").out)["fooling"]
    tensors = load_file(run / "results" / found["images"])
    net = package.load(run)
    for search in found["searches"]:
        own = net(tensors[search["name"]]).softmax(1).diagonal().tolist()
        assert own == pytest.approx(search["confidence"], abs=1e-4)
        assert search["reached"] == sum(share >= found["target"] for share in search["confidence"])


def test_some_of_them(robustfw, run):
    answer = robustfw("analyze", run, *FEW, "--only", "lipschitz", "--only", "distinguishability", "--json")
    assert list(json.loads(answer.out)) == ["distinguishability", "lipschitz"]
    kinds = {result["kind"] for result in results.load_results(run)}
    assert kinds - {"worst-cases"} == {"distinguishability", "lipschitz"}, "a training leaves its worst cases"


def test_the_same_again_takes_the_place_of_the_first(robustfw, run):
    for _ in range(2):
        assert robustfw("analyze", run, *FEW).status == 0
    analyses = [result for result in results.load_results(run) if result["kind"] != "worst-cases"]
    assert len(analyses) == 3
    assert len(list((run / "results").glob("fooling*.safetensors"))) == 1


def test_all_examples_if_there_are_fewer_than_usual(robustfw, run):
    found = json.loads(robustfw("analyze", run, "--only", "lipschitz", "--json").out)["lipschitz"]
    assert found["n"] == found["examples"] == 359


def test_data_that_is_no_image_and_a_linear_net(robustfw):
    parts = ("--dataset", "two-moons", "--model", "linear", "--objective", "clean")
    assert robustfw("train", *parts, "--out", "moons").status == 0
    answer = robustfw("analyze", "moons", "--steps", 20, "--generations", 20, "--json")
    assert (answer.status, answer.err) == (0, "")
    found = json.loads(answer.out)
    (data,) = found["distinguishability"]["spaces"]
    (pair,) = data["pairs"]
    assert pair["measured"] <= pair["bound"]
    assert found["fooling"]["shape"] == [2]
    slopes = found["lipschitz"]
    assert slopes["quantiles"] == pytest.approx([slopes["upper"]] * 7, rel=1e-4)
    assert robustfw("report", "moons").status == 0


def test_a_net_with_fixed_wavelets(robustfw):
    parts = ("--model", "scattering:order=1,angles=2", "--objective", "clean", "--epochs", "1")
    assert robustfw("train", *parts, "--out", "waves").status == 0
    found = json.loads(robustfw("analyze", "waves", "--only", "lipschitz", "--examples", 50, "--json").out)["lipschitz"]
    assert ("Scattering2d", 1.0, "declared") in {(each["kind"], each["bound"], each["how"]) for each in found["layers"]}
    assert found["quantiles"][-1] <= found["upper"]


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ("nothing", 1, ["there is no run in nothing: name a directory that robustfw train made"]),
        ("run --examples 360", 2, ["there are 359 test examples"]),
        ("run --device gpu", 2, ["the device 'gpu' cannot be used here"]),
    ],
)
def test_misuse(arguments, status, words, robustfw, run):
    answer = robustfw("analyze", *arguments.split())
    answer.refused(status, *words)
    assert answer.out == ""


@pytest.mark.parametrize("arguments", ["--only lipshitz", "--steps 0", "--generations none"])
def test_wrong_flags_point_to_the_help(arguments, robustfw, run):
    answer = robustfw("analyze", run, *arguments.split())
    assert answer.status == 2
    assert "for help" in answer.err
