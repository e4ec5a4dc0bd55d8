"""Single examples of an evaluation: what became of them, their worst cases, and reasons to doubt all of it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import robustfw
from robustfw import TensorSplit, UsageError, make
from robustfw.evaluation import evaluate
from robustfw.inner.threat import Threat

THREAT = Threat(make("uncertainty", "linf:radius=0.1"))
ATTACKS = [make("attack", "single-step"), make("attack", "pgd:steps=5")]


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 3))


def split(n=60):
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(n, 1, 4, 4, generator=generator)
    with torch.no_grad():
        y = net()(x).argmax(1)
    y[:5] = (y[:5] + 1) % 3
    return TensorSplit(x, y)


def measure(module, data=None, **more):
    return evaluate(module, data or split(), threat=THREAT, attacks=ATTACKS, batch_size=25, **more)


def test_kept_worst_cases_are_what_the_verdicts_say():
    model = net()
    data = split()
    examples = measure(model, data, keep_examples=True).examples
    assert torch.equal(examples.x, data.x)
    with torch.no_grad():
        torch.testing.assert_close(examples.outputs, model(data.x))
        torch.testing.assert_close(examples.adversarial_outputs, model(examples.adversarial))
    assert torch.equal(examples.correct, examples.outputs.argmax(1) == data.y)
    assert torch.equal(examples.robust, examples.correct & (examples.adversarial_outputs.argmax(1) == data.y))
    change = (examples.adversarial - data.x).flatten(1).abs().amax(1)
    assert torch.equal(change == 0, ~examples.correct)
    assert float(change.max()) <= 0.1 + 1e-6
    assert 0 < int(examples.fooled.sum()) < 55


def test_the_worst_case_of_a_graded_task_is_that_of_the_largest_error():
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    x = torch.rand(30, 4)
    y = torch.rand(30, 1)
    evaluation = evaluate(
        model,
        TensorSplit(x, y),
        threat=THREAT,
        attacks=ATTACKS,
        task=make("task", "regression:tolerance=0.5"),
        keep_examples=True,
    )
    kept = evaluation.examples
    errors = (kept.adversarial_outputs - kept.y).abs().flatten()
    torch.testing.assert_close(errors, evaluation.verdicts.robust_measure[:, 0], check_dtype=False)
    # of a linear net the worst case is known: the error grows by radius · ‖w‖₁, but for the range
    assert bool((errors >= (kept.outputs - kept.y).abs().flatten()).all())


def test_examples_are_kept_on_request_only():
    examples = measure(net()).examples
    assert len(examples) == 60
    with pytest.raises(UsageError, match="keep_examples=True"):
        _ = examples.adversarial


def test_rows_for_a_table():
    evaluation = measure(net(), keep_examples=True)
    rows = evaluation.examples.to_rows()
    examples = evaluation.examples
    assert len(rows) == 60
    fooled = next(row for row in rows if row["fooled"])
    assert fooled["correct"] is True
    assert fooled["robust"] is False
    assert fooled["before"] == fooled["y"] != fooled["after"]
    assert fooled["largest_change"] == pytest.approx(0.1, abs=1e-6)
    assert [row["robust"] for row in rows] == examples.robust.tolist()


class Deaf(nn.Module):
    """A net that ignores its input."""

    def forward(self, x):
        return torch.tensor([1.0, 0.0, 0.5]).repeat(len(x), 1) + 0 * x.flatten(1)[:, :1]


def test_a_net_that_ignores_its_input_is_doubted():
    evaluation = measure(Deaf())
    assert evaluation.constant
    assert any("the same outputs for all 60 examples: it ignores its input" in doubt for doubt in evaluation.doubts)


def test_the_same_output_for_the_same_example_is_no_reason_for_doubt():
    data = split()
    same = TensorSplit(data.x[10:11].repeat(7, 1, 1, 1), data.y[10:11].repeat(7))
    assert not measure(net(), same).constant
    assert not measure(net(), data.first(1)).constant


class Random(nn.Module):
    """A net with noise of some size on its outputs, in evaluation mode as well."""

    def __init__(self, size):
        super().__init__()
        self.net = net()
        self.size = size

    def forward(self, x):
        outputs = self.net(x)
        return outputs + self.size * torch.randn_like(outputs)


def test_a_random_net_is_doubted_and_rounding_is_not():
    evaluation = measure(Random(0.1))
    assert evaluation.random
    assert any("the net is random" in doubt and "mean of its outputs" in doubt for doubt in evaluation.doubts)
    rounding = measure(Random(1e-7))
    assert not rounding.random
    assert rounding.doubts == ()


def test_python_keeps_examples_on_request():
    data = split()
    options = {"uncertainty": "linf:radius=0.1", "attack": "single-step"}
    examples = robustfw.evaluate(net(), data, keep_examples=True, **options).examples
    assert torch.equal(examples.x, data.x)
    assert int(examples.fooled.sum()) > 0


def test_python_warns_of_a_random_net():
    with pytest.warns(robustfw.RobustfwWarning, match="the net is random"):
        robustfw.evaluate(Random(0.1), split(), uncertainty="linf:radius=0.1", attack="single-step")
