"""How a law is stated, run and reported. The laws themselves are in one file per interface."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import attrs
from torch import Tensor


class LawBroken(AssertionError):
    """A law does not hold: which, for what input, and by how much."""


@attrs.frozen
class Law:
    """A promise of an interface: a name, its statement, and a check that raises `LawBroken`."""

    name: str
    check: Callable[[Any, int], None]
    """``check(plugin, seed)``."""

    @property
    def statement(self) -> str:
        """The law in mathematics: the first line of the check's docstring."""
        return (self.check.__doc__ or "").strip().partition("\n")[0]


@attrs.frozen
class Finding:
    """What came of one law."""

    law: str
    statement: str
    failure: str | None
    reason: str | None
    """Why a failure was expected."""

    @property
    def broken(self) -> bool:
        """Whether this finding is a fault: an unexpected failure, or an expected one that did not happen."""
        return (self.failure is None) == (self.reason is not None)

    @property
    def verdict(self) -> str:
        """In a word or two."""
        if self.failure is None:
            return "holds" if self.reason is None else "holds, though expected not to"
        return "BROKEN" if self.reason is None else "expected not to hold"

    @property
    def detail(self) -> str:
        """The counterexample, the reason, or the statement."""
        if self.failure is not None and self.reason is None:
            return self.failure
        return self.reason or self.statement


def run(laws: Iterable[Law], plugin: Any, seed: int, expected_failures: Mapping[str, str]) -> Iterator[Finding]:
    """Hold a plugin against laws, one after the other."""
    for law in laws:
        try:
            law.check(plugin, seed)
            failure = None
        except LawBroken as error:
            failure = str(error)
        except Exception as error:  # a plugin that raises breaks the law as surely as one that is wrong
            failure = f"raised {type(error).__name__}: {error}"
        yield Finding(law.name, law.statement, failure, expected_failures.get(law.name))


def require(holds: Tensor | bool, text: str, value: Tensor | None = None, **shown: Tensor) -> None:
    """Raise `LawBroken` where a mask over rows is not all true.

    The message speaks of the row that fails with the smallest numbers: ``text``, in which ``{}`` stands for the row's
    ``value``, and the row of each tensor in ``shown``: the counterexample.
    """
    if holds is True or (not isinstance(holds, bool) and bool(holds.all())):
        return
    row = 0 if isinstance(holds, bool) else _smallest((~holds).nonzero()[:, 0].tolist(), shown)
    said = text if value is None else text.format(f"{float(value[row]):.3g}")
    raise LawBroken(", ".join([said, *(f"{name} = {show(tensor[row])}" for name, tensor in shown.items())]))


def _smallest(rows: list[int], shown: Mapping[str, Tensor]) -> int:
    """The row that is easiest to read: of smallest sum of magnitudes in the first tensor shown."""
    tensor = next(iter(shown.values()), None)
    return rows[0] if tensor is None else min(rows, key=lambda row: float(tensor[row].abs().sum()))


def show(tensor: Tensor, limit: int = 12) -> str:
    """A tensor's numbers, short enough for a message."""
    numbers = [f"{value:.4g}" for value in tensor.flatten().tolist()]
    return "[" + ", ".join(numbers[:limit]) + (f", … {len(numbers) - limit} more]" if len(numbers) > limit else "]")
