"""Adversarial examples as image files, and pictures that are attacked: what the files hold is what is said of them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import robustfw as public

from .test_output import parsed

COARSE = ("--uncertainty", "linf:radius=0.2", "--attack", "pgd:steps=5", "--examples", "60")


def table(path):
    with Path(path).open() as file:
        return list(csv.DictReader(file))


def read(path):
    with Image.open(path) as image:
        return torch.tensor(np.array(image), dtype=torch.float32)[None] / 255


def test_crafted_examples_are_images_that_are_measured_again(robustfw, run):
    answer = parsed(robustfw("craft", run, *COARSE, "--save", "images", "--json").out)
    images = answer["images"]
    rows = table("images/index.csv")
    assert images["n"] == len(rows) == answer["n"] > 5
    net = public.load(run)
    fooling = 0
    for row in rows:
        index, label, _, said = row["example"].split("-")
        original = read(Path("images", row["original"]))
        adversarial = read(Path("images", row["adversarial"]))
        difference = read(Path("images", row["difference"]))
        # digits are k/16, so that the file of an original is off by half a level at most
        assert float((adversarial - original).abs().max()) <= 0.2 + 1.01 / 255
        fooled = int(net(adversarial[None]).argmax()) != int(label)
        assert fooled == bool(int(row["fools"]))
        fooling += fooled
        factor = int(row["factor"])
        assert row["difference"] == f"{row['example']}-difference-x{factor}.png"
        expected = (0.5 + 0.5 * factor * (adversarial - original)).clamp(0, 1)
        torch.testing.assert_close(difference, expected, atol=0.6 / 255, rtol=0)
        assert len(index) == 5
        assert label != said
    assert images["fooling"] == fooling
    assert images["originals_correct"] == len(rows)
    page = Path("images/index.html").read_text()
    assert page.count("data:image/png;base64,") == 3 * len(rows)
    assert "http" not in page


def test_all_members_that_rounding_can_keep_are_kept(robustfw, run):
    """Radius 0.1 lies between two levels of a file, so that the nearest one is outside."""
    arguments = ("--uncertainty", "linf:radius=0.1", "--attack", "single-step", "--save", "images")
    answer = robustfw("craft", run, *arguments)
    assert answer.status == 0
    rows = table("images/index.csv")
    assert {row["outside"] for row in rows} == {"0.0"}
    assert "towards the original" in {row["rounding"] for row in rows}
    assert f"all {len(rows)} files lie in their set" in answer.out


def test_images_are_not_mixed_with_others(robustfw, run):
    Path("images").mkdir()
    Path("images/mine.txt").write_text("mine")
    robustfw("craft", run, *COARSE, "--save", "images").refused(2, "images is not empty", "--save")
    assert [path.name for path in Path("images").iterdir()] == ["mine.txt"]


def test_numbers_that_are_no_images_are_named(robustfw):
    training = ("--dataset", "two-moons", "--epochs", "1", "--attack", "single-step", "--out", "moons")
    assert robustfw("train", *training).status == 0
    robustfw("craft", "moons", "--save", "images").refused(2, "shape (2,) are no images", "--save")


@pytest.fixture
def picture(run):
    """An example of the test split, enlarged and in colours, as a file."""
    splits = public.make("dataset", "digits").load(None)
    net = public.load(run)
    x, y = next(splits.test.iterate(200))
    row = int((net(x).argmax(1) == y).nonzero()[0, 0])
    pixels = (x[row, 0].repeat_interleave(10, 0).repeat_interleave(10, 1) * 255).round().byte()
    path = Path("digit.png")
    Image.fromarray(pixels.numpy()).convert("RGB").save(path)
    return path, int(y[row])


def test_a_picture_is_attacked(robustfw, run, picture):
    path, label = picture
    answer = robustfw("attack", path, "--run", run, "--uncertainty", "linf:radius=0.3")
    assert (answer.status, answer.err) == (0, "")
    assert f"picture          {path}, read as 1×8×8" in answer.out
    assert f"before           {label} " in answer.out
    assert "result           fooled, and as a file of 8 bits too; ‖δ‖∞ = 0.3" in answer.out

    (found,) = parsed(robustfw("attack", path, "--run", run, "--uncertainty", "l2:radius=2", "--json").out)["pictures"]
    assert found["label"] == str(label)
    assert found["norm"] == 2
    assert found["size"] <= 2 + 1e-5
    assert found["reached"]
    assert next(iter(found["after"])) != str(label)


def test_a_picture_is_attacked_on_the_way_to_a_class_and_saved(robustfw, run, picture):
    path, label = picture
    target = (label + 1) % 10
    arguments = ("--uncertainty", "linf:radius=0.6", "--label", label, "--target", target, "--save", "made")
    answer = parsed(robustfw("attack", path, "--run", run, *arguments, "--json").out)
    (found,) = answer["pictures"]
    assert found["reached"]
    assert next(iter(found["after"])) == str(target)
    (row,) = table("made/index.csv")
    assert row["adversarial"] == f"00-digit-{label}-becomes-{target}-adversarial.png"
    assert int(public.load(run)(read(Path("made", row["adversarial"]))[None]).argmax()) == target
    assert answer["images"]["fooling"] == 1


def test_an_attack_that_finds_nothing_says_so(robustfw, run, picture):
    path, _ = picture
    answer = robustfw("attack", path, "--run", run, "--uncertainty", "linf:radius=0.001")
    assert answer.status == 0
    assert "the attack has not reached its aim" in answer.out


def test_a_picture_that_the_net_takes_for_something_else_is_told(robustfw, run, picture):
    path, label = picture
    other = (label + 1) % 10
    answer = robustfw("attack", path, "--run", run, "--label", other)
    assert f"takes {path} for something else than {other} before any attack" in answer.err


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("digit.png", "--target", "12"), 2, ["no class '12'", "the data has 0, 1"]),
        (("run/manifest.json",), 1, ["run/manifest.json cannot be read as an image"]),
        (("deep.png",), 1, ["deep.png has more than 8 bits"]),
    ],
)
def test_what_cannot_be_attacked_is_told(robustfw, run, picture, arguments, status, words):
    Image.fromarray(np.full((8, 8), 3000, dtype=np.uint16)).save("deep.png")
    robustfw("attack", *arguments, "--run", run).refused(status, *words)


def test_ctrl_c_keeps_what_was_crafted(robustfw, run, monkeypatch):
    from robustfw import console
    from robustfw.storage.collections import Collection

    def interrupted(parts, *_, **__):
        for number, part in enumerate(parts):
            if number == 2:
                raise KeyboardInterrupt
            yield part

    monkeypatch.setattr(console, "track", interrupted)
    answer = robustfw("craft", run, "--uncertainty", "linf:radius=0.2", "--batch-size", "50", "--out", "made")
    assert answer.status == 130
    assert "stopped after 100 of 359 examples, whose adversarial ones are kept" in answer.err
    collection = Collection.open(Path("made"))
    assert collection.manifest["data"]["tried"] == 100
    assert 0 < len(collection.examples) <= 100
    assert int(collection.examples.index.max()) < 100

    answer = robustfw("sweep", run, "--batch-size", "50", "--radii", "0,0.1")
    assert answer.status == 130
    assert "stopped after 100 of 359 examples, whose accuracy is" in answer.err
    assert json.loads((run / "manifest.json").read_text())
