"""The masking checklist by hand: gradients that are not true, and outputs that are no logits."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from .one_pixel import Around, OneNumber, audit_pixel, failed_lines, find_line


@pytest.mark.parametrize(("wrong", "verdict"), [(2, "passed"), (3, "failed")])
def test_gradients_must_be_true_on_four_of_five_examples(wrong, verdict):
    def lie(x):
        low = torch.arange(len(x))[:, None] < wrong
        return torch.where(low, 3 * x - 2 * x.detach(), x)

    line = find_line(audit_pixel(Around(OneNumber(), before=lie)), "true gradients")
    assert (line.verdict, line.numbers["agree"], line.numbers["expected"]) == (verdict, 10 - wrong, 8)


def test_a_loss_that_underflows():
    found = audit_pixel(Around(OneNumber(), after=lambda z: 1e4 * z))
    assert failed_lines(found) == {"gradients not zero"}
    assert find_line(found, "gradients not zero").numbers["without_gradient"] == 10


def test_a_gradient_that_is_not_finite():
    """√ of zero has the slope ∞, and ∞ times zero is no number."""
    found = audit_pixel(Around(OneNumber(), before=lambda x: x + (x - x).sqrt()))
    assert "gradients not zero" in failed_lines(found)
    assert find_line(found, "gradients not zero").numbers["without_gradient"] == 10


def test_outputs_that_change_and_predictions_that_do_not():
    class Counting(OneNumber):
        calls = 0

        def forward(self, x):
            self.calls += 1
            return super().forward(x) + self.calls

    found = audit_pixel(Counting())
    assert failed_lines(found) == {"deterministic"}
    assert find_line(found, "deterministic").numbers == {"n": 10, "outputs_differ": 10, "predictions_differ": 0}


def test_probabilities_are_no_logits():
    found = audit_pixel(Around(OneNumber(), after=lambda z: z.softmax(1)))
    assert failed_lines(found) == {"logits"}
    assert find_line(found, "logits").numbers["probabilities"] == 10


def test_infinite_outputs_are_no_logits():
    found = audit_pixel(Around(OneNumber(), after=lambda z: z.masked_fill(z > 0, torch.inf)))
    assert "logits" in failed_lines(found)
    assert find_line(found, "logits").numbers["not_finite"] == 10


def test_classes_that_an_example_cannot_have_may_be_masked():
    """−∞ is such a logit, and read as a low number."""
    assert (
        failed_lines(audit_pixel(Around(OneNumber(), after=lambda z: nn.functional.pad(z, (0, 1), value=-torch.inf))))
        == set()
    )


def test_log_probabilities_are_logits():
    assert failed_lines(audit_pixel(Around(OneNumber(), after=lambda z: z.log_softmax(1)))) == set()


@pytest.mark.parametrize("factor", [0.5, -1.0, 3.0])
def test_a_gradient_of_the_wrong_length_or_direction(factor):
    """The forward pass is x; the backward pass says factor."""
    found = audit_pixel(Around(OneNumber(), before=lambda x: factor * x + ((1 - factor) * x).detach()))
    assert failed_lines(found) == {"true gradients"}
    assert find_line(found, "true gradients").numbers["agree"] == 0


@pytest.mark.parametrize("slope", [1e-2, 1.0, 1e5])
@pytest.mark.parametrize("offset", [0.0, 10.0])
def test_true_gradients_pass_whatever_the_scale(slope, offset):
    found = audit_pixel(Around(OneNumber(), after=lambda z: slope * z + offset))
    assert find_line(found, "true gradients").verdict == "passed"
