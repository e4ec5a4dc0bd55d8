"""evaluate --escalate: evidence of masked gradients is a line of the result, and attacks go through them."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from .test_output import parsed

ROUNDED = """
import torch
from torch import nn

class Rounded(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net
    def forward(self, x):
        return self.net(torch.round(15 * x) / 15)

class Noisy(Rounded):
    def forward(self, x):
        return self.net(x + 0.05 * torch.randn_like(x))

def inner():
    import robustfw
    spec = robustfw.make("dataset", "digits").load(None).spec
    return robustfw.make("model", "mlp").build_untrained(spec)

def rounded():
    return Rounded(inner())

def noisy():
    return Noisy(inner())
"""


@pytest.fixture
def masked(run):
    """``masked("rounded")``: flags of the run's net behind a step that hides its gradient."""
    Path("nets.py").write_text(ROUNDED)
    weights = load_file(run / "checkpoints" / "best.safetensors")
    save_file({f"net.{name}": value for name, value in weights.items()}, "masked.safetensors")

    def flags(name):
        model = ("--model", f"python:nets.py:{name}", "--weights", "masked.safetensors", "--dataset", "digits")
        return (*model, "--uncertainty", "linf:radius=0.1", "--examples", "100", "--attack", "pgd:steps=20")

    return flags


@pytest.mark.filterwarnings("ignore:no gradient flows")
def test_attacks_go_through_what_hides_a_gradient(robustfw, run, masked):
    blind = parsed(robustfw("evaluate", *masked("rounded"), "--json").out)
    seen = parsed(robustfw("evaluate", *masked("rounded"), "--escalate", "--json").out)
    own = parsed(robustfw("evaluate", run, "--examples", "100", "--attack", "pgd:steps=20", "--json").out)
    assert "escalation" not in blind
    (trigger,) = seen["escalation"]
    assert trigger["name"] == "steps"
    assert "round" in trigger["evidence"]
    assert seen["robust"] < blind["robust"] - 10
    assert abs(seen["robust"] - own["robust"]) <= 10
    answer = robustfw("evaluate", *masked("rounded"), "--escalate")
    assert "gradients go straight through these steps (BPDA)" in answer.out


def test_a_random_net_is_judged_by_a_majority(robustfw, masked):
    result = parsed(robustfw("evaluate", *masked("noisy"), "--escalate", "--json").out)
    assert [trigger["name"] for trigger in result["escalation"]] == ["random"]
    once = parsed(robustfw("evaluate", *masked("noisy"), "--json").out)
    assert result["forward_passes"] > 4 * once["forward_passes"], "each draw is counted"


def test_a_sound_net_is_attacked_as_ever(robustfw, run):
    plain = parsed(robustfw("evaluate", run, "--examples", "100", "--json").out)
    asked = parsed(robustfw("evaluate", run, "--examples", "100", "--escalate", "--json").out)
    assert asked["escalation"] == []
    assert (asked["robust"], asked["forward_passes"]) == (plain["robust"], plain["forward_passes"])


def test_it_is_for_an_attack_on_all_examples(robustfw, run):
    robustfw("evaluate", run, "--within", "5s", "--escalate").refused(2, "--escalate", "--within")
