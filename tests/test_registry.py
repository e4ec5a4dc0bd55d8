"""The registry is an object: plugins by kind and name, where they come from, and what is wrong with them."""

from __future__ import annotations

import attrs
import pytest

import robustfw
from robustfw import Interface, UsageError, hookimpl
from robustfw.plugin.registry import KINDS, Registry

from .plugin_modules import Point, Round, Shape, Shaped, offers_shapes, plugin


@hookimpl
def offers_point(add):
    add("point", Point)


def test_a_module_registers_classes_and_the_kind_is_inferred():
    registry = Registry({"mine": plugin(robustfw_register=offers_point)}, {"mine": "my-package 1.2"})
    entry = registry.entry("uncertainty", "point")
    assert entry.cls is Point
    assert entry.distribution == "my-package 1.2"
    assert registry.make("uncertainty", "point:radius=0.5") == Point(0.5)
    assert registry.make("uncertainty", {"use": "point", "radius": 1}) == Point(1.0)
    assert registry.make("uncertainty", Point(2.0)) == Point(2.0)
    assert registry.record(Point(0.5)) == {"use": "point", "radius": 0.5}


def test_two_plugins_of_one_name_are_an_error_that_names_both():
    module = plugin(robustfw_register=offers_point)
    other = plugin(robustfw_register=offers_point)
    both = r"two plugins offer the uncertainty 'point': a \(dist-a 1\) and b \(dist-b 2\)"
    with pytest.raises(UsageError, match=both):
        Registry({"a": module, "b": other}, {"a": "dist-a 1", "b": "dist-b 2"})


def test_a_plugin_that_fails_is_reported_and_breaks_nothing_else():
    @hookimpl
    def fails(add):
        add("half", Point)
        raise RuntimeError("no such file")

    registry = Registry({"bad": plugin(robustfw_register=fails), "good": plugin(robustfw_register=offers_point)})
    assert [entry.name for entry in registry.entries_of_kind("uncertainty")] == ["point"]
    assert registry.broken[0].plugin == "bad"
    assert "RuntimeError: no such file" in registry.broken[0].reason
    with pytest.raises(UsageError, match=r"no uncertainty named 'half'.*failed to load: bad.*no such file"):
        registry.entry("uncertainty", "half")


def test_a_misspelt_hook_is_reported():
    @hookimpl
    def robustfw_registr(add):
        """A typo."""

    registry = Registry({"typo": plugin(robustfw_registr=robustfw_registr)})
    assert "no hook is called robustfw_registr; did you mean robustfw_register" in registry.broken[0].reason


def test_a_hook_that_resembles_none_lists_all():
    @hookimpl
    def at_start():
        """No such hook."""

    registry = Registry({"typo": plugin(at_start=at_start)})
    hooks = "robustfw_commands, robustfw_end, robustfw_judge, robustfw_record, robustfw_register, robustfw_start"
    assert f"known: {hooks}" in registry.broken[0].reason


def test_a_class_of_no_interface_is_refused():
    @hookimpl
    def offers_nonsense(add):
        add("nonsense", dict)

    registry = Registry({"odd": plugin(robustfw_register=offers_nonsense)})
    assert "exactly one of robustfw's interfaces" in registry.broken[0].reason


def test_wrong_names_and_kinds_list_the_right_ones():
    registry = Registry.installed()
    with pytest.raises(UsageError, match="no uncertainty named 'linff'; did you mean linf"):
        registry.make("uncertainty", "linff")
    with pytest.raises(UsageError, match="no kind of plugin 'atack'; did you mean attack"):
        registry.make("atack", "pgd")
    with pytest.raises(UsageError, match="attack pgd has no option 'stesp'; did you mean step or steps"):
        registry.make("attack", "pgd:stesp=3")
    with pytest.raises(UsageError, match="cannot make a plugin of kind 'attack' from 3"):
        registry.make("attack", 3)


def test_nested_plugins_are_made_by_the_registry():
    registry = Registry.installed()
    attack = registry.make("attack", "restarts:n=2,attack=(pgd:steps=3,direction=gradient)")
    assert attack.n == 2
    assert attack.attack.steps == 3
    with pytest.raises(UsageError, match="attack pgd has no option 'stesp'"):
        registry.make("attack", "restarts:attack=(pgd:stesp=3)")


def test_make_of_the_package_uses_the_installed_plugins():
    assert robustfw.make("uncertainty", "l1:radius=8").radius == 8
    assert all(robustfw.make(kind, name) for kind, name in Registry.installed().entries if kind in KINDS)


def test_a_plugin_adds_commands():
    import click

    class Commands:
        @hookimpl
        def robustfw_commands(self, cli):
            cli.add_command(click.Command("hello"))

    group = click.Group()
    Registry({"commands": Commands()}).hooks.robustfw_commands(cli=group)
    assert "hello" in group.commands


def test_a_plugin_brings_a_kind_of_its_own():
    registry = Registry({"mine": plugin(robustfw_register=offers_shapes)})
    assert not registry.broken
    assert registry.entry("shape", "round").cls is Round
    assert registry.make("shape", "round:size=3") == Round(3)
    made = registry.make("uncertainty", "shaped:shape=(round:size=2)")
    assert made == Shaped(Round(2))
    assert registry.spell(made) == "shaped:shape=(round:size=2)"
    assert registry.make("uncertainty", registry.record(made)) == made
    with pytest.raises(UsageError, match="no shape named 'square'"):
        registry.make("uncertainty", "shaped:shape=square")
    with pytest.raises(UsageError, match="there is no kind of plugin 'shape'"):
        Registry({}).make("shape", "round")


def test_another_plugin_adds_to_a_kind_in_whatever_order_they_are_loaded():
    @hookimpl
    def offers_more(add):
        add("ring", attrs.make_class("Ring", {"size": attrs.field(default=1)}, bases=(Shape,), frozen=True))

    modules = {"a": plugin(robustfw_register=offers_more), "b": plugin(robustfw_register=offers_shapes)}
    for order in (modules, dict(reversed(modules.items()))):
        assert [entry.name for entry in Registry(order).entries_of_kind("shape")] == ["ring", "round"]


def test_two_kinds_of_one_name_are_an_error():
    class Other(Interface):
        kind = "shape"

    @hookimpl
    def offers_other(add):
        add("other", attrs.make_class("Other", {}, bases=(Other,)))

    modules = {"a": plugin(robustfw_register=offers_shapes), "b": plugin(robustfw_register=offers_other)}
    with pytest.raises(UsageError, match=r"b .* brings a kind 'shape' of its own, and there is another"):
        Registry(modules)


# Other names


def test_an_alias_never_hides_a_name_and_is_refused_where_two_have_it():
    @hookimpl
    def offers_aliases(add):
        add("one", Point, aliases=("two", "both"))
        add("two", Round)
        add("three", attrs.make_class("Three", {}, bases=(Point,), frozen=True), aliases=("BOTH",))
        add("four", attrs.make_class("Four", {}, bases=(Point,), frozen=True), aliases=("three",))

    registry = Registry({"mine": plugin(robustfw_register=offers_aliases)})
    assert registry.entry("uncertainty", "three").name == "three"
    assert registry.entry("uncertainty", "two").name == "one"  # the shape two is of another kind
    with pytest.raises(UsageError, match=r"'both' is another name of one \(mine\) and three \(mine\)"):
        registry.make("uncertainty", "both")
