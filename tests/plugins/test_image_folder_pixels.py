"""Folders of images: what their pixels become, of any depth, colour and orientation."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest
import torch
from PIL import Image

import robustfw
from robustfw import DataError, UsageError
from robustfw.data.splits import LoadedSplit

from .image_folders import RNG, folder_of, load


def load_test_images(root, **options):
    splits = load(root, **options)
    return next(splits.test.iterate(len(splits.test)))[0]


def first_grey(root, **options):
    return load_test_images(root, channels=1, **options)[0, 0].double().numpy()


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
    x = load_test_images(folder_of(tmp_path, [store(values), store(values)], name), channels=channels)
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
    x = load_test_images(folder_of(tmp_path, [np.ones((50, 31), np.float32)] * 2, "white.tif"), size=13)
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
    np.testing.assert_allclose(load_test_images(mixed, channels=1)[3, 0], brightness, atol=1 / 255)
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
    assert load_test_images(root, channels=1).shape[0] == 201


def test_transparent_pixels_are_white_whatever_is_under_them(tmp_path):
    hidden = np.zeros((8, 8, 4), np.uint8)
    hidden[..., 0] = 200
    hidden[4:, :, 3] = 255
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([10, 20, 30, 255, 0, 0])
    palette.info["transparency"] = 0
    grey = Image.merge("LA", [Image.new("L", (8, 8), 0), Image.new("L", (8, 8), 0)])
    x = load_test_images(folder_of(tmp_path, [Image.fromarray(hidden), palette, grey]), channels=3)
    x = x[[0, 2, 1]]  # the second is of the other class
    assert (x[0, :, :4] == 1).all()
    torch.testing.assert_close(x[0, :, 4:], torch.tensor([200 / 255, 0, 0])[:, None, None].expand(3, 4, 8))
    assert (x[1:] == 1).all()


def test_palettes_and_printing_colours_become_red_green_and_blue(tmp_path):
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([0, 0, 0, 255, 0, 255])
    x = load_test_images(folder_of(tmp_path / "palette", [palette] * 2))
    torch.testing.assert_close(x[0, :, 0, 0], torch.tensor([1.0, 0.0, 1.0]))
    printed = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
    x = load_test_images(folder_of(tmp_path / "printed", [printed] * 2, "image.tif"))
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
