"""Plugins of other people: each file beside its test, as an installed distribution of its own has it."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import load_file

import robustfw
from robustfw import Step
from robustfw.plugin import registry

from ..command_line import Answer, run_command

HERE = Path(__file__).parent


def install(name: str, folder: Path) -> str:
    """Put the plugin NAME.py into a folder as if it were installed there; its module's name."""
    module = f"stranger_{name}"
    (folder / f"{module}.py").write_text((HERE / f"{name}.py").read_text())
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: stranger-{name.replace('_', '-')}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[robustfw]\n{name} = {module}\n")
    return module


@pytest.fixture(scope="module")
def plugin(request, tmp_path_factory) -> ModuleType:
    """The plugin that test_NAME.py is about, installed under the entry point NAME; its module."""
    name = Path(request.module.__file__).stem.removeprefix("test_")
    folder = tmp_path_factory.mktemp("distribution")
    module = install(name, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        registry.installed.cache_clear()
        assert not [broken for broken in registry.installed().broken if broken.plugin == name]
        yield importlib.import_module(module)
        sys.modules.pop(module)
    registry.installed.cache_clear()


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> dict[str, str]:
    """The environment of a process in which those plugins are installed that train in a way of their own."""
    folder = tmp_path_factory.mktemp("distributions")
    for name in ("awp", "free", "group_dro", "mart", "sam"):
        install(name, folder)
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}


@pytest.fixture
def command(plugin, capsys, tmp_path, monkeypatch):
    """The command line in this process, in a folder of its own, with the plugin installed."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Answer:
        return run_command(capsys, *arguments)

    return run


@pytest.fixture
def resumed(plugin, tmp_path):
    """Train by keywords, once through and once with a stop within epoch 2: bit for bit the same; the last net."""

    def run(stop: tuple[int, int] = (2, 3), **keywords: object) -> dict[str, torch.Tensor]:
        options = {"validation_examples": 40, "device": "cpu", "epochs": 2} | keywords
        assert len(list(robustfw.train(**options, out=tmp_path / "whole"))) == 2
        with contextlib.closing(robustfw.train(**options, out=tmp_path / "stopped", steps=True)) as records:
            for record in records:
                if isinstance(record, Step) and (record.epoch, record.batch) == stop:
                    break
        assert [record.epoch for record in robustfw.train(**options, out=tmp_path / "stopped", resume=True)] == [2]
        whole, stopped = (
            load_file(tmp_path / run / "checkpoints" / "last.safetensors") for run in ("whole", "stopped")
        )
        assert whole.keys() == stopped.keys()
        for name, value in whole.items():
            assert torch.equal(value, stopped[name]), name
        return whole

    return run
