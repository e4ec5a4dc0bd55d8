"""plugins/example-ellipsoid as a stranger has it: built as a wheel, installed in a fresh environment, used, removed."""

from __future__ import annotations

import json
import os
import shutil
import site
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "plugins" / "example-ellipsoid"
NAME = "robustfw-example-ellipsoid"
VERSION = "0.1.0"


class Environment:
    """A fresh virtual environment that sees this one's packages (torch is too large to install again)."""

    def __init__(self, path: Path) -> None:
        venv.create(path, with_pip=False, symlinks=os.name != "nt")
        paths = sysconfig.get_paths(scheme="venv", vars={"base": str(path), "platbase": str(path)})
        self.python = Path(paths["scripts"]) / Path(sys.executable).name
        # addsitedir, not a bare path: it reads the .pth files there, and so finds editable installs too.
        folders = {*site.getsitepackages(), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
        lines = [f"import site; site.addsitedir({folder!r})" for folder in sorted(folders)]
        (Path(paths["purelib"]) / "parent.pth").write_text("\n".join(lines) + "\n")

    def run(self, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.run(
            [str(self.python), *arguments], cwd=cwd, env=one_thread, capture_output=True, text=True, check=False
        )

    def pip(self, *arguments: str, cwd: Path) -> None:
        answer = self.run("-m", "pip", "--disable-pip-version-check", *arguments, cwd=cwd)
        assert answer.returncode == 0, answer.stdout + answer.stderr

    def robustfw(self, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        return self.run("-c", "from robustfw.cli import main; main()", *arguments, cwd=cwd)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy, so that nothing is left in the source tree, with the setuptools that is installed."""
    folder = tmp_path_factory.mktemp("wheel")
    source = shutil.copytree(SOURCE, folder / "source")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(source)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    fresh = Environment(tmp_path_factory.mktemp("environment"))
    fresh.pip("install", "--no-deps", "--no-index", str(wheel), cwd=wheel.parent)
    return fresh


def test_the_wheel_holds_the_package_its_licence_and_no_tests(wheel):
    listed = subprocess.run(
        [sys.executable, "-m", "zipfile", "-l", str(wheel)], capture_output=True, text=True, check=True
    )
    names = [line.split()[0] for line in listed.stdout.splitlines()[1:]]
    info = f"{NAME.replace('-', '_')}-{VERSION}.dist-info"
    package = {f"robustfw_ellipsoid/{name}" for name in ("__init__.py", "ball.py", "weights.py", "py.typed")}
    assert {name for name in names if not name.startswith(info)} == package
    assert f"{info}/licenses/LICENSE" in names


def test_it_is_listed_with_its_distribution(environment, tmp_path):
    answer = environment.robustfw("plugins", "--json", cwd=tmp_path)
    listed = {(entry["kind"], entry["name"]): entry for entry in json.loads(answer.stdout)["plugins"]}
    assert listed["uncertainty", "ellipsoid"]["distribution"] == f"{NAME} {VERSION}"
    assert listed["uncertainty", "l2"]["distribution"].startswith("robustfw ")
    assert json.loads(answer.stdout)["broken"] == []


def test_it_keeps_the_contract(environment, tmp_path):
    answer = environment.robustfw("check", "uncertainty", "ellipsoid", cwd=tmp_path)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "laws hold" in answer.stdout
    assert "BROKEN" not in answer.stdout


def test_it_passes_its_own_test(environment, tmp_path):
    answer = environment.run(
        "-m", "pytest", "-q", "-W", "error", str(SOURCE / "tests"), "-p", "no:cacheprovider", cwd=tmp_path
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_a_net_trains_against_it_and_the_record_names_its_distribution(environment, tmp_path):
    spec = "ellipsoid:radius=0.5,weights=border"
    answer = environment.robustfw("train", "--uncertainty", spec, "--epochs", "1", "--out", "run", cwd=tmp_path)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["plugins"]["uncertainty"] == f"{NAME} {VERSION}"
    assert manifest["recipe"]["uncertainty"] == {"use": "ellipsoid", "radius": 0.5, "weights": "border", "cost": 3.0}
    assert manifest["result"]["correct"] >= manifest["result"]["robust"] > 0


def test_a_wrong_option_is_a_usage_error_that_names_the_right_one(environment, tmp_path):
    answer = environment.robustfw("train", "--uncertainty", "ellipsoid:weight=border", cwd=tmp_path)
    assert answer.returncode == 2
    assert "did you mean weights?" in answer.stderr


def test_removed_it_is_unknown(wheel, tmp_path):
    fresh = Environment(tmp_path / "environment")
    known = ("show", "uncertainty", "ellipsoid")
    fresh.pip("install", "--no-deps", "--no-index", str(wheel), cwd=tmp_path)
    assert fresh.robustfw(*known, cwd=tmp_path).returncode == 0
    fresh.pip("uninstall", "--yes", NAME, cwd=tmp_path)
    answer = fresh.robustfw(*known, cwd=tmp_path)
    assert answer.returncode == 2, f"is {NAME} installed in the environment of the tests as well?\n{answer.stdout}"
    assert "no uncertainty named 'ellipsoid'" in answer.stderr
