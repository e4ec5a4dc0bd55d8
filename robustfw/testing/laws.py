"""The classes and functions by which laws are stated, checked and reported; each interface has a file of laws."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import attrs
from torch import Tensor


class LawBroken(AssertionError):
    """A law does not hold; the message says which, for what input, and by how much."""


@attrs.frozen
class Law:
    """A promise of an interface: a name, its statement, and a check that raises `LawBroken`."""

    name: str
    check: Callable[[Any, int], None]
    """The function of a plugin and a seed that raises `LawBroken` where the law does not hold."""

    @property
    def statement(self) -> str:
        """The law in mathematics: the first line of the check's docstring."""
        return (self.check.__doc__ or "").strip().partition("\n")[0]


@attrs.frozen
class Finding:
    """The result of checking one law."""

    law: str
    """The law's name."""
    statement: str
    """The law in mathematics."""
    failure: str | None
    """The counterexample; None: the law holds."""
    reason: str | None
    """Why the law is expected not to hold; None: it is expected to."""

    @property
    def broken(self) -> bool:
        """Whether this finding is a fault: an unexpected failure, or an expected one that did not happen."""
        return (self.failure is None) == (self.reason is not None)

    @property
    def verdict(self) -> str:
        """The finding in a word or two, such as "holds" or "BROKEN"."""
        expected = self.reason is not None
        if self.failure is None:
            return "holds, though expected not to" if expected else "holds"
        return "expected not to hold" if expected else "BROKEN"

    @property
    def detail(self) -> str:
        """The counterexample of a broken law, else the reason for an expected failure, else the statement."""
        if self.failure is not None and self.reason is None:
            return self.failure
        return self.reason or self.statement


def run(
    laws: Iterable[Law], plugin: Any, seed: int, expected_failures: Mapping[str, str]
) -> Iterator[Finding]:
    """Check a plugin against laws, and yield the findings one by one.

    Args:
        laws: what is checked.
        plugin: an object.
        seed: decides the examples that laws are checked on.
        expected_failures: reasons of failures that are expected, by the laws' names.
    """
    for law in laws:
        try:
            law.check(plugin, seed)
            failure = None
        except LawBroken as error:
            failure = str(error)
        except Exception as error:  # a plugin that raises breaks the law as one with a wrong result does
            failure = f"raised {type(error).__name__}: {error}"
        yield Finding(
            law=law.name,
            statement=law.statement,
            failure=failure,
            reason=expected_failures.get(law.name),
        )


def require(
    holds: Tensor | bool, text: str, value: Tensor | None = None, **shown: Tensor
) -> None:
    """Raise `LawBroken` where a mask over rows is not all true.

    The message is about the row that fails with the smallest numbers.

    Args:
        holds: a mask, (batch,), or one truth value.
        text: what is wrong; ``{}`` stands for the value of the row.
        value: a number for each row, (batch,).
        shown: tensors whose row is printed with its name: the counterexample.
    """
    if isinstance(holds, bool):
        if holds:
            return
        row = 0
    else:
        if bool(holds.all()):
            return
        row = _smallest((~holds).nonzero()[:, 0].tolist(), shown)
    message = text if value is None else text.format(f"{float(value[row]):.3g}")
    for name, tensor in shown.items():
        message += f", {name} = {show(tensor[row])}"
    raise LawBroken(message)


def _smallest(rows: list[int], shown: Mapping[str, Tensor]) -> int:
    """The row that is easiest to read: of smallest sum of magnitudes in the first tensor shown."""
    tensor = next(iter(shown.values()), None)
    if tensor is None:
        return rows[0]
    return min(rows, key=lambda row: float(tensor[row].abs().sum()))


def show(tensor: Tensor, limit: int = 12) -> str:
    """The first numbers of a tensor as text, and how many more there are."""
    numbers = [f"{value:.4g}" for value in tensor.flatten().tolist()]
    listed = ", ".join(numbers[:limit])
    if len(numbers) > limit:
        return f"[{listed}, … {len(numbers) - limit} more]"
    return f"[{listed}]"
