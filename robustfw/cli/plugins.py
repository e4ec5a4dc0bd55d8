"""`robustfw plugins` and `robustfw show`: what there is, and what its options are."""

from __future__ import annotations

import functools
import inspect
import json

import click

from robustfw import options, registry


@click.command(short_help="List the installed plugins.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def plugins(as_json: bool) -> None:
    """List the installed plugins, and those that failed to load."""
    known = registry.installed()
    if as_json:
        entries = [
            {"kind": e.kind, "name": e.name, "plugin": e.plugin, "distribution": e.distribution, "about": about(e)}
            for e in known.entries.values()
        ]
        broken = [{"plugin": b.plugin, "distribution": b.distribution, "reason": b.reason} for b in known.broken]
        click.echo(json.dumps({"plugins": entries, "broken": broken}, indent=2))
        return
    from robustfw import console

    for kind in known.kinds:
        rows = [[entry.name, about(entry), entry.distribution] for entry in known.of_kind(kind)]
        console.table(kind, ["name", "what it is", "from"], rows)
    for b in known.broken:
        console.problem(f"the plugin {b.plugin} ({b.distribution}) failed to load: {b.reason}")


@click.command(short_help="Show what a plugin is, and its options.")
@click.argument("kind")
@click.argument("name")
def show(kind: str, name: str) -> None:
    """Show the options of one plugin: robustfw show attack pgd."""
    known = registry.installed()
    entry = known.entry(kind, name)
    from robustfw import console

    console.paragraph(f"{kind} {name} ({entry.distribution})", entry.cls.__doc__ or "")
    helps = options.describe(entry.cls, functools.partial(known.spell, brief=True))
    if helps:
        rows = [[help_.name, help_.type, help_.default, help_.meaning] for help_ in helps]
        console.table("options", ["name", "type", "default", "meaning"], rows)
    console.line(f"in full: {known.spell(entry.cls())}")


def about(entry: registry.Entry) -> str:
    """The first line of the class's docstring."""
    return inspect.cleandoc(entry.cls.__doc__ or "").partition("\n")[0]
