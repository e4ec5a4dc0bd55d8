"""Data sets from elsewhere keep the laws of a data set, and a run of one opens from another directory."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from robustfw.cli import cli
from robustfw.plugin.registry import installed
from robustfw.testing import LAWS

pd = pytest.importorskip("pandas")
SPECS = (
    "npz:e.npz",
    "npz:sequences.npz,mask=mask",
    "csv:people.csv",
    "parquet:people.parquet,scale=raw",
    "folder:images,size=6,workers=0",
    "python:data.py:load",
    "python:data.py:rows,classes=2",
)
CODE = """
import torch

def load():
    x = torch.rand(40, 3, generator=torch.Generator().manual_seed(0))
    return x, (x.sum(1) > 1.5).long()

def rows():
    x, y = load()
    return [{"x": row, "y": int(label)} for row, label in zip(x, y)]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    x = random.random((40, 4))
    y = (x.sum(1) > 2).astype(int)
    np.savez(path / "e.npz", x=x, y=y)
    mask = np.arange(5) < random.integers(1, 6, (40, 1))
    np.savez(path / "sequences.npz", x=random.random((40, 5, 2)), y=y, mask=mask)
    table = pd.DataFrame({"a": x[:, 0], "b": 10 * x[:, 1], "town": ["Graz", "Wien"] * 20, "y": y})
    table.to_csv(path / "people.csv", index=False)
    table.to_parquet(path / "people.parquet")
    for i in range(20):
        image = path / "images" / "ab"[i % 2] / f"{i}.png"
        image.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (6, 6, 3), dtype=np.uint8)).save(image)
    (path / "data.py").write_text(CODE)
    return path


@pytest.mark.parametrize("law", LAWS["dataset"], ids=lambda law: law.name)
@pytest.mark.parametrize("spec", SPECS)
def test_law(spec, law, folder, monkeypatch):
    monkeypatch.chdir(folder)
    law.check(installed().make("dataset", spec), 0)


@pytest.mark.parametrize(("spec", "uncertainty"), [(SPECS[1], "l2:radius=0.3"), (SPECS[2], "tabular:immutable=[a]")])
def test_a_run_is_trained_and_measured_from_elsewhere(spec, uncertainty, folder, monkeypatch, tmp_path):
    monkeypatch.chdir(folder)
    run = str(tmp_path / "run")
    train = [
        "train",
        "--dataset",
        spec,
        "--uncertainty",
        uncertainty,
        "--epochs",
        "1",
        "--batch-size",
        "10",
        "--out",
        run,
    ]
    answer = CliRunner().invoke(cli, train)
    assert answer.exit_code == 0, answer.output
    monkeypatch.chdir(tmp_path)
    answer = CliRunner().invoke(cli, ["evaluate", run, "--attack", "pgd:steps=3", "--json"])
    assert answer.exit_code == 0, answer.output
    assert json.loads(answer.stdout)["n"] == 8
