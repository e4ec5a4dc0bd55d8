"""The contract kit: what every plugin promises, as laws that run against ours and everyone's.

Three doors: `check` raises at the first law that a plugin breaks; `parametrize_with_checks` makes a pytest test of each
law; ``robustfw check KIND SPEC`` runs them in the shell. A plugin's own test is four lines:

    @parametrize_with_checks([Ellipsoid()])
    def test_contract(plugin, check):
        check(plugin)
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from robustfw.errors import UsageError
from robustfw.interface import Interface
from robustfw.registry import KINDS
from robustfw.testing import (
    attack,
    averaging,
    dataset,
    loss,
    model,
    objective,
    optim,
    sampler,
    task,
    uncertainty,
    update,
)
from robustfw.testing.laws import Finding, Law, LawBroken, run

if TYPE_CHECKING:
    import pytest

LAWS: dict[str, tuple[Law, ...]] = {
    "uncertainty": uncertainty.LAWS,
    "attack": attack.LAWS,
    "objective": objective.LAWS,
    "model": model.LAWS,
    "dataset": dataset.LAWS,
    "optimizer": optim.OPTIMIZER_LAWS,
    "loss": loss.LAWS,
    "task": task.LAWS,
    "schedule": optim.SCHEDULE_LAWS,
    "update": update.LAWS,
    "sampler": sampler.LAWS,
    "averaging": averaging.LAWS,
}

__all__ = ["LAWS", "Finding", "Law", "LawBroken", "check", "findings", "laws_for", "parametrize_with_checks"]


def laws_for(plugin: Any) -> tuple[Law, ...]:
    """The laws of the interface that a plugin object derives from."""
    for kind, base in KINDS.items():
        if isinstance(plugin, base):
            return LAWS[kind]
    if isinstance(plugin, Interface):
        return plugin.laws()
    raise UsageError(f"{plugin!r} is an instance of none of robustfw's interfaces: give an object, not a class")


def findings(plugin: Any, *, seed: int = 0, expected_failures: Mapping[str, str] | None = None) -> Iterator[Finding]:
    """What comes of each law; ``expected_failures`` maps the names of laws to reasons."""
    laws = laws_for(plugin)
    unknown = set(expected_failures or {}) - {law.name for law in laws}
    if unknown:
        raise UsageError(
            f"there is no law {', '.join(sorted(unknown))}; there are {', '.join(law.name for law in laws)}"
        )
    return run(laws, plugin, seed, expected_failures or {})


def check(plugin: Any, *, seed: int = 0, expected_failures: Mapping[str, str] | None = None) -> None:
    """Raise `LawBroken` at the first law that does not hold (or that holds although expected not to)."""
    __tracebackhide__ = True
    for finding in findings(plugin, seed=seed, expected_failures=expected_failures):
        if finding.broken:
            raise LawBroken(f"{finding.law}: {finding.failure or finding.verdict}")


def parametrize_with_checks(
    plugins: Sequence[Any], *, expected_failures: Mapping[str, str] | None = None
) -> pytest.MarkDecorator:
    """A pytest decorator: one test for each plugin and law, for a function ``(plugin, check)``."""
    import pytest

    pairs = [(plugin, law) for plugin in plugins for law in laws_for(plugin)]
    return pytest.mark.parametrize(
        ("plugin", "check"),
        [
            pytest.param(plugin, _checker(law, expected_failures or {}), id=f"{plugin}-{law.name}")
            for plugin, law in pairs
        ],
    )


def _checker(law: Law, expected_failures: Mapping[str, str]) -> Callable[[Any], None]:
    return functools.partial(_check_one, law, expected_failures)


def _check_one(law: Law, expected_failures: Mapping[str, str], plugin: Any) -> None:
    __tracebackhide__ = True  # a broken law is the plugin's; its sentence says all
    (finding,) = run([law], plugin, 0, expected_failures)
    if finding.broken:
        raise LawBroken(f"{finding.law}: {finding.failure or finding.verdict}")
