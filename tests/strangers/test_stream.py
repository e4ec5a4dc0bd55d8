"""A streamed data set: training examples in an order of their own, validation by index."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import robustfw
from robustfw import Step
from robustfw.testing import check

PARTS = {"dataset": "sharded:validation=60", "model": "mlp:hidden=[16]", "attack": "single-step", "batch_size": 100}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Six files of digits of unlike lengths, 1000 examples in all, and one to measure on."""
    bunch = load_digits()
    x, y = (bunch.images[:, None] / 16).astype(np.float32), bunch.target.astype(np.int64)
    (tmp_path / "shards").mkdir()
    borders = [0, 130, 300, 330, 600, 780, 1000]
    for number, (start, end) in enumerate(itertools.pairwise(borders)):
        np.savez(tmp_path / "shards" / f"train-{number}.npz", x=x[start:end], y=y[start:end])
    np.savez(tmp_path / "shards" / "test.npz", x=x[1200:1400], y=y[1200:1400])
    monkeypatch.setenv("ROBUSTFW_DATA", str(tmp_path))
    return tmp_path


def test_laws(plugin, folder):
    check(plugin.Sharded())


def test_an_epoch_has_each_example_once_and_another_order_than_the_next(plugin, folder):
    stream = plugin.Sharded().load(folder).train
    epochs = [torch.cat([x for x, _ in stream.epoch(epoch, 0, 64, 0, (0, 1))]) for epoch in (0, 0, 1)]
    assert torch.equal(epochs[0], epochs[1])
    assert not torch.equal(epochs[0], epochs[2])
    assert len(stream) == len(epochs[0]) == 1000
    assert torch.equal(epochs[0].flatten(1).sum(1).sort().values, epochs[2].flatten(1).sum(1).sort().values)


def test_processes_share_each_batch(plugin, folder):
    stream = plugin.Sharded().load(folder).train
    whole = [y for _, y in stream.epoch(1, 5, 50, 3, (0, 1))]
    halves = [[y for _, y in stream.epoch(1, 5, 50, 3, (rank, 2))] for rank in (0, 1)]
    for batch, even, odd in zip(whole, *halves, strict=True):
        assert torch.equal(batch, torch.stack([even, odd], 1).flatten())


def test_it_trains_on_what_the_stream_gives(plugin, folder):
    records = list(robustfw.train(**PARTS, objective="clean", epochs=3, device="cpu", steps=True, seed=1))
    assert [record.batch for record in records if isinstance(record, Step)] == 3 * list(range(1, 11))
    assert records[-1].attacked == 60
    assert records[-1].clean_accuracy > 0.4


def test_it_resumes_within_an_epoch(resumed, folder):
    resumed(**PARTS, stop=(2, 4))


def test_parts_that_learn_from_data_and_averages_get_their_share(plugin, folder):
    seen = []

    class Learning(robustfw.Objective):
        def fit(self, train):
            seen.append(next(train.iterate(len(train))))
            return self

        def __call__(self, model, x, y, batch):
            return batch.loss(model(batch()))

    options = PARTS | {"objective": Learning(), "averaging": "swa:start=0.5"}
    assert len(list(robustfw.train(**options, epochs=1, device="cpu"))) == 1
    stream = plugin.Sharded().load(folder).train
    assert torch.equal(seen[0][0], stream.first_examples(5000)[0])


def test_measured_by_its_name(command, folder):
    assert command(
        "train", "--dataset", "sharded", "--epochs", 1, "--attack", "single-step", "--validation-examples", 40,
        "--out", "run",
    ).status == 0  # fmt: skip
    assert command("evaluate", "run", "--examples", 50).status == 0
    for measuring in ("evaluate", "sweep", "craft", "audit"):
        refused = command(measuring, "run", "--split", "train", "--examples", 50)
        assert refused.status == 2
        assert "the train examples come as a stream" in refused.err


def test_without_files_it_says_where_they_should_be(command, folder):
    answer = command("train", "--dataset", "sharded:folder=elsewhere", "--epochs", 1, "--out", "run")
    assert answer.status == 1
    assert "there is no train-*.npz in" in answer.err
