"""What is installed is what the tree holds: entry points, modules, types, version, and no upper pins."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

import robustfw

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = {path.parent.name: path.parent for path in (ROOT / "plugins").glob("robustfw_*/__init__.py")}
PACKAGES["robustfw"] = ROOT / "robustfw"
EXTRAS = PROJECT["project"]["optional-dependencies"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The names in a wheel built from a copy, so that neither side leaves anything with the other."""
    source = tmp_path_factory.mktemp("wheel") / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for package in PACKAGES.values():
        unbuilt = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(package, source / package.relative_to(ROOT), ignore=unbuilt)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", str(source)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    (built,) = (source / "dist").glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_every_file_of_the_packages_and_nothing_else(wheel):
    files = {
        f"{name}/{path.relative_to(folder).as_posix()}"
        for name, folder in PACKAGES.items()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    info = f"robustfw-{robustfw.__version__}.dist-info"
    assert {name for name in wheel if not name.startswith(info)} == files
    assert f"{info}/licenses/LICENSE" in wheel


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_the_package_says_that_it_is_typed(package, wheel):
    assert f"{package}/py.typed" in wheel


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_the_package_is_type_checked(package):
    assert package in PROJECT["tool"]["mypy"]["packages"]


LIBRARIES = {"robustfw_kernels", "robustfw_linear"}
"""Packages that offer no plugin."""


def test_every_plugin_package_has_an_entry_point():
    declared = set(PROJECT["project"]["entry-points"]["robustfw"].values())
    plugins = PACKAGES.keys() - LIBRARIES - {"robustfw"}
    assert plugins <= declared
    assert not LIBRARIES & declared


def test_the_installed_distribution_declares_the_entry_points_of_the_project():
    points = metadata.distribution("robustfw").entry_points
    plugins = {point.name: point.value for point in points.select(group="robustfw")}
    assert plugins == PROJECT["project"]["entry-points"]["robustfw"]
    assert {"norms", "attacks", "objectives", "vision", "optim"} <= set(plugins)
    assert {point.name: point.value for point in points.select(group="console_scripts")} == PROJECT["project"][
        "scripts"
    ]


def test_the_versions_agree():
    assert metadata.version("robustfw") == robustfw.__version__
    assert f"## [{robustfw.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize(
    "requirement",
    [
        *PROJECT["project"]["dependencies"],
        *PROJECT["build-system"]["requires"],
        *(r for e in EXTRAS.values() for r in e),
    ],
)
def test_no_requirement_has_an_upper_bound(requirement):
    assert re.fullmatch(r"[\w.\[\]-]+(>=[\d.]+)?", requirement)
