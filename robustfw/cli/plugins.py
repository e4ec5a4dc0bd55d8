"""`robustfw plugins` and `robustfw show`: what there is, and what its options are."""

from __future__ import annotations

import json

import click

from robustfw import options, registry


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def plugins(as_json: bool) -> None:
    """List the installed plugins, and those that failed to load."""
    known = registry.installed()
    if as_json:
        entries = [
            {"kind": e.kind, "name": e.name, "plugin": e.plugin, "distribution": e.distribution, "about": about(e)}
            for e in known.entries.values()
        ]
        broken = [{"plugin": b.plugin, "distribution": b.distribution, "reason": b.reason} for b in known.broken]
        click.echo(json.dumps({"plugins": entries, "broken": broken}, indent=2, ensure_ascii=False))
        return
    from robustfw import console

    for kind in registry.KINDS:
        rows = [[entry.name, about(entry), entry.distribution] for entry in known.of_kind(kind)]
        console.table(kind, ["name", "what it is", "from"], rows)
    for b in known.broken:
        console.problem(f"the plugin {b.plugin} ({b.distribution}) failed to load: {b.reason}")


@click.command()
@click.argument("kind")
@click.argument("name")
def show(kind: str, name: str) -> None:
    """Show the options of one plugin: robustfw show attack pgd."""
    known = registry.installed()
    entry = known.entry(kind, name)
    from robustfw import console

    console.paragraph(f"{kind} {name} ({entry.distribution})", (entry.cls.__doc__ or "").strip())
    rows = [[h.name, h.type, h.default, h.meaning] for h in options.describe(entry.cls, known.record)]
    console.table("options", ["name", "type", "default", "meaning"], rows)
    console.line(f"spec: {known.spell(entry.cls())}")


def about(entry: registry.Entry) -> str:
    """The first line of the class's docstring."""
    return (entry.cls.__doc__ or "").strip().partition("\n")[0]
