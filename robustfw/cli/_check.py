"""`robustfw check`: the contract kit against an installed plugin."""

from __future__ import annotations

from collections.abc import Sequence

import click

from robustfw.errors import UsageError
from robustfw.plugin import registry


@click.command(short_help="Hold a plugin against the laws of its interface.")
@click.argument("kind")
@click.argument("spec")
@click.option(
    "--seed",
    type=int,
    default=0,
    show_default=True,
    help="Of the examples that the laws are tried on.",
)
@click.option(
    "--expect",
    metavar="LAW=REASON",
    multiple=True,
    help="A law that is known not to hold, and why; again for another. It counts as broken if it holds.",
)
def check(kind: str, spec: str, seed: int, expect: Sequence[str]) -> None:
    """Hold a plugin against the laws of its interface: robustfw check uncertainty l1:radius=8.

    Exit status 0: every law holds, or is expected not to (by --expect, or by expected_failures of the plugin's class)
    and does not. 1: a law is broken. 2: there is no such plugin, option or law.
    """
    known = registry.installed()
    plugin = known.make(kind, spec)
    expected = _read_expectations(expect)
    from robustfw import console, testing

    laws = testing.laws_for(plugin)
    findings = testing.findings(plugin, seed=seed, expected_failures=expected)
    results = list(console.track(findings, len(laws), f"checking {kind} {spec}"))
    rows = [[finding.law, finding.verdict, finding.detail] for finding in results]
    console.table(f"{kind} {spec}", ["law", "verdict", ""], rows)
    n = len(results)
    broken = [finding.law for finding in results if finding.broken]
    if broken:
        raise click.ClickException(
            f"{len(broken)} of {n} laws broken: {', '.join(broken)}"
        )
    expected_failures = sum(finding.reason is not None for finding in results)
    if expected_failures:
        console.line(
            f"{n - expected_failures} of {n} laws hold, and {expected_failures} are expected not to"
        )
    else:
        console.line(f"all {n} laws hold")


def _read_expectations(texts: Sequence[str]) -> dict[str, str]:
    """``LAW=REASON`` as reasons by law."""
    reasons = {}
    for text in texts:
        law, _, reason = text.partition("=")
        if not law.strip() or not reason.strip():
            raise UsageError(
                f"cannot read --expect {text!r}: write the law and the reason, --expect 'nearest=not convex'"
            )
        reasons[law.strip()] = reason.strip()
    return reasons
