"""Array files and functions of one's own: the numbers are those of a plain loop, in whatever form they come."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import robustfw
from robustfw import DataError, UsageError
from robustfw.plugin.registry import installed
from robustfw.task import Classification, Multilabel, Regression, Segmentation

NOWHERE = Path("/nowhere")


def load(spec):
    return installed().make("dataset", spec).load(NOWHERE)


def everything(splits):
    parts = (splits.train, splits.validation, splits.test)
    batches = [next(part.iterate(1000)) for part in parts if len(part)]
    return torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])


def pairs(x, y):
    return sorted((row.flatten().tolist(), label.tolist()) for row, label in zip(x, y, strict=True))


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


RANDOM = np.random.default_rng(0)
PIXELS = RANDOM.integers(0, 256, (30, 3, 4, 4), dtype=np.uint8)
DIGITS = np.arange(30) % 3


@pytest.mark.parametrize(
    ("x", "options", "expected"),
    [
        (PIXELS, "", PIXELS / 255),
        (PIXELS.astype(np.float32), ",range=[0,255]", PIXELS / 255),
        (PIXELS.astype(np.int64), ",range=[0,255]", PIXELS / 255),
        (PIXELS / 127.5 - 1, ",range=[-1,1]", PIXELS / 255),
        ((PIXELS / 255).astype(np.float16), "", (PIXELS / 255).astype(np.float16)),
        (PIXELS.transpose(0, 2, 3, 1), ",channels=last", PIXELS / 255),
        (PIXELS[:, 0], ",channels=add", PIXELS[:, :1] / 255),
        (PIXELS[:, 0], ",channels=first", PIXELS[:, 0] / 255),
        (PIXELS.astype(">f4"), ",range=none", PIXELS),
        (RANDOM.standard_normal((30, 5)), "", None),
    ],
)
def test_values_are_those_of_a_plain_loop(here, x, options, expected):
    np.savez("e.npz", x=x, y=DIGITS)
    splits = load(f"npz:e.npz{options}")
    expected = torch.tensor(np.asarray(x if expected is None else expected, dtype=np.float64)).float()
    got_x, got_y = everything(splits)
    assert splits.spec.shape == tuple(expected.shape[1:])
    order = [int(row) for row in (got_x[:, None] - expected).flatten(2).abs().amax(2).argmin(1)]
    assert sorted(order) == list(range(30))
    assert torch.allclose(got_x, expected[order], atol=1e-6)
    assert got_y.tolist() == [int(DIGITS[row]) for row in order]
    assert splits.spec.bounds == (None if "none" in options or x.ndim == 2 else (0.0, 1.0))


@pytest.mark.parametrize(
    ("y", "task", "classes", "expected"),
    [
        (DIGITS.astype(np.int32), Classification(), 3, DIGITS),
        (DIGITS.astype(np.uint16), Classification(), 3, DIGITS),
        (DIGITS.astype(np.float64), Classification(), 3, DIGITS),
        (DIGITS[:, None], Classification(), 3, DIGITS),
        (np.eye(3)[DIGITS], Classification(), 3, DIGITS),
        (np.eye(3, dtype=bool)[DIGITS], Classification(), 3, DIGITS),
        (np.array(["ant", "bee", "cat"])[DIGITS], Classification(), 3, DIGITS),
        (DIGITS == 1, Classification(), 2, (DIGITS == 1).astype(int)),
        (np.stack([DIGITS > 0, DIGITS > 1], 1), Multilabel(), 2, np.stack([DIGITS > 0, DIGITS > 1], 1).astype(float)),
        (np.broadcast_to(DIGITS[:, None, None], (30, 4, 4)), Segmentation(), 3, None),
    ],
)
def test_labels_in_any_form_are_equal_labels(here, y, task, classes, expected):
    np.savez("e.npz", x=PIXELS, y=y)
    splits = load("npz:e.npz")
    assert (splits.spec.task, splits.spec.classes) == (task, classes)
    np.savez("e.npz", x=PIXELS, y=np.asarray(y if expected is None else expected))
    options = ",task=multilabel" if task == Multilabel() else ""
    same = load(f"npz:e.npz{options}")
    for split in ("train", "validation", "test"):
        assert torch.equal(getattr(splits, split).y, getattr(same, split).y)


def test_numbers_are_targets_of_a_regression(here):
    np.savez("e.npz", x=PIXELS, y=DIGITS / 7)
    with pytest.raises(DataError, match=r"task=\(regression:tolerance=…\)"):
        load("npz:e.npz")
    splits = load("npz:e.npz,task=(regression:tolerance=0.1)")
    assert splits.spec.task == Regression(tolerance=0.1)


def test_own_splits_are_used(here):
    np.savez("e.npz", x_train=PIXELS[:20], y_train=DIGITS[:20], x_test=PIXELS[20:], y_test=DIGITS[20:])
    splits = load("npz:e.npz,validation=0.25")
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (15, 5, 10)
    assert pairs(splits.test.x, splits.test.y) == pairs(torch.tensor(PIXELS[20:]), torch.tensor(DIGITS[20:]))
    assert splits.spec.mean == pytest.approx((splits.train.x.double() / 255).mean((0, 2, 3)).tolist())


def test_the_cut_is_a_partition_that_its_seed_decides(here):
    np.savez("e.npz", x=np.arange(40.0)[:, None], y=np.arange(40) // 20)
    one, same, other = load("npz:e.npz"), load("npz:e.npz"), load("npz:e.npz,seed=1")
    assert one.fingerprint() == same.fingerprint() != other.fingerprint()
    for splits in (one, other):
        x, _ = everything(splits)
        assert sorted(x[:, 0].tolist()) == list(range(40))
    # the file is sorted by class, and a sample is not
    assert 0 < int(one.train.first(12).y.sum()) < 12
    assert len(load("npz:e.npz,test=1").test) == 40


def test_sequences_get_their_mask(here):
    x = RANDOM.random((30, 6, 2))
    mask = np.arange(6) < RANDOM.integers(1, 7, (30, 1))
    np.savez("e.npz", x=x, y=DIGITS, mask=mask)
    splits = load("npz:e.npz,mask=mask")
    assert splits.spec.masked
    assert splits.spec.shape == (6, 3)
    got, _ = everything(splits)
    by_hand = np.concatenate([x * mask[..., None], mask[..., None]], 2)
    assert sorted(got.flatten(1).tolist()) == sorted(torch.tensor(by_hand).float().flatten(1).tolist())


@pytest.mark.parametrize(
    ("arrays", "options", "message"),
    [
        ({"x": PIXELS.astype(float)}, "", r"values from 0 to 255, and no range is told: .*range=\[0,255\]"),
        (
            {"x": PIXELS / 127.5 - 1},
            "",
            r"values from -1 to 1.*range=\[-1,1\], and a net made for them normalize=0.5/0.5",
        ),
        ({"x": PIXELS / 40 - 3}, "", "standardisation belongs into the net"),
        ({"x": PIXELS / 1.0}, ",range=[0,1]", r"outside the range \[0, 1\] that is told"),
        ({"x": PIXELS.transpose(0, 2, 3, 1)}, "", r"looks like \(n, height, width, channels\).*channels=last"),
        ({"x": PIXELS[:, 0]}, "", "channels=add"),
        (
            {"x": np.where(PIXELS[0, 0, 0, 0] == PIXELS, np.nan, 0.5)},
            "",
            "x has values that are not finite numbers, in",
        ),
        ({"y": np.where(DIGITS == 1, np.nan, DIGITS)}, "", "y has values that are not finite numbers, in 10 of 30"),
        ({"y": DIGITS[:-1]}, "", "30 examples and 29 targets"),
        ({"y": DIGITS + 1}, "", "labels run from 1 to 3, and none is 0"),
        ({"y": DIGITS}, ",classes=2", "labels run from 0 to 2, outside 0 … 1"),
        ({"y": np.where(DIGITS == 0, -1, 1)}, "", "labels are −1 and 1"),
        ({"y": DIGITS * 1000}, "", "no class labels, it seems"),
        ({"y": np.array(["a", None] * 15)}, "", "holds Python objects"),
        ({}, ",x=images", "has no array 'images', but x, y"),
        ({"mask": np.ones((30, 4))}, ",mask=mask", r"a mask \(n, time\) belongs to sequences"),
    ],
)
def test_what_is_wrong_is_one_sentence(here, arrays, options, message):
    np.savez("e.npz", **({"x": PIXELS, "y": DIGITS} | arrays))
    with pytest.raises(DataError, match=message):
        load(f"npz:e.npz{options}")


def test_a_file_that_is_none(here):
    Path("e.npz").write_bytes(b"no zip")
    with pytest.raises(DataError, match=r"e\.npz"):
        load("npz:e.npz")


CODE = """
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

x = torch.rand(30, 4, generator=torch.Generator().manual_seed(0))
y = torch.arange(30) % 3
pair = (x, y)

def tensors():
    return x, y

def arrays():
    return x.numpy(), y.numpy()

def dataset():
    return TensorDataset(x, y)

def loader():
    return DataLoader(TensorDataset(x, y), batch_size=7)

def shuffled():
    return DataLoader(TensorDataset(x, y), batch_size=7, shuffle=True)

class Items(IterableDataset):
    def __iter__(self):
        return iter(zip(x, y))

def items():
    return Items()

def batched_items():
    return DataLoader(Items(), batch_size=4)

def mapping():
    return {"x": x, "y": y}

class Rows:
    def __len__(self):
        return 30
    def __getitem__(self, i):
        return {"image": x[i], "label": int(y[i]), "id": i}

def rows():
    return Rows()

def splits():
    return {"train": (x[:20], y[:20]), "test": DataLoader(TensorDataset(x[20:], y[20:]))}

def fails():
    return 1 / 0

def number():
    return 3
"""
FORMS = ("pair", "tensors", "arrays", "dataset", "loader", "shuffled", "items", "batched_items", "mapping", "rows")


@pytest.fixture
def code(here):
    (here / "data.py").write_text(CODE)
    return here


@pytest.mark.parametrize("form", FORMS)
def test_a_function_returns_data_in_any_form(code, form):
    splits = load(f"python:data.py:{form},classes=3")
    got = pairs(*everything(splits))
    assert got == pairs(*everything(load("python:data.py:tensors")))
    assert len(got) == 30
    assert splits.spec.shape == (4,)
    assert splits.spec.bounds == (0.0, 1.0)
    assert len(splits.test) == 6


def test_a_function_returns_splits(code):
    splits = load("python:data.py:splits")
    assert len(splits.test) == 10
    assert len(splits.train) == 18


def test_a_run_finds_a_function_and_a_file_from_elsewhere(code, monkeypatch, tmp_path_factory):
    np.savez("e.npz", x=PIXELS, y=DIGITS)
    known = installed()
    specs = [known.spell(known.make("dataset", spec)) for spec in ("python:data.py:tensors", "npz:e.npz")]
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    for spec in specs:
        assert len(load(spec).train)


@pytest.mark.parametrize(
    ("place", "error", "message"),
    [
        ("data.py:fails", UsageError, "raised ZeroDivisionError: division by zero"),
        ("data.py:number", DataError, "data of type int is in no form that is known"),
        ("data.py:nothing", UsageError, "has no 'nothing'"),
        ("nodata.py:load", UsageError, "there is no file"),
    ],
)
def test_a_function_that_gives_no_data(code, place, error, message):
    with pytest.raises(error, match=message):
        load(f"python:{place}")


@pytest.mark.parametrize("form", [*FORMS, "splits"])
def test_python_takes_the_same_forms(code, form, monkeypatch):
    monkeypatch.syspath_prepend(str(code))
    monkeypatch.delitem(sys.modules, "data", raising=False)
    import data

    source = getattr(data, form)
    source = source() if callable(source) else source
    net = torch.nn.Linear(4, 3)
    result = robustfw.evaluate(net, source, uncertainty="linf:radius=0.05", attack="single-step")
    count = 10 if form == "splits" else 30
    assert result.n == count
    with torch.no_grad():
        right = net(data.x[-count:]).argmax(1) == data.y[-count:]
    assert result.clean_accuracy == pytest.approx(right.double().mean().item())
    few = robustfw.evaluate(net, source, uncertainty="linf:radius=0.05", attack="single-step", examples=5)
    assert few.n == 5
