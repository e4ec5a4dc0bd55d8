"""Fixtures of the report: folders that other commands leave, and the pages that are made of them."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from types import SimpleNamespace

import attrs
import pytest

from robustfw.cli import main

from .sample_folders import (
    change_tensors,
    digits,
    make_collection,
    make_full_run,
    make_images,
    make_reproduction,
    make_run,
)
from .sample_results import (
    audit,
    comparison,
    distinguishability,
    evaluation,
    fooling,
    lipschitz,
    manifest,
    sweep,
    transfer,
)


def make_report(folder: Path, *arguments: object) -> tuple[int, str, str]:
    """Call ``robustfw report`` in a folder: the status, what was printed and the page that was made."""
    printed = io.StringIO()
    with (
        contextlib.chdir(folder),
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(printed),
        pytest.raises(SystemExit) as ended,
    ):
        main(["report", *(str(argument) for argument in arguments)])
    said = printed.getvalue()
    page = folder / said.removeprefix("report: ").strip() if said.startswith("report: ") else None
    return ended.value.code or 0, said, page.read_text(encoding="utf-8") if page else ""


@pytest.fixture
def run(tmp_path):
    """A run with a result of each kind."""
    return make_full_run(tmp_path)


@pytest.fixture
def small_run(tmp_path):
    """A run with two figures besides that of its training, for tests of files."""
    return make_run(tmp_path / "runs" / "b", evaluation(), sweep(), transfer())


@pytest.fixture
def collection(tmp_path):
    """A collection that results of the run name."""
    return make_collection(tmp_path / "transfer" / "a", *digits())


@pytest.fixture
def reproduction(tmp_path):
    return make_reproduction(tmp_path / "reproduction", *digits())


@pytest.fixture
def report(tmp_path, monkeypatch):
    """``report(path, …)``, called where the test is: the status, what was printed and the page that was made."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: make_report(Path.cwd(), *arguments)


@attrs.frozen
class Reported:
    """A folder, whose page was made once for all tests that only read it."""

    folder: Path
    path: Path
    page: str


@pytest.fixture(scope="session")
def reported_run(tmp_path_factory) -> Reported:
    """The page of the run with a result of each kind, and with the collection that they name."""
    folder = tmp_path_factory.mktemp("reported")
    path = make_full_run(folder)
    make_collection(folder / "transfer" / "a", *digits())
    status, _, page = make_report(folder, path)
    assert status == 0
    return Reported(folder, path, page)


@pytest.fixture(scope="session")
def reported_reproduction(tmp_path_factory) -> Reported:
    """The page of the reproduction."""
    folder = tmp_path_factory.mktemp("reported")
    path = make_reproduction(folder / "reproduction", *digits())
    status, _, page = make_report(folder, path)
    assert status == 0
    return Reported(folder, path, page)


@pytest.fixture
def make():
    """The functions above, by name."""
    analyses = distinguishability, fooling, lipschitz, make_images
    results = evaluation, sweep, transfer, comparison, audit, *analyses
    makers = *results, manifest, make_run, make_collection, change_tensors, digits
    return SimpleNamespace(**{maker.__name__: maker for maker in makers})
