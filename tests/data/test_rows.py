"""Data sets of the datasets library, on disk and in Python: the numbers are those of a plain loop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import robustfw
from robustfw import DataError, UsageError
from robustfw.plugin.registry import installed
from robustfw.testing import LAWS

datasets = pytest.importorskip("datasets")
Image = pytest.importorskip("PIL.Image")

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 8, 10, 3), dtype=np.uint8)
NAMES = ["ant", "bee", "cat"]


def pictures(sizes=((8, 10),)):
    """A data set of pictures with names of classes, sorted by class."""
    images = []
    for i, pixels in enumerate(PIXELS):
        height, width = sizes[i % len(sizes)]
        images.append(Image.fromarray(np.resize(pixels, (height, width, 3))))
    features = datasets.Features(
        {"id": datasets.Value("int32"), "photo": datasets.Image(), "kind": datasets.ClassLabel(names=NAMES)}
    )
    rows = {"id": list(range(24)), "photo": images, "kind": [i // 8 for i in range(24)]}
    return datasets.Dataset.from_dict(rows, features=features)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pictures().save_to_disk("flat")
    datasets.DatasetDict({"train": pictures(), "test": pictures().select(range(4))}).save_to_disk("cut")
    pictures(((8, 10), (20, 16))).save_to_disk("sizes")
    return tmp_path


def load(spec):
    return installed().make("dataset", spec).load(Path("/nowhere"))


def test_pictures_are_those_of_a_plain_loop(here):
    splits = load("disk:flat")
    assert (splits.spec.shape, splits.spec.classes, splits.spec.labels) == ((3, 8, 10), 3, tuple(NAMES))
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (17, 2, 5)
    rows = {}
    for split in (splits.train, splits.validation, splits.test):
        for x, y in split.iterate(4):
            rows |= {tuple(image.flatten().tolist()): int(label) for image, label in zip(x, y, strict=True)}
    by_hand = {}
    for i, pixels in enumerate(PIXELS):
        x = torch.tensor(pixels).permute(2, 0, 1).float() / 255
        by_hand[tuple(x.flatten().tolist())] = i // 8
    assert rows == by_hand
    # sorted on disk by class, mixed in the split
    _, y = next(splits.train.iterate(8))
    assert len(set(y.tolist())) > 1


def test_own_splits_and_sizes(here):
    splits = load("disk:cut,validation=0")
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (24, 0, 4)
    with pytest.raises(DataError, match="have different sizes"):
        list(load("disk:sizes,test=1").test.iterate(24))
    resized = load("disk:sizes,size=6")
    x, _ = next(resized.train.iterate(17))
    assert x.shape == (17, 3, 6, 6)
    assert ((x >= 0) & (x <= 1)).all()


def test_a_data_set_on_disk_keeps_the_laws(here):
    dataset = installed().make("dataset", "disk:flat")
    for law in LAWS["dataset"]:
        law.check(dataset, 0)


def test_rows_go_straight_into_a_measurement():
    class Mean(torch.nn.Module):
        def forward(self, x):
            return 10 * x.mean((2, 3))

    net = Mean()
    data = pictures().rename_column("photo", "image").rename_column("kind", "label")
    result = robustfw.evaluate(net, data, uncertainty="linf:radius=2/255", attack="single-step")
    x = torch.tensor(PIXELS).permute(0, 3, 1, 2).float() / 255
    right = (net(x).argmax(1) == torch.arange(24) // 8).double().mean().item()
    assert result.clean_accuracy == pytest.approx(right)
    # streamed rows are read to the end
    streamed = robustfw.evaluate(net, data.to_iterable_dataset(), uncertainty="linf:radius=2/255", attack="single-step")
    assert (streamed.n, streamed.robust_accuracy) == (result.n, result.robust_accuracy)
    splits = robustfw.as_splits(data)
    assert (splits.spec.labels, len(splits.validation)) == (tuple(NAMES), 2)


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("disk:flat,image=picture", UsageError, "no column 'picture': the data has id, photo, kind"),
        ("disk:flat,classes=2,label=id", DataError, "labels run from 0 to 23, outside 0 … 1"),
        ("disk:nowhere", DataError, "there is no nowhere"),
        ("disk:.", DataError, "name a folder that save_to_disk has written"),
    ],
)
def test_what_is_wrong_is_one_sentence(here, spec, error, message):
    with pytest.raises(error, match=message):
        load(spec)


def test_without_a_network_the_hub_says_so(here, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match=r"cannot be read.*check the name and the network"):
        installed().make("dataset", "hf:nobody/nothing").load(here)
