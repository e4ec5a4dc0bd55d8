"""Command recipes: list the recipes that are installed, and copy one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from robustfw.errors import UsageError
from robustfw.plugin import registry
from robustfw.reproduction._recipes import find_recipe, find_recipes

if TYPE_CHECKING:
    pass


def read_recipe(recipe: str) -> tuple[str, str]:
    """Name and text of a recipe: a file, or one that ships with a package."""
    path = Path(recipe)
    if path.suffix != ".toml":
        return recipe, find_recipe(recipe, registry.installed().modules()).text
    try:
        return path.stem, path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read the recipe {path}: {error.strerror}") from error


@click.group(
    invoke_without_command=True,
    short_help="List the recipes that ship with robustfw and its plugins.",
)
@click.pass_context
def recipes(ctx: click.Context) -> None:
    """List the recipes that ship with robustfw and its plugins."""
    if ctx.invoked_subcommand is not None:
        return
    from robustfw import console

    for title, experiments in (("robustfw train", False), ("robustfw reproduce", True)):
        rows = []
        for each in find_recipes(registry.installed().modules()).values():
            if each.is_experiment == experiments:
                rows.append([each.name, each.about, each.package])
        console.table(f"for {title}", ["", "what it is", "from"], rows)
    console.line("robustfw recipes copy NAME hands one out, to be edited")


@recipes.command("copy", short_help="Write a recipe to a file.")
@click.argument("name")
@click.argument("path", required=False, type=click.Path(path_type=Path))
def copy(name: str, path: Path | None) -> None:
    """Write the recipe NAME to PATH, by default to NAME.toml here; a file that exists is left alone."""
    from robustfw import console

    recipe, target = (
        find_recipe(name, registry.installed().modules()),
        path or Path(f"{name}.toml"),
    )
    try:
        with target.open("x", encoding="utf-8") as file:
            file.write(recipe.text)
    except FileExistsError:
        raise UsageError(f"{target} exists already: give another path") from None
    command = "reproduce" if recipe.is_experiment else "train"
    console.line(f"{target} is yours; to run it: robustfw {command} {target}")
