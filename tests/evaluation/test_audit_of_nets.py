"""The masking checklist on trained nets: sound ones pass, those that hide their gradient do not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import robustfw
from robustfw.evaluation._audit import ADVICE, Attacks, TransferExamples, audit
from robustfw.inner.threat import Threat

from .one_pixel import Around, failed_lines

SET = "linf:radius=0.1"


def rivals(**others):
    """PGD, and the attacks that are held against it."""
    specs = {
        "many": "pgd:steps=40",
        "one": "single-step",
        "double": "pgd:steps=80",
        "restarts": "restarts:n=5,attack=(pgd:steps=40)",
        "noise": "random:samples=100",
    }
    return Attacks(**{name: robustfw.make("attack", spec) for name, spec in (specs | others).items()})


@pytest.fixture(scope="module")
def digits():
    return robustfw.make("dataset", "digits").load(Path()).test.first(150)


def train(objective):
    torch.set_num_threads(1)
    records = robustfw.train(dataset="digits", uncertainty=SET, objective=objective, epochs=10, seed=0)
    return list(records)[-1].model.eval()


@pytest.fixture(scope="module")
def sound():
    return train("robust")


@pytest.fixture(scope="module")
def other():
    return train("clean")


def audit_net(net, split, **more):
    return audit(net, split, **({"threat": Threat(robustfw.make("uncertainty", SET)), "attacks": rivals()} | more))


def straight_through(levels):
    return lambda x: x + (torch.round(x * levels) / levels - x).detach()


class Lie(torch.autograd.Function):
    """x, with a gradient that is 1 whatever happens behind."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return torch.ones_like(gradient)


def craft(net, split, radius=0.1):
    x, y = next(split.iterate(len(split)))
    seeded = {"generator": torch.Generator().manual_seed(0)}
    moved = robustfw.worst_case(net, x, y, uncertainty=f"linf:radius={radius}", attack="pgd:steps=20", **seeded)
    return TransferExamples(torch.arange(len(split)), moved)


def test_a_sound_net_passes_every_line(sound, other, digits):
    found = audit_net(sound, digits, transfer=[craft(other, digits)])
    assert {line.name: line.verdict for line in found.lines} == dict.fromkeys(ADVICE, "passed")
    assert found.verdict == "sound"


def test_a_net_that_is_not_robust_passes_too(other, digits):
    """The list is about the attack's eyesight, not about the net's strength."""
    assert audit_net(other, digits).verdict == "sound"


MASKED = {
    "saturated 1e3": (None, lambda z: 1e3 * z, {"large radius", "noise", "gradients not zero"}),
    "saturated 1e6": (None, lambda z: 1e6 * z, {"large radius", "noise", "gradients not zero"}),
    "rounded to 16 levels": (
        lambda x: torch.round(x * 16) / 16,
        None,
        {"large radius", "noise", "gradients not zero", "true gradients"},
    ),
    "rounded to bytes": (lambda x: torch.round(x * 255) / 255, None, {"gradients not zero", "true gradients"}),
    "straight through 16": (straight_through(16), None, {"true gradients"}),
    "straight through 255": (straight_through(255), None, {"true gradients"}),
    "noise": (
        lambda x: x + 0.1 * torch.randn_like(x),
        None,
        {"twice the steps", "restarts", "deterministic", "true gradients"},
    ),
    "probabilities": (None, lambda z: z.softmax(1), {"logits"}),
    "lie": (Lie.apply, None, {"noise", "true gradients"}),
    "no graph": (lambda x: x.detach(), None, {"large radius", "gradients not zero", "true gradients"}),
}


@pytest.mark.parametrize("mask", MASKED)
def test_a_net_that_hides_its_gradient_turns_the_list_red(mask, other, digits):
    before, after, lines = MASKED[mask]
    torch.manual_seed(0)  # of the net's own noise
    found = audit_net(Around(other, before or nn.Identity(), after or nn.Identity()), digits)
    assert found.verdict == "suspicious"
    assert lines <= failed_lines(found)


@pytest.mark.parametrize("mask", ["straight through 255", "probabilities"])
def test_lines_that_a_mask_does_not_touch_stay_green(mask, other, digits):
    before, after, lines = MASKED[mask]
    assert failed_lines(audit_net(Around(other, before or nn.Identity(), after or nn.Identity()), digits)) == lines


def test_the_net_comes_back_as_it_was(sound, digits):
    sound.train()
    before = {name: tensor.clone() for name, tensor in sound.state_dict().items()}
    for parameter in sound.parameters():
        parameter.grad = None
    audit_net(sound, digits.first(20))
    assert all(module.training for module in sound.modules())
    assert all(p.requires_grad and p.grad is None for p in sound.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in sound.state_dict().items())


def test_the_same_seed_gives_the_same_list(sound, digits):
    one, two = (audit_net(sound, digits.first(50), seed=3) for _ in range(2))
    assert one == two
