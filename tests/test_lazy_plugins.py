"""Plugins given by their place: their classes are imported when they are used."""

from __future__ import annotations

import sys

import pytest

from robustfw import PluginError, hookimpl
from robustfw.plugin.registry import Registry

from .plugin_modules import Point, offers_shapes, plugin

LAZY = """
from attrs import frozen
from robustfw import UncertaintySet

@frozen
class Late(UncertaintySet):
    "A set that is imported late."

    radius: float = 1.0

    def at(self, x):
        raise NotImplementedError

other = 3
"""


@pytest.fixture
def lazy(tmp_path, monkeypatch):
    """Offer ``late_module:Late``, and whatever else is asked for, under the name late."""
    (tmp_path / "late_module.py").write_text(LAZY)
    (tmp_path / "broken_module.py").write_text("import robustfw_needs_this")
    monkeypatch.syspath_prepend(tmp_path)

    def offer(target="late_module:Late", kind="uncertainty", **more):
        @hookimpl
        def robustfw_register(add):
            add("late", target, kind=kind, **more)

        return Registry({"mine": plugin(robustfw_register=robustfw_register)}, {"mine": "my-package 1.2"})

    yield offer
    sys.modules.pop("late_module", None)


def test_a_class_given_by_its_place_is_imported_when_it_is_used(lazy):
    registry = lazy(summary="A late set.", aliases=("tardy",))
    (entry,) = registry.entries_of_kind("uncertainty")
    assert (entry.kind, entry.name, entry.about, entry.class_if_imported) == (
        "uncertainty",
        "late",
        "A late set.",
        None,
    )
    assert registry.name_of(Point()) == f"{Point.__module__}:Point"
    assert "late_module" not in sys.modules
    made = registry.make("uncertainty", "tardy:radius=2")
    assert registry.record(made) == {"use": "late", "radius": 2.0}
    assert registry.make("uncertainty", registry.spell(made)) == made
    assert entry.cls is type(made)


def test_without_a_summary_the_list_imports_the_class_for_its_docstring(lazy):
    registry = lazy()
    (entry,) = registry.entries_of_kind("uncertainty")
    assert entry.class_if_imported is None
    assert entry.about == "A set that is imported late."
    assert entry.class_if_imported is not None


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("broken_module:Late", "ModuleNotFoundError: No module named 'robustfw_needs_this'"),
        ("nowhere_at_all:Late", "ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("late_module:Later", "AttributeError: module 'late_module' has no attribute 'Later'"),
        ("late_module:other", "late_module:other is no class derived from UncertaintySet"),
        ("late_module:frozen", "late_module:frozen is no class derived from UncertaintySet"),
    ],
)
def test_an_import_that_fails_names_the_plugin_and_breaks_nothing_else(target, reason, lazy):
    registry = lazy(target)
    assert not registry.broken
    with pytest.raises(PluginError) as refused:
        registry.make("uncertainty", "late")
    assert str(refused.value) == f"the plugin mine (my-package 1.2) could not load the uncertainty late: {reason}"
    (entry,) = registry.entries_of_kind("uncertainty")
    assert entry.about == str(refused.value)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"kind": None}, "must be offered as add('late', \"module:Class\", kind=\"…\"), not 'late_module:Late'"),
        ({"target": "late_module"}, "must be offered as add"),
        ({"target": "late_module:"}, "must be offered as add"),
        ({"kind": "uncertianty"}, "'late' is of a kind 'uncertianty'; did you mean uncertainty?"),
        ({"target": Point, "kind": "attack"}, "must be a class derived from exactly one"),
    ],
)
def test_an_offer_that_cannot_be_kept_is_reported_at_once(arguments, reason, lazy):
    registry = lazy(**arguments)
    assert not registry.entries
    (broken,) = registry.broken
    assert (broken.plugin, broken.distribution) == ("mine", "my-package 1.2")
    assert reason in broken.reason


def test_a_kind_that_another_plugin_brings_is_known_whatever_the_order(tmp_path, monkeypatch):
    @hookimpl
    def offers_square(add):
        add("square", "square_module:Square", kind="shape")

    modules = {"a": plugin(robustfw_register=offers_square), "b": plugin(robustfw_register=offers_shapes)}
    for order in (modules, dict(reversed(modules.items()))):
        registry = Registry(order)
        assert not registry.broken
        assert [entry.name for entry in registry.entries_of_kind("shape")] == ["round", "square"]
