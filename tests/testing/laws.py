"""Which laws a plugin breaks."""

from __future__ import annotations

from robustfw.testing import findings


def broken_laws(plugin) -> set[str]:
    """Names of the laws that the plugin breaks."""
    return {finding.law for finding in findings(plugin) if finding.broken}
