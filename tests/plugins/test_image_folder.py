"""Folders of images: what is said of files, folders and reading processes that are not right."""

from __future__ import annotations

import os
import struct
import zlib

import numpy as np
import pytest
import torch

import robustfw
from robustfw import DataError, UsageError
from robustfw.data.splits import LoadedSplit

from .image_folders import RNG, folder_of, load


@pytest.mark.filterwarnings("ignore:Truncated File Read")
@pytest.mark.parametrize(
    ("name", "workers"),
    [("image.png", 0), ("image.png", 1), ("image.png", 2), ("image.jpg", 0), ("image.jpg", 2)]
    + [(name, 0) for name in ("image.tif", "image.webp", "image.bmp")],
)
def test_truncated_images_are_told_by_name_from_any_process(tmp_path, name, workers):
    root = folder_of(tmp_path, [RNG.integers(0, 256, (64, 64, 3), np.uint8)] * 2, name)
    file = root / "images" / "test" / "b" / f"001-{name}"
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])
    splits = load(root, workers=workers)
    with pytest.raises(DataError) as caught:
        list(splits.test.iterate(2))
    message = str(caught.value)
    assert message.startswith(f"{file} cannot be read as an image (")
    assert "\n" not in message
    assert message.count(str(file)) == 1


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_files_that_are_no_images(tmp_path, content):
    root = folder_of(tmp_path, [np.zeros((8, 8), np.uint8)] * 2)
    (root / "images" / "test" / "a" / "000-image.png").write_bytes(content)
    with pytest.raises(DataError, match=r"000-image.png cannot be read as an image \("):
        list(load(root).test.iterate(2))


def bomb(pixels_across):
    """A PNG of a few hundred bytes that says it has so many pixels in each direction."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", pixels_across, pixels_across, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("across", [10_000, 20_000])
@pytest.mark.parametrize("workers", [0, 1])
def test_files_made_to_fill_the_memory_are_refused(tmp_path, across, workers):
    """Pillow warns of 100 million pixels, and refuses 400 million."""
    root = folder_of(tmp_path, [np.zeros((8, 8), np.uint8)] * 2)
    (root / "images" / "test" / "a" / "000-image.png").write_bytes(bomb(across))
    with pytest.raises(DataError, match=r"000-image.png has more than [\d,]+ pixels"):
        list(load(root, workers=workers).test.iterate(2))


def test_a_long_thin_image_is_not_blown_up(tmp_path):
    root = folder_of(tmp_path, [np.zeros((1, 60_000), np.uint8)] * 2)
    with pytest.raises(DataError, match=r"000-image.png is 60000x1, too long to be resized to 64 pixels"):
        list(load(root, size=64).test.iterate(2))


def test_pipes_are_no_files(tmp_path):
    """Whoever opened one would wait for ever."""
    root = folder_of(tmp_path, [np.zeros((8, 8), np.uint8)] * 2)
    os.mkfifo(root / "images" / "train" / "a" / "pipe.png")
    with pytest.raises(DataError, match=r"pipe.png is a pipe, a socket or a device, no file: remove it"):
        load(root)


def test_links_that_lead_nowhere_or_round_and_round(tmp_path):
    root = folder_of(tmp_path, [np.zeros((8, 8), np.uint8)] * 2)
    (root / "images" / "train" / "a" / "gone.png").symlink_to("nowhere.png")
    with pytest.raises(DataError, match=r"gone.png cannot be read \(No such file"):
        load(root)
    (root / "images" / "train" / "a" / "gone.png").unlink()
    (root / "images" / "train" / "a" / "round").symlink_to(".")
    with pytest.raises(DataError, match=r"the link \S+round leads back to a folder that it is in: remove it"):
        load(root)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_folders_that_may_not_be_read_are_not_passed_over(tmp_path):
    root = folder_of(tmp_path, [np.zeros((8, 8), np.uint8)] * 2)
    locked = root / "images" / "train" / "a" / "locked"
    locked.mkdir(mode=0)
    with pytest.raises(DataError, match=r"locked cannot be read \(Permission denied\)"):
        load(root)


def test_names_that_are_not_utf8(tmp_path):
    root = folder_of(tmp_path, [np.zeros((8, 8), np.uint8)] * 2)
    inside = os.fsencode(root / "images" / "train" / "a")
    file = os.path.join(inside, b"caf\xe9.png")
    os.rename(os.path.join(inside, b"000-image.png"), file)
    with pytest.raises(DataError, match=r"the name b'caf\\xe9.png' in .* is not UTF-8: rename it"):
        load(root)
    os.rename(file, os.path.join(inside, b"000-image.png"))
    for part in ("train", "test"):
        os.rename(root / "images" / part / "a", os.fsencode(root / "images" / part) + b"/\xe9t\xe9")
    with pytest.raises(DataError, match=r"the name b'\\xe9t\\xe9' in .* is not UTF-8: rename it"):
        load(root)


def test_class_names_that_cannot_be_shown(tmp_path):
    root = folder_of(tmp_path, [np.zeros((8, 8), np.uint8)] * 2)
    (root / "images" / "train" / "a").rename(root / "images" / "train" / "\x1b[31m")
    with pytest.raises(DataError, match=r"class folder '\\x1b\[31m' in .* cannot be shown"):
        load(root)


def test_names_in_any_script_are_names(tmp_path):
    root = folder_of(tmp_path, [np.zeros((8, 8), np.uint8)] * 2)
    for part in ("train", "test"):
        (root / "images" / part / "a").rename(root / "images" / part / "猫 é")
    splits = load(root)
    assert splits.spec.labels == ("b", "猫 é")
    assert len(splits.fingerprint()) == 64


def test_what_systems_hide_in_folders_is_passed_over(tmp_path):
    root = folder_of(tmp_path, [np.zeros((8, 8), np.uint8)] * 2)
    before = load(root).fingerprint()
    (root / "images" / "train" / ".ipynb_checkpoints").mkdir()
    (root / "images" / "train" / "a" / "._000-image.png").write_bytes(b"a resource fork")
    assert load(root).fingerprint() == before


def test_classes_without_images_are_told(tmp_path):
    root = folder_of(tmp_path, [np.zeros((8, 8), np.uint8)] * 2)
    for part in ("train", "test"):
        for name in ("cats", "dogs"):
            (root / "images" / part / name).mkdir()
    (root / "images" / "train" / "dogs" / "notes.txt").write_text("no image")
    with pytest.raises(DataError, match=r"there is no image of the classes cats, dogs in .*train"):
        load(root)


def test_classes_of_train_and_test_are_the_same(tmp_path):
    root = folder_of(tmp_path, [np.zeros((8, 8), np.uint8)] * 2)
    (root / "images" / "test" / "c").mkdir()
    with pytest.raises(DataError, match=r"train has the classes \['a', 'b'\], test has \['a', 'b', 'c'\]"):
        load(root)


def test_images_smaller_than_a_crops_shift(tmp_path):
    root = folder_of(tmp_path, [np.zeros((8, 8), np.uint8)] * 2)
    with pytest.raises(UsageError, match=r"images of 4 pixels cannot be moved by up to 4, .* a shift of 3 at most"):
        load(root, size=4, augment="crop")
    splits = load(root, size=4, augment="crop", shift=3)
    x = next(splits.train.iterate(2))[0]
    assert splits.augment(x, torch.Generator(), 0).shape == x.shape
    from robustfw_vision.augment import Crop

    with pytest.raises(UsageError, match="cannot be moved by up to 9"):
        Crop(pad=9)(torch.rand(2, 1, 9, 12), torch.Generator(), 0)


def test_images_that_no_memory_holds(tmp_path):
    root = folder_of(tmp_path, [np.zeros((8, 8), np.uint8)] * 2)
    with pytest.raises(UsageError, match=r"an image of 10000000x10000000 pixels would take .* GiB of memory here"):
        load(root, size=10_000_000)


class Failing(torch.utils.data.Dataset):
    """A stranger's data set, one of whose examples ends in an error."""

    def __init__(self, error):
        self.error = error

    def __len__(self):
        return 4

    def __getitem__(self, index):
        if index == 2:
            raise self.error
        return torch.zeros(1), 0


@pytest.mark.parametrize("workers", [0, 1])
def test_errors_of_reading_are_sentences_from_any_process(workers):

    def read(error):
        return list(LoadedSplit(Failing(error), "failing", workers).iterate(2))

    with pytest.raises(DataError, match=r"^example 2 is broken: mend it$"):
        read(DataError("example 2 is broken: mend it"))
    with pytest.raises(DataError, match=r"^there is too little memory for a batch"):
        read(MemoryError())


def test_errors_that_say_nothing_of_data_are_left_as_they_are():
    with pytest.raises(RuntimeError, match="something else"):
        list(LoadedSplit(Failing(RuntimeError("something else")), "failing", 0).iterate(2))


@pytest.mark.parametrize("channels", ["auto", 3])
def test_the_laws_hold_for_folders(tmp_path, channels):
    from robustfw.testing import check

    folder_of(tmp_path, [RNG.integers(0, 256, (9, 12), np.uint8) for _ in range(12)])
    spec = f"image-folder:path={tmp_path / 'images'},size=8,workers=0,validation=0.2,channels={channels}"
    check(robustfw.make("dataset", spec))


def test_a_folder_at_home(tmp_path, monkeypatch):
    folder_of(tmp_path, [np.zeros((8, 8), np.uint8)] * 2)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(load(tmp_path / "elsewhere", path="~/images").test) == 2
    with pytest.raises(DataError, match=r"no images in .*~nobody-here"):
        load(tmp_path, path="~nobody-here/images")
