"""The contract kit: what every plugin promises, as laws that run against ours and everyone's.

Three doors: `check` raises at the first law that a plugin breaks; `parametrize_with_checks` makes a pytest test of each
law; ``robustfw check KIND SPEC`` runs them in the shell. A plugin's own test is four lines:

    @parametrize_with_checks([Ellipsoid()])
    def test_contract(plugin, check):
        check(plugin)
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from robustfw.errors import UsageError
from robustfw.interface import Interface
from robustfw.plugin.registry import KINDS
from robustfw.testing import _attack as attack
from robustfw.testing import _averaging as averaging
from robustfw.testing import _dataset as dataset
from robustfw.testing import _loss as loss
from robustfw.testing import _model as model
from robustfw.testing import _objective as objective
from robustfw.testing import _optim as optim
from robustfw.testing import _sampler as sampler
from robustfw.testing import _task as task
from robustfw.testing import _uncertainty as uncertainty
from robustfw.testing import _update as update
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
"""Kind of a plugin to the laws of its interface."""

__all__ = [
    "LAWS",
    "Finding",
    "Law",
    "LawBroken",
    "check",
    "expectations",
    "findings",
    "laws_for",
    "parametrize_with_checks",
]


def laws_for(plugin: Any) -> tuple[Law, ...]:
    """The laws of the interface that a plugin object derives from.

    Raises:
        UsageError: it derives from none, as a class does, or an object of another package.
    """
    for kind, base in KINDS.items():
        if isinstance(plugin, base):
            return LAWS.get(kind, ())
    if isinstance(plugin, Interface):
        return plugin.laws()
    raise UsageError(
        f"{plugin!r} is an instance of none of robustfw's interfaces: give an object, not a class"
    )


def expectations(plugin: Any, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The laws that are expected not to hold, by name, with the reasons that the plugin declares and those in ``more``.

    A class declares them as ``expected_failures: ClassVar[Mapping[str, str]] = {"nearest": "not convex"}``, or as a
    property where they depend on its options.

    Raises:
        UsageError: there is no law of that name, or no reason.
    """
    expected = {**getattr(plugin, "expected_failures", {}), **(more or {})}
    laws = [law.name for law in laws_for(plugin)]
    for name, reason in expected.items():
        if name not in laws:
            raise UsageError(f"there is no law {name}; there are {', '.join(laws)}")
        if not isinstance(reason, str) or not reason.strip():
            raise UsageError(
                f"the law {name} is expected not to hold, without a reason: give one"
            )
    return expected


def findings(
    plugin: Any, *, seed: int = 0, expected_failures: Mapping[str, str] | None = None
) -> Iterator[Finding]:
    """Check a plugin against each of its laws, and yield the findings one by one.

    Args:
        plugin: an object whose class implements one of the interfaces.
        seed: decides the examples that laws are checked on.
        expected_failures: laws that need not hold, by name, with the reason; added to those that the plugin declares.

    Raises:
        UsageError: there is no law of such a name, or no reason.
    """
    return run(
        laws_for(plugin),
        plugin=plugin,
        seed=seed,
        expected_failures=expectations(plugin, expected_failures),
    )


def check(
    plugin: Any, *, seed: int = 0, expected_failures: Mapping[str, str] | None = None
) -> None:
    """Check a plugin against its laws.

    Args:
        plugin: an object whose class implements one of the interfaces.
        seed: decides the examples that laws are checked on.
        expected_failures: laws that need not hold, by name, with the reason; added to those that the plugin declares.

    Raises:
        LawBroken: a law does not hold, or holds although it is expected not to; only the first is reported.
        UsageError: there is no law of such a name, or no reason.
    """
    __tracebackhide__ = True
    for finding in findings(plugin, seed=seed, expected_failures=expected_failures):
        if finding.broken:
            raise LawBroken(f"{finding.law}: {finding.failure or finding.verdict}")


def parametrize_with_checks(
    plugins: Sequence[Any], *, expected_failures: Mapping[str, str] | None = None
) -> pytest.MarkDecorator:
    """A pytest decorator: one test for each plugin and law, for a function ``(plugin, check)``."""
    import pytest

    reasons = expected_failures or {}
    names = {law.name for plugin in plugins for law in laws_for(plugin)}
    unknown = set(reasons) - names
    if unknown:
        raise UsageError(
            f"there is no law {', '.join(sorted(unknown))}; there are {', '.join(sorted(names))}"
        )
    cases = []
    for plugin in plugins:
        laws = laws_for(plugin)
        own_reasons = {
            law.name: reasons[law.name] for law in laws if law.name in reasons
        }
        expected = expectations(plugin, own_reasons)
        for law in laws:
            check_law = functools.partial(_check_law, law, expected)
            cases.append(pytest.param(plugin, check_law, id=f"{plugin}-{law.name}"))
    return pytest.mark.parametrize(("plugin", "check"), cases)


def _check_law(law: Law, expected_failures: Mapping[str, str], plugin: Any) -> None:
    """Raise `LawBroken` where one law does not hold as expected."""
    __tracebackhide__ = True  # the message says all; the kit's own frames would hide it
    (finding,) = run([law], plugin=plugin, seed=0, expected_failures=expected_failures)
    if finding.broken:
        raise LawBroken(f"{finding.law}: {finding.failure or finding.verdict}")
