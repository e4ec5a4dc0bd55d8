"""Recipes that ship with plugin packages: files ``recipes/*.toml`` in a package that an entry point names."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources
from types import ModuleType

import attrs

from robustfw.errors import UsageError
from robustfw.plugin.options import suggest


@attrs.frozen
class Shipped:
    """A recipe with its name; its first comment says what it is."""

    name: str
    text: str
    package: str

    @property
    def about(self) -> str:
        """The first line, where that is a comment."""
        first = self.text.partition("\n")[0]
        return first.removeprefix("#").strip() if first.startswith("#") else ""

    @property
    def is_experiment(self) -> bool:
        """Whether it is for ``robustfw reproduce``, rather than for ``robustfw train``."""
        return "\n[nets." in self.text


def find_recipes(modules: Iterable[object]) -> dict[str, Shipped]:
    """The recipes in the folders ``recipes`` of packages, by name; of two of one name the first."""
    recipes: dict[str, Shipped] = {}
    for module in modules:
        if not (isinstance(module, ModuleType) and hasattr(module, "__path__")):
            continue
        folder = resources.files(module) / "recipes"
        for file in (
            sorted(folder.iterdir(), key=lambda file: file.name)
            if folder.is_dir()
            else ()
        ):
            name = file.name.removesuffix(".toml")
            if file.name != name:
                recipes.setdefault(
                    name,
                    Shipped(name, file.read_text(encoding="utf-8"), module.__name__),
                )
    return dict(sorted(recipes.items()))


def find_recipe(name: str, modules: Iterable[object]) -> Shipped:
    """The recipe of a name.

    Raises:
        UsageError: there is none; it lists the close names.
    """
    known = find_recipes(modules)
    if name not in known:
        raise UsageError(f"no recipe named {name!r}; {suggest(name, known)}")
    return known[name]
