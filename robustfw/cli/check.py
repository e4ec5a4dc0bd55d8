"""`robustfw check`: the contract kit against an installed plugin."""

from __future__ import annotations

import click

from robustfw import registry


@click.command()
@click.argument("kind")
@click.argument("spec")
@click.option("--seed", type=int, default=0, show_default=True)
def check(kind: str, spec: str, seed: int) -> None:
    """Hold a plugin against the laws of its interface: robustfw check uncertainty l1:radius=8."""
    plugin = registry.installed().make(kind, spec)
    from robustfw import console, testing

    findings = list(testing.findings(plugin, seed=seed))
    rows = [[finding.law, finding.verdict, finding.detail] for finding in findings]
    console.table(f"{kind} {spec}", ["law", "verdict", ""], rows)
    broken = [finding for finding in findings if finding.broken]
    if broken:
        raise click.ClickException(f"{len(broken)} of {len(findings)} laws broken: {', '.join(f.law for f in broken)}")
    console.line(f"all {len(findings)} laws hold")
