"""What is missing or damaged is said in one sentence, with an exit status."""

from __future__ import annotations

import json

import numpy as np
import pytest


@pytest.fixture
def refused(report):
    def check(path, *words, status=1):
        answered, said, _ = report(path)
        assert answered == status
        (line,) = said.splitlines()
        assert line.startswith("Error: ")
        assert "(unexpected: see" not in line
        for word in words:
            assert word in line, line

    return check


def test_no_path(report):
    assert report()[0] == 2


@pytest.mark.parametrize("name", ["", "nowhere", "file"])
def test_a_path_without_a_run(name, tmp_path, refused):
    (tmp_path / "file").write_text("")
    refused(tmp_path / name, "there is no run in", "robustfw train")


def test_two_reproductions(reproduction, report):
    status, said, _ = report(reproduction, reproduction)
    assert status == 2
    assert "one report for each" in said


@pytest.mark.parametrize(
    "content", ["{", "[]", "{}", '{"recipe": {}, "data": {}}', '{"recipe": 1, "data": {}}', "\x00"]
)
def test_a_damaged_manifest(content, run, refused):
    (run / "manifest.json").write_text(content)
    refused(run, "manifest.json")


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"n": None}, "n"),
        ({"n": "many"}, "n"),
        ({"interval": [0.1]}, "interval"),
        ({"kind": None}, "kind"),
        ({"per_class": [[1, 2]]}, "per_class"),
        ({"attacks": 3}, "attacks"),
    ],
)
def test_a_damaged_result(changed, word, run, refused, make):
    (run / "results" / "evaluation-0.json").write_text(json.dumps(make.evaluation(**changed)))
    refused(run, "evaluation-0.json is damaged", word, "make it again")


def test_a_result_that_is_cut_off(run, refused):
    file = run / "results" / "sweep-1.json"
    file.write_text(file.read_text()[:100])
    refused(run, "sweep-1.json is damaged", "not JSON")


def test_a_sweep_whose_lists_differ_in_length(run, refused, make):
    (run / "results" / "sweep-1.json").write_text(json.dumps(make.sweep(radii=[0.1])))
    refused(run, "sweep-1.json is damaged")


@pytest.mark.parametrize("line", ["{\n", "[1]\n", '{"epoch": 1}\n'])
def test_damaged_metrics(line, run, refused):
    (run / "metrics.jsonl").write_text(line)
    refused(run, "metrics.jsonl is damaged")


def test_a_damaged_collection(run, collection, refused):
    (collection / "examples.safetensors").write_bytes(b"nothing")
    refused(run, "examples.safetensors is damaged")


@pytest.mark.parametrize(
    "tensors",
    [
        {"y": None},
        {"original": np.zeros((40, 1, 8, 7), np.float32)},
        {"y": np.zeros(3, np.int64)},
        {"label": np.zeros(3, np.int64)},
        {"set": np.full(40, 2)},
    ],
)
def test_a_collection_whose_tensors_do_not_fit(tensors, run, collection, refused, make):
    make.change_tensors(collection, **tensors)
    refused(run, "examples.safetensors is damaged")


def test_a_reproduction_that_misses_a_run(reproduction, refused):
    (reproduction / "runs" / "plain-0" / "manifest.json").unlink()
    refused(reproduction, "there is no run in", "plain-0")


def test_a_reproduction_that_misses_a_collection(reproduction, refused):
    (reproduction / "transfer" / "plain-0" / "manifest.json").unlink()
    refused(reproduction, "there is no transfer collection in", "plain-0")


def test_a_damaged_reproduction(reproduction, refused):
    (reproduction / "reproduction.json").write_text('{"title": "x", "claims": [{}]}')
    refused(reproduction, "reproduction.json is damaged", "claim")


def test_a_page_that_cannot_be_written(run, report, tmp_path):
    (tmp_path / "file").write_text("")
    status, said, _ = report(run, "--out", tmp_path / "file" / "report.html")
    assert status == 1
    assert "choose another --out" in said


@pytest.mark.parametrize("keys", [("recipe", "model", "hidden"), ("plugins", "attack"), ("recipe", "train", "epochs")])
def test_a_value_of_another_form_in_a_record_is_shown_as_it_stands(keys, small_run, report, make):
    manifest = make.manifest()
    *path, last = keys
    part = manifest
    for key in path:
        part = part[key]
    part[last] = [{"a": 1}]
    (small_run / "manifest.json").write_text(json.dumps(manifest))
    status, _, page = report(small_run)
    assert status == 0
    assert "{&#39;a&#39;: 1}" in page
