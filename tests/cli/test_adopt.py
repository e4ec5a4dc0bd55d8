"""A net from elsewhere, by --model, --weights and --dataset: it becomes a run, and is measured like one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import robustfw as package

from .test_output import parsed

SET = ("--uncertainty", "linf:radius=0.1")
FAST = ("--attack", "single-step", "--examples", "100")


@pytest.fixture
def net(run):
    """The flags of the run's net as somebody else's: its model, a file of its weights, its data."""
    weights = load_file(run / "checkpoints" / "best.safetensors")
    torch.save({"epoch": 3, "state_dict": {f"module.{name}": value for name, value in weights.items()}}, "net.pt")
    return ("--model", "mlp", "--weights", "net.pt", "--dataset", "digits")


def test_its_number_is_that_of_the_run(robustfw, run, net):
    theirs = parsed(robustfw("evaluate", *net, *SET, *FAST, "--json").out)
    ours = parsed(robustfw("evaluate", run, *FAST, "--json").out)
    for name in ("n", "correct", "robust", "per_class", "interval"):
        assert theirs[name] == ours[name]
    assert theirs["run"] == "runs/digits-mlp"
    assert theirs["normalization"].startswith("(x − mean)/std by 0.3053/0.3761")
    assert "normalization" not in ours


def test_all_that_is_known_of_it_is_recorded(robustfw, run, net):
    answer = robustfw("adopt", *net, *SET, "--out", "mine")
    assert (answer.status, answer.err) == (0, "")
    for word in ("net.pt", "state_dict", "module", "normalisation", "robustfw evaluate mine"):
        assert word in answer.out
    manifest = json.loads(Path("mine/manifest.json").read_text())
    trained = json.loads((run / "manifest.json").read_text())
    adopted = manifest["adopted"]
    assert adopted["weights"]["path"] == str(Path("net.pt").resolve())
    assert len(adopted["weights"]["sha256"]) == len(adopted["weights"]["state_sha256"]) == 64
    assert adopted["normalization"]["mean"] == pytest.approx([0.30526], abs=1e-4)
    assert manifest["data"]["hash"] == trained["data"]["hash"]
    assert set(manifest["recipe"]) == {"dataset", "model", "uncertainty"}
    assert {"robustfw", "created", "plugins", "hardware", "bounds"} <= set(manifest)
    assert robustfw("evaluate", "mine", *FAST).status == 0, "its set is that of the adoption"


def test_it_is_adopted_once_and_another_net_beside_it(robustfw, net):
    for _ in range(2):
        assert robustfw("evaluate", *net, *SET, *FAST).status == 0
    assert [path.name for path in Path("runs").iterdir()] == ["digits-mlp"]
    state = torch.load("net.pt", weights_only=True)["state_dict"]
    torch.save({name: value + 0.01 for name, value in state.items()}, "other.pt")
    assert robustfw("evaluate", *net, "--weights", "other.pt", *SET, *FAST).status == 0
    assert sorted(path.name for path in Path("runs").iterdir()) == ["digits-mlp", "digits-mlp-2"]
    assert len(list(Path("runs/digits-mlp/results").glob("evaluation-*.json"))) == 1


@pytest.mark.parametrize(
    "command",
    [
        ("sweep", *SET, "--examples", "30", "--radii", "0,0.1"),
        ("audit", *SET, "--examples", "20"),
        ("craft", *SET, "--examples", "50"),
        ("analyze", "--only", "lipschitz", "--examples", "20"),
        ("report",),
    ],
    ids=lambda command: command[0],
)
def test_every_measuring_command_takes_it(robustfw, net, command):
    name, *flags = command
    assert robustfw(name, *net, *flags).status == 0


def test_it_is_compared_with_a_run(robustfw, run, net):
    result = parsed(robustfw("compare", run, *net[:4], *FAST, "--json").out)
    assert result["runs"] == [str(run), "runs/digits-mlp"]
    assert (result["robust"]["only_first"], result["robust"]["only_second"]) == (0, 0)


def test_python_loads_it(robustfw, run, net):
    robustfw("adopt", *net, "--out", "mine")
    x = torch.rand(5, 1, 8, 8)
    torch.testing.assert_close(package.load("mine")(x), package.load(run)(x))


def test_its_report_says_where_it_is_from(robustfw, net):
    robustfw("evaluate", *net, *SET, *FAST)
    assert robustfw("report", "runs/digits-mlp").status == 0
    page = Path("runs/digits-mlp/report.html").read_text()
    for words in ("elsewhere", "net.pt", "hash of the weights", "normalisation", "linf:radius=0.1"):
        assert words in page


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ((), ("name a RUN", "--model")),
        (("--model", "mlp"), ("--model needs --dataset",)),
        (("--model", "mlp", "--dataset", "digits"), ("random weights", "--weights FILE")),
        (("--model", "mlp", "--dataset", "digits", "--weights", "last"), ("--weights takes a file",)),
        (("--model", "mpl", "--dataset", "digits"), ("mpl", "mlp")),
        (("--model", "mlp", "--dataset", "digits", "--weights", "lost.pt"), ("lost.pt",)),
        (("--dataset", "digits"), ("name a RUN", "--model")),
    ],
)
def test_what_is_missing_is_said(robustfw, flags, words):
    answer = robustfw("evaluate", *flags, *SET)
    assert answer.status in (1, 2)
    answer.refused(answer.status, *words)
    assert not Path("runs").exists()


def test_a_run_has_its_own(robustfw, run, net):
    robustfw("evaluate", run, "--dataset", "digits").refused(2, "leave out RUN")
    robustfw("evaluate", run, *net).refused(2, "leave out RUN")
    robustfw("evaluate", run, "--weights", "net.pt").refused(2, "best and last", "--model")
    robustfw("report", run, "--weights", "net.pt").refused(2, "--model")
    robustfw("compare", run).refused(2, "two nets")


def test_no_training_says_which_set(robustfw, net):
    robustfw("evaluate", *net).refused(2, "adopted", "--uncertainty")
    robustfw("train", "--resume", "--out", "runs/digits-mlp").refused(1, "trained elsewhere", "--from")


def test_a_place_that_is_taken(robustfw, run, net):
    robustfw("adopt", *net, "--out", run).refused(1, "holds a run already")


def test_weights_of_another_net(robustfw, net):
    answer = robustfw("evaluate", *net, "--model", "mlp:hidden=[16]", *SET)
    answer.refused(1, "net.pt")


def test_data_of_other_classes(robustfw, net):
    robustfw("evaluate", *net, "--dataset", "wine", *SET).refused(1, "net.pt")
