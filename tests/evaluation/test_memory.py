"""Batches that memory has no room for are halved, and what is measured is what smaller batches give."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from robustfw import RobustfwWarning, TensorSplit, make
from robustfw.evaluation import Examples, Fooled, Verdicts, craft, evaluate, sweep, verdicts
from robustfw.evaluation._batches import is_out_of_memory, peak_memory
from robustfw.inner.threat import Threat

THREAT = Threat(make("uncertainty", "linf:radius=0.1"))
ATTACK = make("attack", "pgd:steps=2")


class Small(nn.Module):
    """A net that has memory for batches of 12 examples and no more, from some call on."""

    def __init__(self, error=None, from_call=0):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(6, 3)
        self.error = error or torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        self.calls = 0
        self.from_call = from_call

    def forward(self, x):
        self.calls += 1
        if len(x) > 12 and self.calls > self.from_call:
            raise self.error
        return self.layer(x)


def split(n=50):
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(n, 6, generator=generator)
    with torch.no_grad():
        y = Small().layer(x).argmax(1)
    return TensorSplit(x, y)


def attack(net, data, batch_size, **more):
    return evaluate(net, data, threat=THREAT, attacks=[ATTACK], batch_size=batch_size, **more)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you"),
        MemoryError(),
    ],
    ids=["torch", "cpu", "python"],
)
def test_a_measurement_in_halved_batches_is_that_of_the_smaller_batch_size(error):
    expected = attack(Small(), split(), 12)
    with (
        pytest.warns(RobustfwWarning, match="a batch of 48 .* goes on with 24; --batch-size 24"),
        pytest.warns(RobustfwWarning, match="a batch of 24 .* goes on with 12; --batch-size 12"),
    ):
        evaluation = attack(Small(error), split(), 48)
    assert evaluation.batch_size == 12
    assert torch.equal(evaluation.verdicts.robust, expected.verdicts.robust)
    assert 0 < evaluation.robust < evaluation.correct == 50
    assert evaluation.forward_passes == expected.forward_passes


def test_a_batch_is_no_larger_than_its_examples():
    with pytest.warns(RobustfwWarning, match="a batch of 20 .* with 10"):
        assert attack(Small(), split(20), 500).batch_size == 10


def test_once_found_the_smaller_size_is_kept_and_examples_get_the_random_numbers_of_that_size():
    expected = attack(Small(), split(), 12, keep_examples=True).examples
    # the first batch of 24 has room: its forward passes are two, its attack's three or more
    with pytest.warns(RobustfwWarning, match="goes on with 12") as caught:
        kept = attack(Small(from_call=8), split(), 24, keep_examples=True)
    assert len(caught) == 1
    assert kept.batch_size == 12
    torch.testing.assert_close(kept.examples.adversarial[24:], expected.adversarial[24:])


def test_what_is_shown_of_a_batch_is_shown_once():
    shown = []
    options = {"threat": THREAT, "attacks": [ATTACK, ATTACK], "batch_size": 24}
    # memory ends in the middle of the first batch
    with pytest.warns(RobustfwWarning, match="goes on with 12"):
        list(verdicts(Small(from_call=6), split(), see=shown.append, **options))
    assert sum(len(batch.x) for batch in shown[::2]) <= 50
    assert [len(batch.x) for batch in shown if len(batch.x) > 12] == []


def test_sweeps_and_crafting_halve_too():
    options = {"threat": THREAT, "attack": ATTACK, "factors": [0, 1, 2]}
    expected = Fooled.concatenate(sweep(Small(), split(), batch_size=12, **options))
    with pytest.warns(RobustfwWarning, match="goes on with 12"):
        swept = Fooled.concatenate(sweep(Small(), split(), batch_size=24, **options))
    assert torch.equal(swept.smallest, expected.smallest)

    crafting = {"threats": [THREAT, THREAT.scale(2)], "attack": ATTACK}
    few = Examples.concatenate(list(craft(Small(), split(), batch_size=12, **crafting)))
    with pytest.warns(RobustfwWarning, match="goes on with 12"):
        halved = Examples.concatenate(list(craft(Small(), split(), batch_size=24, **crafting)))
    assert torch.equal(halved.adversarial, few.adversarial)
    assert len(few) > 0


def test_one_example_is_not_halved_and_other_errors_go_on_as_they_are():
    class Full(nn.Linear):
        def forward(self, x):
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError), pytest.warns(RobustfwWarning, match="goes on with 1;"):
        attack(Full(6, 3), split(2), 2)
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_an_interrupted_measurement_goes_on_with_the_size_that_memory_had_room_for():
    options = {"threat": THREAT, "attacks": [ATTACK]}
    whole = Verdicts.concatenate(verdicts(Small(), split(), batch_size=12, **options))
    batches = verdicts(Small(), split(), batch_size=24, **options)
    with pytest.warns(RobustfwWarning, match="goes on with 12"):
        first = next(batches)
    first = Verdicts.concatenate([first, next(batches)])
    rest = Verdicts.concatenate(verdicts(Small(), split(), batch_size=24, after=first, **options))
    both = Verdicts.concatenate([first, rest])
    assert torch.equal(both.robust, whole.robust)


def test_memory_is_said():
    before = peak_memory(torch.device("cpu"))
    evaluation = attack(Small(), split(), 12)
    assert 2**20 < before <= evaluation.memory < 2**45
