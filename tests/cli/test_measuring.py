"""craft, evaluate --on, sweep and compare: what they print, keep and refuse."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from robustfw import results
from robustfw.storage.collections import Collection

from .test_output import parsed

SETS = ("--uncertainty", "linf:radius=0.1", "--uncertainty", "l1:radius=3")


@pytest.fixture
def collection(robustfw, run):
    assert robustfw("craft", run, *SETS, "--examples", "100", "--out", "adversarial").status == 0
    return Path("adversarial")


def test_a_collection_is_made_and_shown_to_a_net(robustfw, run):
    answer = robustfw("craft", run, *SETS, "--examples", "100")
    assert (answer.status, answer.err) == (0, "")
    assert "linf:radius=0.1" in answer.out
    manifest = Collection.open(Path("transfer/run")).manifest
    assert sum(part["n"] for part in manifest["sets"]) == manifest["n"] > 0
    assert (manifest["data"]["split"], manifest["data"]["tried"], manifest["seed"]) == ("test", 100, 0)
    assert manifest["data"]["hash"] == json.loads((run / "manifest.json").read_text())["data"]["hash"]
    assert 0 <= manifest["fooling_8bit"] <= manifest["n"]
    shown = robustfw("evaluate", run, "--on", "transfer/run")
    assert (shown.status, shown.err) == (0, "")
    assert f"0 of {manifest['n']}" in shown.out
    assert "crafted against" in shown.out


def test_results_name_the_command_that_gives_them_again(robustfw, run, collection):
    commands = [
        ["evaluate", str(run), "--examples", "50"],
        ["evaluate", str(run), "--on", str(collection)],
        ["sweep", str(run), "--examples", "50", "--radii", "0,0.1,0.2"],
        ["compare", str(run), str(run), "--examples", "50"],
    ]
    for command in commands:
        assert robustfw(*command).status == 0
    kept = {result["command"]: result for result in results.load_results(run) if result["kind"] != "worst-cases"}
    assert set(kept) == {" ".join(["robustfw", *command]) for command in commands}
    for command in commands:
        whole = kept[" ".join(["robustfw", *command])]
        again = parsed(robustfw(*command, "--json").out)
        for timed in ("seconds", "memory", "command", "robustfw"):
            whole.pop(timed, None), again.pop(timed, None)
        assert again == whole
    assert len([result for result in results.load_results(run) if result["kind"] != "worst-cases"]) == len(commands)


def test_a_sweep_falls(robustfw, run):
    result = parsed(robustfw("sweep", run, "--examples", "60", "--radii", "0,0.05,1/10,0.3", "--json").out)
    assert result["radii"] == [0, 0.05, 0.1, 0.3]
    assert result["correct"] == sorted(result["correct"], reverse=True)
    assert result["n"] == len(result["minimal_radius"]["each"]) == 60
    assert result["correct"][0] == sum(each != 0 for each in result["minimal_radius"]["each"])
    assert result["minimal_radius"]["beyond"] == result["correct"][-1]


def test_a_plain_fast_method(robustfw, run):
    answer = robustfw("sweep", run, "--examples", "60", "--attack", "single-step", "--independent")
    assert answer.status == 0
    assert "single-step" in answer.out


def test_a_net_is_as_good_as_itself(robustfw, run):
    result = parsed(robustfw("compare", run, run, "--examples", "60", "--json").out)
    for part in (result["clean"], result["robust"]):
        assert (part["only_first"], part["only_second"], part["difference"], part["p"]) == (0, 0, 0, 1)
        assert sum(part[cell] for cell in ("both", "only_first", "only_second", "neither")) == result["n"] == 60


def changed(path, change):
    tensors = load_file(path / "examples.safetensors")
    change(tensors)
    save_file(tensors, path / "examples.safetensors")


def rehashed(path):
    """As one does who knows how: the manifest follows the file."""
    import hashlib

    manifest = json.loads((path / "manifest.json").read_text())
    manifest["sha256"] = hashlib.sha256((path / "examples.safetensors").read_bytes()).hexdigest()
    (path / "manifest.json").write_text(json.dumps(manifest))


def test_an_altered_collection_is_refused(robustfw, run, collection):
    changed(collection, lambda tensors: tensors["adversarial"].mul_(0.999))
    robustfw("evaluate", run, "--on", collection).refused(1, "another hash", "was altered: craft it again")
    rehashed(collection)
    robustfw("evaluate", run, "--on", collection).refused(1, "adversarial examples are not in their set")


def test_a_collection_of_larger_perturbations_is_refused(robustfw, run, collection):
    def grow(tensors):
        tensors["delta"].mul_(1.5)
        tensors["adversarial"].copy_((tensors["original"] + tensors["delta"]).clamp(0, 1))

    changed(collection, grow)
    rehashed(collection)
    robustfw("evaluate", run, "--on", collection).refused(1, "are not in their set within the data range")


def test_a_collection_of_other_data_is_refused(robustfw, run, collection):
    changed(collection, lambda tensors: tensors["original"].copy_(tensors["original"].flip(0)))
    rehashed(collection)
    robustfw("evaluate", run, "--on", collection).refused(1, "belongs to other data")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("evaluate run --on nothing", ["there is no collection in nothing", "robustfw craft made"]),
        ("evaluate run --on adversarial --attack pgd", ["leave out --uncertainty, --attack, --loss, or --on"]),
        ("craft run --out adversarial", ["adversarial holds a collection already", "choose another --out"]),
        ("craft run --attack pdg", ["no attack named 'pdg'; did you mean pgd"]),
        ("sweep run --radii 0.2,0.1", ["must grow"]),
        ("sweep run --radii a,b", ["--radii: 'a' is no number", "write numbers with commas between"]),
        ("compare run nothing", ["there is no run in nothing"]),
    ],
)
def test_misuse(command, words, robustfw, run, collection):
    answer = robustfw(*command.split())
    answer.refused(2 if ("--on" in command and "attack" in command) or "sweep" in command or "pdg" in command else 1)
    for word in words:
        assert word in answer.err


def test_nets_of_different_data_are_not_compared(robustfw, run):
    other = Path(shutil.copytree(run, "other"))
    manifest = json.loads((other / "manifest.json").read_text())
    manifest["data"]["hash"] = "0" * 64
    (other / "manifest.json").write_text(json.dumps(manifest))
    robustfw("compare", run, other).refused(1, "were trained on different data")


def test_a_result_that_is_none(robustfw, run):
    from robustfw import RunError

    (run / "results").mkdir(exist_ok=True)
    (run / "results" / "evaluation-x.json").write_text("[]")
    with pytest.raises(RunError, match="is no result of robustfw"):
        results.load_results(run)
