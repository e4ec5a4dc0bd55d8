"""Data sets of images: splits, augmentations, few labels, and the real files where there are some."""

from __future__ import annotations

import itertools

import attrs
import pytest
import torch
from PIL import Image

import robustfw
from robustfw import DataError
from robustfw.data.splits import LoadedSplit, TensorSplit


def test_digits_are_all_there(tmp_path):
    splits = robustfw.make("dataset", "digits").load(tmp_path)
    assert len(splits.train) + len(splits.validation) + len(splits.test) == 1797
    assert splits.spec.shape == (1, 8, 8)
    assert not list(tmp_path.iterdir())


def test_the_validation_share(tmp_path):
    splits = robustfw.make("dataset", "two-moons:examples=100,validation=0.25").load(tmp_path)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (60, 20, 20)
    assert len(robustfw.make("dataset", "digits:validation=0").load(tmp_path).validation) == 0


def test_crops_are_shifted_and_mirrored_copies():
    from robustfw_vision.augment import Crop

    x = torch.rand(200, 1, 8, 8)
    sides = []
    for epoch in range(4):
        still = Crop(pad=0, flip=True)(x, torch.Generator().manual_seed(epoch), epoch)
        mirrored = (still == x.flip(3)).flatten(1).all(1)
        assert (mirrored | (still == x).flatten(1).all(1)).all()
        sides.append(mirrored)
    assert 60 < int(sides[0].sum()) < 140
    assert all(torch.equal(one, ~next) for one, next in itertools.pairwise(sides)), "each image, in every epoch"
    moved = Crop(pad=2, flip=False)(x, torch.Generator().manual_seed(0), 1)
    centre = torch.nn.functional.pad(x, [2] * 4, mode="reflect")
    windows = torch.stack([centre[:, :, i : i + 8, j : j + 8] for i in range(5) for j in range(5)])
    assert (windows == moved).flatten(2).all(2).any(0).all()


def test_a_hole_is_a_square_of_one_colour_anywhere():
    from robustfw_vision.augment import Cutout

    x = torch.rand(400, 2, 9, 7)
    cut = Cutout(4, (2.0, 3.0))(x, torch.Generator().manual_seed(0), 0)
    colour = torch.tensor([2.0, 3.0])[:, None, None]
    hole = (cut == colour).all(1)
    assert torch.equal(cut, torch.where(hole[:, None], colour, x)), "elsewhere nothing changes"
    rows, columns = hole.any(2).sum(1), hole.any(1).sum(1)
    assert torch.equal(hole.flatten(1).sum(1), rows * columns), "a rectangle"
    assert int(rows.max()) == int(columns.max()) == 4
    assert int(rows.min()) == int(columns.min()) == 2, "half of it is inside"
    assert hole.any(0).all(), "no pixel is safe"


def test_augmentations_of_cifar10_are_options():
    from robustfw_vision.datasets import make_augmentation

    x = torch.rand(8, 3, 32, 32)
    assert make_augmentation("none", side=32) is None
    both = make_augmentation("crop", side=32, shift=0, cutout=32, fill=(0.1, 0.2, 0.3))
    still = both(x, torch.Generator().manual_seed(0), 0)
    assert still.shape == x.shape
    assert (still[:, :, 16, 16] == torch.tensor([0.1, 0.2, 0.3])).all(), (
        "a hole as large as the image covers its centre"
    )
    with pytest.raises(robustfw.UsageError, match="cutout"):
        robustfw.make("dataset", "cifar10:cutout=33")


def test_few_labels_are_stratified_repeated_and_the_seeds(tmp_path):
    whole = robustfw.make("dataset", "digits").load(tmp_path)
    few = [robustfw.make("dataset", f"few-labels:labels=23,seed={seed}").load(tmp_path) for seed in (0, 0, 1)]
    assert few[0].fingerprint() == few[1].fingerprint() != few[2].fingerprint()
    for splits in few:
        splits.check()
        x, y, n = splits.train.x, splits.train.y, len(whole.train)
        assert torch.equal(x[:n], whole.train.x)
        labelled = y[:n] >= 0
        assert torch.equal(y[:n][labelled], whole.train.y[labelled])
        assert sorted(y[:n][labelled].bincount().tolist()) == [2] * 7 + [3] * 3
        assert float((y >= 0).float().mean()) == pytest.approx(0.2, abs=0.01)
        assert len(torch.cat([x[:n], x[n:]]).flatten(1).unique(dim=0)) == len(whole.train.x.flatten(1).unique(dim=0))
        assert torch.equal(splits.validation.y, whole.validation.y)
        assert torch.equal(splits.test.y, whole.test.y)


def test_few_labels_repeated_as_often_as_one_says(tmp_path):
    once, thrice = (
        robustfw.make("dataset", f"few-labels:labels=50,repeats={repeats}").load(tmp_path).train for repeats in (1, 3)
    )
    assert (len(thrice) - len(once), int((once.y >= 0).sum()), int((thrice.y >= 0).sum())) == (100, 50, 150)
    every = robustfw.make("dataset", "few-labels:dataset=(two-moons:examples=100),labels=60").load(tmp_path)
    assert int((every.train.y >= 0).sum()) == 60


def test_more_labels_than_there_are(tmp_path):
    with pytest.raises(DataError, match=r"5000 labels would be 500 of class 0, of which there are .*: keep fewer"):
        robustfw.make("dataset", "few-labels:labels=5000").load(tmp_path)


def test_only_training_may_lack_labels(tmp_path):
    splits = robustfw.make("dataset", "few-labels").load(tmp_path)
    with pytest.raises(DataError, match="validation: some examples have no label"):
        attrs.evolve(splits, validation=splits.train).check()
    net = robustfw.make("model", "linear").build(splits.spec)
    with pytest.raises(DataError, match=r"without a label .* cannot be evaluated"):
        robustfw.evaluate(net, splits.train, uncertainty="l2", attack="single-step", classes=10)


def test_image_folders_are_read_by_name(tmp_path):
    for part, count in (("train", 6), ("test", 2)):
        for label, colour in (("blue", (0, 0, 255)), ("red", (255, 0, 0))):
            folder = tmp_path / "pets" / part / label
            folder.mkdir(parents=True)
            for i in range(count):
                Image.new("RGB", (12, 10), colour).save(folder / f"{i}.png")
    splits = robustfw.make("dataset", "image-folder:path=pets,size=8,workers=0,validation=0.25").load(tmp_path)
    splits.check()
    assert isinstance(splits.train, LoadedSplit)
    assert splits.spec.labels == ("blue", "red")
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (9, 3, 4)
    x, y = next(splits.test.iterate(4))
    assert x.shape == (4, 3, 8, 8)
    assert x[y == 1][:, 0].min() == 1
    assert (
        splits.fingerprint()
        == robustfw.make("dataset", "image-folder:path=pets,size=8,workers=0,validation=0.25")
        .load(tmp_path)
        .fingerprint()
    )


def test_labels_of_files_stay(tmp_path):
    for part in ("train", "test"):
        (tmp_path / part / "one").mkdir(parents=True)
        for i in range(4):
            Image.new("RGB", (8, 8)).save(tmp_path / part / "one" / f"{i}.png")
    spec = f"few-labels:labels=1,dataset=(image-folder:path={tmp_path},size=8,workers=0)"
    with pytest.raises(DataError, match="from examples in memory only"):
        robustfw.make("dataset", spec).load(tmp_path)


def test_folders_that_are_not_there(tmp_path):
    with pytest.raises(DataError, match="image-folder reads train/<class>/ and test/<class>/"):
        robustfw.make("dataset", "image-folder:path=nowhere").load(tmp_path)


def test_mnist_is_the_real_one(data_dir):
    splits = robustfw.make("dataset", "mnist").load(data_dir)
    splits.check()
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (57_000, 3_000, 10_000)
    assert splits.test.y[:5].tolist() == [7, 2, 1, 0, 4]
    assert isinstance(splits.train, TensorSplit)
    assert splits.train.x.dtype == torch.uint8
    pixels = torch.cat([splits.train.x, splits.validation.x]).float() / 255
    assert float(pixels.mean()) == pytest.approx(0.1307, abs=1e-4)
    assert float(pixels.std()) == pytest.approx(0.3081, abs=1e-4)


def test_cifar10_is_the_real_one(data_dir):
    splits = robustfw.make("dataset", "cifar10").load(data_dir)
    splits.check()
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (47_500, 2_500, 10_000)
    assert splits.spec.labels[3] == "cat"
    assert splits.test.y[:4].tolist() == [3, 8, 8, 0]


@pytest.mark.parametrize("content", [b"", b"\0\0\x08\x03\0\0", b"no images" * 1000, "half"])
def test_broken_files_are_told_from_missing_ones(data_dir, tmp_path, content):
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for file in (data_dir / "MNIST" / "raw").iterdir():
        (folder / file.name).symlink_to(file)
    broken = folder / "train-images-idx3-ubyte"
    if content == "half":
        content = broken.read_bytes()[: broken.stat().st_size // 2]
    broken.unlink()
    broken.write_bytes(content)
    with pytest.raises(DataError, match=rf"the files of MNIST in {tmp_path} cannot be read \(.*\): remove them"):
        robustfw.make("dataset", "mnist").load(tmp_path)


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_the_laws_hold_on_the_real_files(data_dir, name):
    from robustfw.testing import check

    check(robustfw.make("dataset", name))
