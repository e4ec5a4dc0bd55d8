"""Folders of images: what their pixels become, and what is said of files and folders that are not right."""

from __future__ import annotations

import os
import signal
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

import robustfw
from robustfw import DataError, UsageError
from robustfw.data.splits import LoadedSplit

RNG = np.random.default_rng(0)


def folder_of(tmp_path, images, name="image.png", **how):
    """A data folder with these images (arrays or Pillow's) as the test examples of two classes in turn."""
    for i, image in enumerate(images):
        for part in ("train", "test"):
            place = tmp_path / "images" / part / "ab"[i % 2]
            place.mkdir(parents=True, exist_ok=True)
            image = image if isinstance(image, Image.Image) else Image.fromarray(image)
            image.save(place / f"{i:03}-{name}", **how)
    return tmp_path


def load(root, size=8, **options):
    given = {"size": size, "workers": 0, "validation": 0, "augment": "none"} | options
    spec = ",".join(f"{key}={value}" for key, value in given.items())
    return robustfw.make("dataset", f"image-folder:{spec}").load(root)


def test_images(root, **options):
    splits = load(root, **options)
    return next(splits.test.iterate(len(splits.test)))[0]


test_images.__test__ = False


def first_grey(root, **options):
    return test_images(root, channels=1, **options)[0, 0].double().numpy()


DEEP = {
    "16-bit PNG": ("image.png", lambda v: np.round(v * 65535).astype(np.uint16), 1e-5),
    "16-bit TIFF": ("image.tif", lambda v: np.round(v * 65535).astype(np.uint16), 1e-5),
    "16-bit PGM": ("image.pgm", lambda v: np.round(v * 65535).astype(np.uint16), 1e-5),
    "float TIFF": ("image.tiff", lambda v: v.astype(np.float32), 1e-7),
    "8-bit PNG": ("image.PNG", lambda v: np.round(v * 255).astype(np.uint8), 1 / 500),
}


@pytest.mark.parametrize("kind", DEEP)
@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_of_any_depth_are_shares_of_the_largest_value(tmp_path, kind, channels):
    """16 bits were white, and floating point black."""
    name, store, rounding = DEEP[kind]
    values = RNG.random((8, 8))
    x = test_images(folder_of(tmp_path, [store(values), store(values)], name), channels=channels)
    assert x.shape == (2, channels, 8, 8)
    for channel in x[0]:
        np.testing.assert_allclose(channel, values, atol=rounding)


@pytest.mark.parametrize("kind", ["16-bit PNG", "float TIFF"])
def test_resizing_deep_images_averages_as_it_does_shallow_ones(tmp_path, kind):
    name, store, _ = DEEP[kind]
    values = RNG.integers(0, 256, (24, 32)) / 255
    deep = first_grey(folder_of(tmp_path / "deep", [store(values)] * 2, name))
    shallow = first_grey(folder_of(tmp_path / "shallow", [np.round(values * 255).astype(np.uint8)] * 2))
    np.testing.assert_allclose(deep, shallow, atol=2 / 255)


def test_resized_values_keep_the_range(tmp_path):
    x = test_images(folder_of(tmp_path, [np.ones((50, 31), np.float32)] * 2, "white.tif"), size=13)
    assert float(x.max()) == 1
    assert float(x.min()) > 1 - 1e-6


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("value", "message"), [(np.nan, "not finite"), (np.inf, "not finite"), (1.5, "from 0 to 1.5"), (-2, "from -2 to 0")]
)
def test_floating_point_pixels_outside_the_range_are_refused_by_name(tmp_path, value, message, workers):
    values = np.zeros((8, 8), np.float32)
    values[3, 4] = value
    splits = load(folder_of(tmp_path, [values] * 2, "map.tif"), workers=workers)
    with pytest.raises(DataError, match=rf"^\S*000-map.tif has .*{message}"):
        list(splits.test.iterate(2))


def test_32_bit_whole_numbers_have_no_range(tmp_path):
    splits = load(folder_of(tmp_path, [np.full((8, 8), 7, np.int32)] * 2, "map.tif"))
    with pytest.raises(DataError, match=r"000-map.tif has 32-bit whole numbers"):
        list(splits.test.iterate(2))


def test_grey_images_have_one_channel_and_colours_three(tmp_path):
    """Grey images always became three channels."""
    grey, coloured = RNG.integers(0, 256, (8, 8), np.uint8), RNG.integers(0, 256, (8, 8, 3), np.uint8)
    assert load(folder_of(tmp_path / "grey", [grey] * 4)).spec.shape == (1, 8, 8)
    assert load(folder_of(tmp_path / "grey", [grey] * 4), channels=3).spec.shape == (3, 8, 8)
    mixed = folder_of(tmp_path / "mixed", [grey, grey, grey, coloured])
    assert load(mixed).spec.shape == (3, 8, 8)
    brightness = coloured @ np.array([0.299, 0.587, 0.114]) / 255
    np.testing.assert_allclose(test_images(mixed, channels=1)[3, 0], brightness, atol=1 / 255)
    splits = load(mixed)
    splits.check()


def test_channels_are_part_of_what_the_data_is(tmp_path):
    root = folder_of(tmp_path, [RNG.integers(0, 256, (8, 8), np.uint8)] * 2)
    one, three, wider = load(root), load(root, channels=3), load(root, resize=9)
    assert len({one.fingerprint(), three.fingerprint(), wider.fingerprint()}) == 3


def test_a_colour_image_among_many_grey_ones_is_told_by_name(tmp_path):
    grey = np.zeros((4, 4), np.uint8)
    root = folder_of(tmp_path, [grey] * 200)
    Image.new("RGB", (4, 4), "red").save(tmp_path / "images" / "test" / "a" / "zz.png")
    splits = load(root)
    assert splits.spec.shape[0] == 1
    with pytest.raises(DataError, match=r"zz.png has colours, and the files that were looked at first are grey"):
        list(splits.test.iterate(50))
    assert test_images(root, channels=1).shape[0] == 201


def test_transparent_pixels_are_white_whatever_is_under_them(tmp_path):
    hidden = np.zeros((8, 8, 4), np.uint8)
    hidden[..., 0] = 200
    hidden[4:, :, 3] = 255
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([10, 20, 30, 255, 0, 0])
    palette.info["transparency"] = 0
    grey = Image.merge("LA", [Image.new("L", (8, 8), 0), Image.new("L", (8, 8), 0)])
    x = test_images(folder_of(tmp_path, [Image.fromarray(hidden), palette, grey]), channels=3)
    x = x[[0, 2, 1]]  # the second is of the other class
    assert (x[0, :, :4] == 1).all()
    torch.testing.assert_close(x[0, :, 4:], torch.tensor([200 / 255, 0, 0])[:, None, None].expand(3, 4, 8))
    assert (x[1:] == 1).all()


def test_palettes_and_printing_colours_become_red_green_and_blue(tmp_path):
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([0, 0, 0, 255, 0, 255])
    x = test_images(folder_of(tmp_path / "palette", [palette] * 2))
    torch.testing.assert_close(x[0, :, 0, 0], torch.tensor([1.0, 0.0, 1.0]))
    printed = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
    x = test_images(folder_of(tmp_path / "printed", [printed] * 2, "image.tif"))
    torch.testing.assert_close(x[0, :, 0, 0], torch.tensor([0.0, 1.0, 1.0]))


def test_photographs_are_turned_as_their_camera_says(tmp_path):
    image = Image.fromarray(np.array([[0, 0], [255, 255]], np.uint8).repeat(4, 0).repeat(4, 1))
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    turned = first_grey(folder_of(tmp_path, [image] * 2, exif=exif))
    assert (turned[:4] == 1).all()
    assert (turned[4:] == 0).all()


def test_a_wider_crop_before_the_cut(tmp_path):
    values = np.round(np.linspace(0, 255, 64)).astype(np.uint8).reshape(8, 8)
    inner = first_grey(folder_of(tmp_path, [values] * 2), size=4, resize=8)
    np.testing.assert_allclose(inner, values[2:6, 2:6] / 255, atol=1e-6)
    with pytest.raises(UsageError, match="resize must be at least the size 8, not 7"):
        load(tmp_path, resize=7)


def test_images_are_read_as_they_were(tmp_path):
    """Colour images of 8 bits, the usual case: torchvision's resize and crop, and the earlier fingerprint."""
    from torchvision import transforms

    image = RNG.integers(0, 256, (20, 27, 3), np.uint8)
    splits = load(folder_of(tmp_path, [image] * 2))
    usual = transforms.Compose([transforms.Resize(8), transforms.CenterCrop(8), transforms.ToTensor()])
    assert torch.equal(next(splits.test.iterate(1))[0][0], usual(Image.fromarray(image)))
    files = [tmp_path / "images" / "test" / "ab"[i] / f"{i:03}-image.png" for i in range(2)]
    lines = ["8", *(f"{file.name} {file.stat().st_size} {i}" for i, file in enumerate(files))]
    assert splits.test.identity == "\n".join(lines)


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


class Killed(torch.utils.data.Dataset):
    """A data set whose reading ends its process, by its own hand or the system's."""

    def __init__(self, how):
        self.how = how

    def __len__(self):
        return 4

    def __getitem__(self, index):
        if self.how == "exit":
            os._exit(9)
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("how", ["exit", "kill"])
def test_a_reading_process_that_is_ended_is_told(how):
    with pytest.raises(DataError, match="a process that reads examples was ended"):
        list(LoadedSplit(Killed(how), "killed", 1).iterate(2))


@pytest.mark.parametrize("model", ["linear", "mlp", "resnet18-cifar:width=4", "torchvision:builder=squeezenet1_1"])
@pytest.mark.parametrize("channels", [1, 3])
def test_nets_take_grey_and_coloured_folders(tmp_path, model, channels):
    root = folder_of(tmp_path, [RNG.integers(0, 256, (40, 40), np.uint8)] * 2)
    splits = load(root, size=40, channels=channels)
    net = robustfw.make("model", model).build(splits.spec)
    assert net.eval()(next(splits.test.iterate(2))[0]).shape == (2, 2)


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
