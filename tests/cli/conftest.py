"""The command line in this process, and runs to use and misuse."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE

import pytest

from robustfw.cli import main
from robustfw.plugin import registry

from ..command_line import Answer, run_command

TRAINING = ("--epochs", "1", "--attack", "pgd:steps=1", "--validation-examples", "50")


@pytest.fixture
def robustfw(capsys, tmp_path, monkeypatch):
    """``robustfw("train", …)``, in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Answer:
        return run_command(capsys, *arguments)

    return run


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A finished run."""
    path = tmp_path_factory.mktemp("trained") / "run"
    with pytest.raises(SystemExit) as ended:
        main(["train", *TRAINING, "--out", str(path)])
    assert not ended.value.code
    return path


@pytest.fixture
def run(trained, tmp_path):
    """A copy of it, called ``run``, to be damaged."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture
def distributions(tmp_path, monkeypatch):
    """``distributions(name=source, …)`` installs one module for each, here and in the environment that it returns."""

    def make(**sources: str) -> dict[str, str]:
        folder = tmp_path / "distributions"
        monkeypatch.syspath_prepend(folder)
        registry.installed.cache_clear()
        for name, source in sources.items():
            info = folder / f"{name}-1.0.dist-info"
            info.mkdir(parents=True)
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
            (info / "entry_points.txt").write_text(f"[robustfw]\n{name} = {name}_module\n")
            (folder / f"{name}_module.py").write_text(source)
        return os.environ | {"PYTHONPATH": str(folder)}

    yield make
    registry.installed.cache_clear()


@pytest.fixture
def program(tmp_path):
    """The real command, in a process of its own."""

    def run(*arguments: object, environment: dict[str, str] | None = None, program: tuple[str, ...] = ()) -> Answer:
        command = [*(program or (sys.executable, "-m", "robustfw")), *(str(argument) for argument in arguments)]
        with subprocess.Popen(
            command, env=environment, cwd=tmp_path, stdout=PIPE, stderr=PIPE, encoding="utf-8", errors="replace"
        ) as process:
            out, err = process.communicate(timeout=120)
        return Answer(process.returncode, out, err)

    return run
