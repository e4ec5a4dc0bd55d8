"""Fixtures and settings for all tests."""

from __future__ import annotations

import importlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from torch import nn

from robustfw.plugin import registry
from robustfw.storage import runs
from robustfw.storage.runs import Run
from robustfw.training._state import State
from robustfw.training.recipe import TrainOptions

from .command_line import run_command
from .resuming import PLUGIN, USUAL
from .run_contents import MANIFEST

settings.register_profile("desk", deadline=None, max_examples=50)
settings.register_profile("ci", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "desk")


@pytest.fixture(autouse=True)
def _few_threads():
    """Small tensors are faster on one thread, and tests should not depend on the machine's number of cores."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _ctrl_c_is_heard() -> Iterator[None]:
    """A shell ignores it for what it starts in the background, and so would the tests of Ctrl-C and their processes.

    ``nohup`` does so with SIGHUP.
    """
    heard = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in heard.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def data_dir() -> Path:
    """The folder with the real data sets; tests that need it are skipped, saying so, where there is none."""
    folder = os.environ.get("ROBUSTFW_DATA")
    if not folder or not (Path(folder) / "MNIST").exists():
        pytest.skip("ROBUSTFW_DATA names no folder with MNIST")
    return Path(folder)


@pytest.fixture
def net() -> nn.Module:
    """A small net with batch norm and dropout, in training mode, on images of shape (1, 4, 4)."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Flatten(),
        nn.Linear(64, 3),
    )


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Twelve images in [0, 1] with labels."""
    generator = torch.Generator().manual_seed(1)
    return torch.rand(12, 1, 4, 4, generator=generator), torch.arange(12) % 3


@pytest.fixture(autouse=True, scope="session")
def _cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What tests train and keep is not for the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROBUSTFW_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def distribution(tmp_path_factory):
    """A folder that holds the plugin as if it were installed there."""
    folder = tmp_path_factory.mktemp("distribution")
    info = folder / "delicate-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: delicate\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[robustfw]\ndelicate = delicate_plugin\n")
    (folder / "delicate_plugin.py").write_text(PLUGIN)
    return folder


@pytest.fixture
def watchers(distribution, monkeypatch, tmp_path):
    """With the plugin installed: what is called with each record of a training. Every step is saved."""
    monkeypatch.syspath_prepend(distribution)
    monkeypatch.setattr(runs, "SAVE_EVERY", -1.0)
    monkeypatch.chdir(tmp_path)
    registry.installed.cache_clear()
    plugin = importlib.import_module("delicate_plugin")
    yield plugin.watchers
    plugin.watchers.clear()
    registry.installed.cache_clear()


@pytest.fixture
def robustfw(watchers, capsys):
    """The command line in this process."""

    def run(*arguments):
        return run_command(capsys, *arguments)

    return run


@pytest.fixture
def whole(robustfw):
    """The usual training, never interrupted."""
    assert robustfw("train", *USUAL, "--out", "whole").status == 0
    return Path("whole")


@pytest.fixture
def state():
    """The state of a training of four updates that has not begun."""
    return State.fresh(lambda: nn.Linear(2, 2), TrainOptions(epochs=2), torch.device("cpu"), updates=4)


@pytest.fixture
def run(tmp_path):
    """A new run directory."""
    return Run.create(tmp_path / "run", MANIFEST)
