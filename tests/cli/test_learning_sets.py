"""Sets that learn from data: each command shows them the training examples of the run, and no others."""

from __future__ import annotations

import json

import pytest

import robustfw as package
from robustfw_manifold import neighbours

SPEC = "tangent:radius=0.5,basis=(knn-pca:neighbors=5,n_components=3)"


@pytest.fixture
def shown(monkeypatch):
    """The fingerprints of the splits that bases have been fitted to."""
    found, collect_examples = [], neighbours.collect_examples

    def watched(train, most):
        found.append(train.fingerprint())
        return collect_examples(train, most)

    monkeypatch.setattr(neighbours, "collect_examples", watched)
    return found


@pytest.fixture
def tangent_run(robustfw):
    answer = robustfw(
        *("train", "--uncertainty", SPEC, "--attack", "single-step", "--epochs", "1"),
        *("--objective", "tangent-prop:basis=(knn-pca:dim=2)", "--validation-examples", "20", "--out", "tangent"),
    )
    assert (answer.status, answer.err) == (0, "")
    return "tangent"


def test_every_command_fits_the_set_to_the_training_examples(robustfw, shown, tangent_run, tmp_path):
    train = package.make("dataset", "digits").load(None).train.fingerprint()
    assert shown == [train, train]  # the set and the objective, once each
    few = ("--examples", "40", "--batch-size", "40")
    for command in (
        ["evaluate", tangent_run, *few, "--attack", "pgd:steps=2"],
        ["sweep", tangent_run, *few, "--attack", "pgd:steps=2", "--radii", "0,1,5"],
        ["compare", tangent_run, tangent_run, *few, "--attack", "pgd:steps=2"],
        ["craft", tangent_run, *few, "--uncertainty", "tangent:radius=5,basis=knn-pca", "--out", "made"],
        ["evaluate", tangent_run, "--on", "made"],
        ["audit", tangent_run, *few, "--attack", "pgd:steps=2"],
    ):
        shown.clear()
        answer = robustfw(*command)
        assert (answer.status, answer.err) == (0, ""), answer
        assert set(shown) == {train}, command


def test_the_manifest_holds_the_spec_and_no_data(tangent_run, tmp_path):
    recipe = json.loads((tmp_path / tangent_run / "manifest.json").read_text())["recipe"]
    basis = {"use": "knn-pca", "neighbors": 5, "n_components": 3, "points": 10000}
    assert recipe["uncertainty"] == {"use": "tangent", "radius": 0.5, "basis": basis}
    assert package.make("uncertainty", recipe["uncertainty"]) == package.make("uncertainty", SPEC)


def test_the_bases_are_listed_shown_and_checked(robustfw):
    listed = robustfw("plugins")
    assert "knn-pca" in listed.out
    shown = robustfw("show", "basis", "knn-pca")
    assert "nearest" in shown.out
    checked = robustfw("check", "basis", "transform")
    assert checked.status == 0
    assert "all 3 laws hold" in checked.out
