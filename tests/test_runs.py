"""Run directories: whole or not at all, one training at a time, and clear words about what is damaged."""

from __future__ import annotations

import json
import os

import pytest

from robustfw import RunError, UsageError
from robustfw.storage import _locks as locks
from robustfw.storage.files import json_value
from robustfw.storage.runs import Run

from .run_contents import MANIFEST, RECIPE, contents, epoch, step

# Making and opening


def test_a_run_is_made_and_opened(run):
    assert Run.open(run.path).manifest() == MANIFEST
    assert run.metrics() == []


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("manifest.json", "holds a run already: go on with it by --resume, or choose another --out"),
        ("metrics.jsonl", r"manifest.json is missing, .*: put it back, or choose another --out"),
        ("checkpoints/last.safetensors", r"manifest.json is missing, .*: put it back, or choose another --out"),
    ],
)
def test_what_is_left_of_a_run_is_left_alone(name, reason, tmp_path):
    file = tmp_path / "run" / name
    file.parent.mkdir(parents=True)
    file.write_text("precious")
    with pytest.raises(RunError, match=reason):
        Run.create(tmp_path / "run", MANIFEST)
    if name != "manifest.json":
        with pytest.raises(RunError, match=reason):
            Run.open(tmp_path / "run")
    assert contents(tmp_path) == {file.relative_to(tmp_path): b"precious"}


def test_other_files_in_the_directory_are_left_alone(tmp_path, state):
    (tmp_path / ".notes.tmp").write_text("precious")
    list(Run.create(tmp_path, MANIFEST).keep(iter(()), state))
    assert (tmp_path / ".notes.tmp").read_text() == "precious"


@pytest.mark.parametrize("name", ["file", "file/run", "file/a/b"])
def test_a_directory_that_cannot_be_made(name, tmp_path):
    (tmp_path / "file").write_text("precious")
    with pytest.raises(
        RunError, match=r"cannot make the run directory .*: (Not a directory|File exists); choose anoth"
    ):
        Run.create(tmp_path / name, MANIFEST)
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write and read everywhere")
def test_a_directory_without_permissions(tmp_path, run):
    tmp_path.chmod(0o500)
    with pytest.raises(RunError, match="Permission denied; choose another --out"):
        Run.create(tmp_path / "new", MANIFEST)
    run.path.chmod(0o000)
    try:
        with pytest.raises(RunError, match="Permission denied"):
            Run.open(run.path)
    finally:
        run.path.chmod(0o700)
        tmp_path.chmod(0o700)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not JSON"),
        ("{", "is not JSON"),
        ("\x00\xff", "is not JSON"),
        ("[]", "is not the manifest of a run"),
        ("3", "is not the manifest of a run"),
        ("{}", "is not the manifest of a run"),
        ('{"recipe": 3, "data": 3}', "is not the manifest of a run"),
        ('{"recipe": {}, "data": {}}', "is not the manifest of a run"),
        (json.dumps(MANIFEST | {"data": {}}), "is not the manifest of a run"),
        (json.dumps(MANIFEST | {"recipe": RECIPE | {"attack": "pgd"}}), "is not the manifest of a run"),
    ],
)
def test_a_manifest_that_is_garbage(text, reason, run):
    run.manifest_path.write_bytes(text.encode("latin-1"))
    with pytest.raises(RunError, match=f"manifest.json {reason}.*; without it the run cannot be used") as caught:
        Run.open(run.path)
    assert "\n" not in str(caught.value)


def test_what_is_no_run(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "odd" / "manifest.json").mkdir(parents=True)
    for name, reason in (
        ("nothing", "there is no run in"),
        ("file", "is a file"),
        ("odd", "cannot read .*Is a direct"),
    ):
        with pytest.raises(RunError, match=reason):
            Run.open(tmp_path / name)


# Metrics


def test_metrics_are_a_line_per_epoch_and_what_is_no_number_is_null(run, state):
    records = iter([epoch(1, loss=0.5), epoch(2, loss=float("nan"), warnings=("beware",))])
    assert len(list(run.keep(records, state))) == 2
    first, second = run.metrics()
    assert first["loss"] == 0.5
    assert second["loss"] is None
    assert second["warnings"] == ["beware"]
    assert "model" not in first
    assert "NaN" not in run.metrics_path.read_text()


@pytest.mark.parametrize("torn", ['{"epoch": 2, "lo', '{"epoch": 2}', "δ"[:1]])
def test_a_line_that_was_cut_off_is_no_epoch(torn, run, state):
    run.metrics_path.write_text('{"epoch": 1}\n' + torn)
    assert run.metrics() == [{"epoch": 1}]
    state.epoch = 1
    list(run.keep(iter([epoch(2)]), state))
    assert [line["epoch"] for line in run.metrics()] == [1, 2]


@pytest.mark.parametrize("line", ["{", "3", "{}", "null"])
def test_a_damaged_line_is_an_error_and_nothing_is_overwritten(line, run, state):
    run.metrics_path.write_text(f'{line}\n{{"epoch": 2}}\n')
    before = contents(run.path)
    with pytest.raises(RunError, match=r"metrics.jsonl is damaged: move it away to go on"):
        list(run.keep(iter([step(1)]), state))
    assert contents(run.path) == before


def test_epochs_that_will_be_trained_again_are_dropped(run, state):
    run.metrics_path.write_text('{"epoch": 1}\n{"epoch": 2}\n')
    state.epoch = 1
    list(run.keep(iter(()), state))
    assert run.metrics() == [{"epoch": 1}]


def test_plain_values():
    assert json_value({"a": (1, float("inf"), [float("nan"), "NaN", True, None, 0.5])}) == {
        "a": [1, None, [None, "NaN", True, None, 0.5]]
    }


# Failures, and others


def test_what_a_kill_left_half_written_is_cleared_away(run, state):
    leftover = run.path / "checkpoints" / ".last.safetensors.123.tmp"
    leftover.write_text("half")
    list(run.keep(iter(()), state))
    assert not leftover.exists()


def test_a_recipe_that_cannot_make_a_step_leaves_no_run(run, state):
    def records():
        raise UsageError("2 radii do not fit 1 channels")
        yield

    with pytest.raises(UsageError):
        list(run.keep(records(), state))
    assert contents(run.path) == {}
    Run.create(run.path, MANIFEST)


def test_a_usage_error_after_that_keeps_what_there_is(run, state):
    def records():
        state.batch = 1
        yield step(1)
        raise UsageError("something else")

    with pytest.raises(UsageError):
        list(run.keep(records(), state))
    assert run.manifest() == MANIFEST
    assert run.checkpoint_path("last").exists()


def test_one_training_at_a_time(run, state, monkeypatch):
    pytest.importorskip("fcntl")
    monkeypatch.setattr(locks, "PATIENCE", 0.2)
    first = run.keep(iter([step(1), step(2)]), state)
    next(first)
    before = contents(run.path)
    with pytest.raises(RunError, match="is being trained already, by another process or by records"):
        next(run.keep(iter([step(1)]), state))
    assert contents(run.path) == before
    first.close()
    assert len(list(run.keep(iter([step(1)]), state))) == 1
