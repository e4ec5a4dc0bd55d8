"""`robustfw plugins` and `robustfw show`: what there is, and what its options are."""

from __future__ import annotations

import functools
import json

import click

from robustfw.plugin import _names as names
from robustfw.plugin import options, registry


@click.command(short_help="List the installed plugins.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def plugins(as_json: bool) -> None:
    """List the installed plugins, and those that failed to load."""
    known = registry.installed()
    if as_json:
        entries = []
        for entry in known.entries.values():
            entries.append(
                {
                    "kind": entry.kind,
                    "name": entry.name,
                    "aliases": list(entry.aliases),
                    "plugin": entry.plugin,
                    "distribution": entry.distribution,
                    "about": entry.about,
                }
            )
        broken = []
        for plugin in known.broken:
            broken.append(
                {
                    "plugin": plugin.plugin,
                    "distribution": plugin.distribution,
                    "reason": plugin.reason,
                }
            )
        click.echo(json.dumps({"plugins": entries, "broken": broken}, indent=2))
        return
    from robustfw import console

    for kind in known.kinds:
        entries_of_kind = known.entries_of_kind(kind)
        columns = {
            "name": [entry.name for entry in entries_of_kind],
            "what it is": [entry.about for entry in entries_of_kind],
            "also called": [", ".join(entry.aliases) for entry in entries_of_kind],
            "from": [entry.distribution for entry in entries_of_kind],
        }
        if not any(columns["also called"]):
            del columns["also called"]
        rows = list(zip(*columns.values(), strict=True))
        console.table(kind, list(columns), rows)
    for plugin in known.broken:
        console.problem(
            f"the plugin {plugin.plugin} ({plugin.distribution}) failed to load: {plugin.reason}"
        )


@click.command(short_help="Show what a plugin is, and its options.")
@click.argument("kind")
@click.argument("name")
def show(kind: str, name: str) -> None:
    """Show the options of one plugin: robustfw show attack pgd.

    NAME may be an alias; case, _ and - make no difference.
    """
    known = registry.installed()
    entry = known.entry(kind, name)
    helps = options.describe(entry.cls, functools.partial(known.spell, brief=True))
    from robustfw import console

    if names.normalize(name) != names.normalize(entry.name):
        console.line(f"{name} is another name of {entry.name}")
    console.paragraph(
        f"{entry.kind} {entry.name} ({entry.distribution})", entry.cls.__doc__ or ""
    )
    if entry.aliases:
        console.line(f"also called: {', '.join(entry.aliases)}")
    if helps:
        rows = []
        for help_ in helps:
            rows.append([help_.name, help_.type, help_.default, _help_text(help_)])
        console.table("options", ["name", "type", "default", "meaning"], rows)
    if all(help_.default != "required" for help_ in helps):
        console.line(f"in full: {known.spell(entry.cls())}")


def _help_text(help_: options.Help) -> str:
    """The help text of an option, with its other names."""
    if not help_.aliases:
        return help_.meaning
    return f"{help_.meaning} (also {', '.join(help_.aliases)})".strip()
