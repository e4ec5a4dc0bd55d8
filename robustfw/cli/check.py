"""`robustfw check`: the contract kit against an installed plugin."""

from __future__ import annotations

import click

from robustfw import registry


@click.command(short_help="Hold a plugin against the laws of its interface.")
@click.argument("kind")
@click.argument("spec")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the examples that the laws are tried on.")
def check(kind: str, spec: str, seed: int) -> None:
    """Hold a plugin against the laws of its interface: robustfw check uncertainty l1:radius=8."""
    plugin = registry.installed().make(kind, spec)
    from robustfw import console, testing

    laws = testing.laws_for(plugin)
    findings = list(console.counted(testing.findings(plugin, seed=seed), len(laws), f"checking {kind} {spec}"))
    rows = [[finding.law, finding.verdict, finding.detail] for finding in findings]
    console.table(f"{kind} {spec}", ["law", "verdict", ""], rows)
    broken = [finding.law for finding in findings if finding.broken]
    if broken:
        raise click.ClickException(f"{len(broken)} of {len(findings)} laws broken: {', '.join(broken)}")
    console.line(f"all {len(findings)} laws hold")
