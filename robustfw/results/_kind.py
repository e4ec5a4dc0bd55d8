"""The interface of a kind of result: its fields, its lines on the console, its tables and figures in the report."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import attrs

from robustfw.interface import Interface
from robustfw.results._table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from robustfw.results._material import Material
    from robustfw.testing.laws import Law


@attrs.frozen
class Caution:
    """A sentence that makes a number doubtful; the console prints it as a warning."""

    text: str


ConsoleOutput: TypeAlias = str | Table | Caution
"""What the console prints of a result: a line as it is, a table, or a warning."""


@attrs.frozen(eq=False)
class Drawing:
    """A figure of a report before it is drawn, with what it says to those who do not see it."""

    kind: str
    """The name of its files; a number follows where a report has several figures of this kind."""
    title: str
    """A few words above the figure."""
    draw: Callable[[], Figure]
    """Makes the figure, `robustfw.results._style.WIDTH` inches wide, in matplotlib's current style."""
    caption: str
    """What is drawn, below the figure."""
    alt: str
    """The finding in words and numbers."""
    command: str = ""
    """What to type to get the figure's numbers again."""


class ResultKind(Interface):
    """What a measurement leaves beside a run, and how people see it. A subclass is a frozen attrs class.

    The command writes its result by `robustfw.results.keep`, under the name by which the kind is registered. The
    console prints `lines`; the report shows `tables` and `figures`. A module that defines a kind imports torch,
    matplotlib and NumPy inside functions only, since every command imports it.
    """

    kind: ClassVar[str] = "result"
    fields: ClassVar[type]
    """The attrs class that the JSON object of a result is read as.

    Keys that the class does not have are ignored. Which fields it has beside the numbers is up to it; ``command`` is
    what to type to get them again.
    """
    place: ClassVar[int] = 100
    """Where the kind stands among the tables and figures of a report, in ascending order."""

    @abstractmethod
    def example(self) -> Mapping[str, Any]:
        """A small made-up result as its file holds it, with which the laws try the other methods."""

    @abstractmethod
    def lines(
        self, result: Any, labels: Sequence[str] | None = None
    ) -> Iterable[ConsoleOutput]:
        """What the console prints of a result.

        Args:
            result: An object of the class `fields`.
            labels: Names of the classes, where the data has them.
        """

    @abstractmethod
    def tables(self, material: Material) -> Sequence[Table]:
        """Tables of all results of the kind that ``material.pairs(self.fields)`` gives; none where there are none."""

    def figures(self, material: Material) -> Sequence[Drawing]:
        """Figures of all results of the kind; none unless a subclass draws some."""
        return ()

    @classmethod
    def laws(cls) -> tuple[Law, ...]:
        """The example can be read, printed, shown in tables and drawn."""
        from robustfw.results._laws import LAWS

        return LAWS
