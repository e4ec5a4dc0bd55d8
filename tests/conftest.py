"""Fixtures and settings for all tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from torch import nn

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
