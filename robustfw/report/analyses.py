"""The JSON files of `robustfw analyze`, as attrs classes; see `robustfw.report.schema`."""

from __future__ import annotations

import attrs


@attrs.frozen
class ClassPair:
    """Two classes, and the most that the mean distance to a boundary between them can be."""

    first: int
    second: int
    linear: float
    quadratic: float
    measured: float | None = None
    risk: float | None = None
    bound: float | None = None


@attrs.frozen
class Space:
    """Examples, or features of them."""

    name: str
    dimension: int
    pairs: tuple[ClassPair, ...]


@attrs.frozen
class Distinguishability:
    """How robust linear and quadratic classifiers of each pair of classes can be."""

    examples: int
    split: str
    spaces: tuple[Space, ...]
    command: str = ""


@attrs.frozen
class Search:
    """A way in which images were searched for, one for each class, and how far it came."""

    name: str
    budget: int
    reached: int
    confidence: tuple[float, ...]
    rounds: tuple[int, ...]


@attrs.frozen
class Fooling:
    """Images that began as noise."""

    target: float
    range: tuple[float, float]
    shape: tuple[int, ...]
    images: str
    searches: tuple[Search, ...]
    command: str = ""

    def __attrs_post_init__(self) -> None:
        lengths = {len(part) for search in self.searches for part in (search.confidence, search.rounds)}
        if len(lengths) != 1:
            raise ValueError("the searches are not of the same classes")


@attrs.frozen
class Layer:
    """A layer's Lipschitz constant, and how it is known."""

    name: str
    kind: str
    bound: float | None
    how: str


@attrs.frozen
class Lipschitz:
    """Of each layer, and quantiles of the net's slopes at examples, of which the last is the largest."""

    layers: tuple[Layer, ...]
    unbounded: tuple[str, ...]
    upper: float | None
    n: int
    split: str
    levels: tuple[float, ...]
    quantiles: tuple[float, ...]
    command: str = ""

    def __attrs_post_init__(self) -> None:
        if len(self.levels) != len(self.quantiles) or 0.5 not in self.levels:
            raise ValueError("the quantiles do not fit their levels")

    def at(self, level: float) -> float:
        """A quantile of the slopes."""
        return self.quantiles[self.levels.index(level)]
