"""docs/plugins.md is executed: its code runs from top to bottom, prints what it says, and does what it teaches."""

from __future__ import annotations

import contextlib
import inspect
import io
import re
import sys
import tomllib
import types
from importlib.metadata import entry_points
from itertools import pairwise
from pathlib import Path

import attrs
import click
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from robustfw import Epoch, PluginError, UsageError, hookimpl, hookspecs
from robustfw.cli import cli
from robustfw.plugin import registry as registries
from robustfw.plugin.registry import Registry
from robustfw.training._loggers import Loggers
from robustfw.training.recipe import Recipe

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "plugins.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
HOOKS = [hook for name, hook in inspect.getmembers(hookspecs, inspect.isfunction) if name.startswith("robustfw_")]


def without_numbers(text: str) -> list[str]:
    """The words of an output; numbers differ from machine to machine in the last digits, and lines in their ends."""
    return re.sub(r"-?\d[\d.,]*(e[+-]?\d+)?%?", "#", text).split()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page's namespace after all of its code, as the module that the page calls robustfw_ellipsoid."""
    module = types.ModuleType("robustfw_ellipsoid")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("tutorial"))
        patch.setitem(sys.modules, module.__name__, module)
        torch.set_num_threads(1)
        module.outputs = []
        for language, text in BLOCKS:
            if language == "python":
                with contextlib.redirect_stdout(io.StringIO()) as output:
                    exec(compile(text, "docs/plugins.md", "exec"), vars(module))
                module.outputs.append(output.getvalue())
        yield module


@pytest.fixture
def registry(page):
    known = Registry({"page": page})
    assert not known.broken
    return known


def test_the_code_prints_what_the_page_says(page):
    outputs = iter(page.outputs)
    said = [
        (text if following == "text" else "", next(outputs))
        for (language, _), (following, text) in pairwise([*BLOCKS, ("", "")])
        if language == "python"
    ]
    assert sum(bool(expected) for expected, _ in said) >= 3
    for expected, printed in said:
        assert without_numbers(printed) == without_numbers(expected)


def test_the_training_prints_what_the_page_says(page, monkeypatch, tmp_path):
    modules = {point.name: point.load() for point in entry_points(group="robustfw") if point.name != "ellipsoid"}
    monkeypatch.setattr(registries, "installed", lambda: Registry(modules | {"ellipsoid": page}))
    monkeypatch.chdir(tmp_path)
    (said,) = (text for language, text in BLOCKS if language == "console" and "epoch" in text)
    command, expected = said.split("\n", 1)
    answer = CliRunner().invoke(cli, command.removeprefix("$ robustfw ").split(), catch_exceptions=False)
    printed, expected = (text.replace("best so far", "") for text in (answer.stdout, expected))
    assert without_numbers(printed) == without_numbers(expected)


def test_toml_blocks_parse_and_the_project_declares_the_entry_point():
    project, recipe = (tomllib.loads(text) for language, text in BLOCKS if language == "toml")
    assert project["project"]["entry-points"]["robustfw"] == {"ellipsoid": "robustfw_ellipsoid"}
    assert project["tool"]["setuptools"]["py-modules"] == ["robustfw_ellipsoid"]
    assert set(recipe) <= {field.name for field in attrs.fields(Recipe)}


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook.__name__)
def test_every_hook_appears_with_its_signature(hook):
    signature = str(inspect.signature(hook)).replace("'", "")
    assert f"`{hook.__name__}{signature}`" in PAGE.replace(r"\|", "|")


def test_there_are_as_many_hooks_as_the_page_says():
    assert len(HOOKS) == 6
    assert "## 8. The six hooks" in PAGE


def test_the_links_lead_somewhere():
    targets = re.findall(r"\]\(([^)]+)\)", PAGE)
    headings = {
        re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in re.findall(r"^## (.*)$", PAGE, re.M)
    }
    for target in targets:
        assert (target[1:] in headings) if target.startswith("#") else (ROOT / "docs" / target).exists(), target


def test_the_pages_plugin_registers_under_its_names(page, registry):
    assert isinstance(registry.make("uncertainty", "ellipsoid:radius=0.5"), page.Ellipsoid)
    offered = {(entry.kind, entry.name) for entry in registry.entries.values() if entry.plugin == "page"}
    assert offered == {
        ("uncertainty", "ellipsoid"),
        ("attack", "climb"),
        ("objective", "smoothed"),
        ("objective", "calm"),
        ("model", "tiny"),
        ("dataset", "stripes"),
    }


def test_the_page_offers_a_class_by_its_place_and_by_other_names(page):
    known = Registry({"page": page.Later()})
    assert known.entry("attack", "Gradient-Ascent").cls is page.Climb
    assert known.entry("uncertainty", "edge").about == "Only the outermost pixels may change."
    with pytest.raises(UsageError, match="what comes nearest here: ascent"):
        known.make("attack", "hill-climbing")
    with pytest.raises(PluginError, match=r"page .* could not load the uncertainty edge: ModuleNotFoundError"):
        known.make("uncertainty", "edge")


def test_the_pages_options_are_read_as_it_says(page, tmp_path):
    class Offer:
        @hookimpl
        def robustfw_register(self, add):
            add("weights", page.Weights)

    np.save(tmp_path / "costs.npy", [1.0, 2.0])
    made = Registry({"page": Offer()}).make("uncertainty", f"weights:8/255,w={tmp_path}/costs.npy")
    assert made == page.Weights(8 / 255, page.Array([1, 2]))


def test_the_pages_logger_writes_a_line_per_epoch(registry, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fields = {field.name: None for field in attrs.fields(Epoch)} | {"epoch": 3, "robust_accuracy": 0.5}
    loggers = Loggers(registry, tmp_path)
    loggers.record(Epoch(**fields))
    loggers.record(object())
    assert (tmp_path / "epochs.jsonl").read_text() == '{"epoch": 3, "robust": 0.5}\n'


def test_the_pages_command_measures_a_set(registry):
    group = click.Group()
    registry.hooks.robustfw_commands(cli=group)
    answer = CliRunner().invoke(group, ["reach", "linf:radius=1/4"], catch_exceptions=False)
    assert answer.output == "0.2500\n"


def test_the_pages_set_is_the_finished_plugins(page, monkeypatch):
    monkeypatch.delitem(sys.modules, "robustfw_ellipsoid")
    monkeypatch.syspath_prepend(ROOT / "plugins" / "example-ellipsoid")
    from robustfw_ellipsoid import Ellipsoid

    assert Ellipsoid is not page.Ellipsoid
    generator = torch.Generator().manual_seed(0)
    x, z = (torch.rand(64, 3, 5, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    lessons, finished = page.Ellipsoid(radius=0.7).at(x), Ellipsoid(radius=0.7).at(x)
    for one, other in ((lessons, finished), (lessons.clip(0 - x, 1 - x), finished.clip(0 - x, 1 - x))):
        for scale in (0.01, 1, 1e7):
            for oracle in ("project", "support"):
                points = scale * (z - 0.4)
                torch.testing.assert_close(
                    getattr(one, oracle)(points), getattr(other, oracle)(points), atol=1e-12, rtol=0
                )
