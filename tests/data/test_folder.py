"""Folders of images as people have them: classes, splits and lists, and the pixels of a plain loop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from robustfw import DataError
from robustfw.plugin.registry import installed

RANDOM = np.random.default_rng(0)


def write(path, side=5):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = RANDOM.integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return tuple((torch.tensor(pixels).permute(2, 0, 1).float() / 255).flatten().tolist())


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def load(options=""):
    return installed().make("dataset", f"folder:images,size=5,workers=0{options}").load(Path("/nowhere"))


def contents(split):
    rows = {}
    for x, y in split.iterate(7):
        rows |= {tuple(image.flatten().tolist()): int(label) for image, label in zip(x, y, strict=True)}
    return rows


def test_sub_folders_are_classes_and_the_cut_is_a_partition(here):
    expected = {write(here / "images" / name / f"{i}.png"): label for label, name in enumerate("ab") for i in range(10)}
    splits = load(",validation=0.25")
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (12, 4, 4)
    assert splits.spec.labels == ("a", "b")
    assert contents(splits.train) | contents(splits.validation) | contents(splits.test) == expected
    assert load(",validation=0.25").fingerprint() == splits.fingerprint()
    assert load(",validation=0.25,seed=1").fingerprint() != splits.fingerprint()
    # in the order of the files the first 10 would be of one class
    first = contents(load(",test=1").test.first(10))
    assert 0 < sum(first.values()) < 10


@pytest.mark.parametrize(("names", "sizes"), [(("train", "val"), (9, 1, 4)), (("train", "val", "test"), (10, 4, 4))])
def test_folders_of_splits_are_used(here, names, sizes):
    expected = {}
    for name in names:
        rows = {
            write(here / "images" / name / kind / f"{i}.png"): label
            for label, kind in enumerate("ab")
            for i in range(5 if name == "train" else 2)
        }
        expected[name] = rows
    splits = load()
    assert (len(splits.train), len(splits.validation), len(splits.test)) == sizes
    assert contents(splits.test) == expected[names[-1]]
    assert contents(splits.train).items() <= expected["train"].items()


@pytest.mark.parametrize("with_splits", [False, True])
def test_a_list_says_what_is_what(here, with_splits):
    lines = ["path,label,split"] if with_splits else []
    expected = {}
    for i in range(12):
        pixels = write(here / "images" / f"{i}.png")
        label = (9, 10)[i % 2]
        expected[pixels] = i % 2
        lines.append(f"{i}.png,{label}" + (f",{'test' if i < 4 else 'train'}" if with_splits else ""))
    (here / "list.csv").write_text("\n".join(lines))
    splits = load(",list=list.csv,validation=0")
    assert splits.spec.labels == ("9", "10")
    assert len(splits.test) == (4 if with_splits else 2)
    assert contents(splits.train) | contents(splits.test) == expected


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("0.png,a\n1.png,a", r"entry 2 of list\.csv: there is no file .*1\.png"),
        ("0.png", r"entry 1 of list\.csv has 1 cells"),
        ("0.png,a,all", r"entry 1 of list\.csv is of a split 'all': write train, val or test"),
        ("", "names no file"),
    ],
)
def test_a_list_that_is_wrong(here, lines, message):
    write(here / "images" / "0.png")
    (here / "list.csv").write_text(lines)
    with pytest.raises(DataError, match=message):
        load(",list=list.csv")


def test_folders_that_are_none(here):
    with pytest.raises(DataError, match="there is no images, neither in the current directory nor in the data folder"):
        load()
    (here / "images").mkdir()
    with pytest.raises(DataError, match=r"no sub-folder.*folder reads <class>/ as well"):
        load()


def test_house_numbers_have_their_channels_first():
    from types import SimpleNamespace

    from robustfw_vision.reading import _tensor_split

    pixels = RANDOM.integers(0, 256, (6, 3, 32, 32), dtype=np.uint8)
    house = _tensor_split(SimpleNamespace(data=pixels, labels=np.arange(6)))
    cifar = _tensor_split(SimpleNamespace(data=pixels.transpose(0, 2, 3, 1), targets=list(range(6))))
    assert torch.equal(house.x, cifar.x)
    assert torch.equal(house.x, torch.tensor(pixels))
    assert house.y.tolist() == cifar.y.tolist() == list(range(6))
