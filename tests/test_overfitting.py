"""The symptoms of a net that has learnt to fool its attack."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import robustfw
from robustfw.inner.adversary import Adversary
from robustfw.inner.threat import Threat
from robustfw.task import Classification
from robustfw.training._overfitting import Symptoms, diagnose, examine

EPSILON = 0.1


class Hole(nn.Module):
    """Right at x and at x ± ε, wrong half-way: a single step jumps over the hole that many steps find."""

    def forward(self, x):
        moved = x.flatten(1)[:, 0] - 0.5
        margin = torch.cos(2 * math.pi * moved / EPSILON) + 0.3 * moved
        return torch.stack([margin, torch.zeros_like(margin)], 1)


class Plain(nn.Module):
    """Linear: every attack finds the same."""

    def forward(self, x):
        margin = x.flatten(1)[:, 0] - 0.45
        return torch.stack([margin, torch.zeros_like(margin)], 1)


def symptoms(model, attack):
    x, y = torch.full((20, 1), 0.5), torch.zeros(20).long()
    threat, task = Threat(robustfw.make("uncertainty", f"linf:radius={EPSILON}")), Classification()
    generator = torch.Generator().manual_seed(0)
    return examine(model, x, y, Adversary(threat, robustfw.make("attack", attack), generator, task), task)


def test_a_single_step_does_not_see_the_hole_that_many_steps_find():
    single, many = symptoms(Hole(), "single-step"), symptoms(Hole(), "pgd:steps=20,step=0.2")
    assert single.attack_accuracy == 1
    assert many.attack_accuracy == 0
    diagnosis = diagnose(single, 1.0, many.attack_accuracy, smallest_gap=0.0, limit=0.2)
    assert diagnosis.overfitted
    assert "catastrophic overfitting" in diagnosis.warnings[0]


def test_the_gradients_of_a_linear_net_are_aligned_and_those_of_the_hole_are_not():
    assert symptoms(Plain(), "single-step").gradient_alignment == pytest.approx(1, abs=1e-5)
    assert symptoms(Hole(), "single-step").gradient_alignment < 0.7


def test_a_sound_net_has_no_symptom():
    single, many = symptoms(Plain(), "single-step"), symptoms(Plain(), "pgd:steps=20")
    diagnosis = diagnose(single, 1.0, many.attack_accuracy, smallest_gap=0.0, limit=0.2)
    assert diagnosis == type(diagnosis)(overfitted=False, gap=0.0, warnings=())


def test_a_gap_that_was_always_there_is_no_alarm_until_it_widens():
    def overfitted(lead, smallest):
        return diagnose(Symptoms(0.5 + lead, 0.9), 0.9, 0.5, smallest_gap=smallest, limit=0.2).overfitted

    assert not overfitted(0.25, smallest=1.0)
    assert overfitted(0.31, smallest=1.0)
    assert overfitted(0.25, smallest=0.02)


def test_better_on_attacked_than_on_clean_examples_is_label_leaking():
    diagnosis = diagnose(Symptoms(0.95, 0.9), 0.9, 0.9, smallest_gap=0.0, limit=0.2)
    assert "label leaking" in diagnosis.warnings[0]
    assert not diagnosis.overfitted
