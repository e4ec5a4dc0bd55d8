"""Judges: plugins that set what an experiment has measured against what somebody claimed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import attrs

from robustfw.results._seed_means import Mean

if TYPE_CHECKING:
    from robustfw.reproduction._measurements import Measurements

CONFIRMED = "confirmed"
NOT_CONFIRMED = "not confirmed"
UNDECIDED = "undecided"
POINTS = " points"
"""The unit of differences between two shares in per cent; these are written with their sign."""


@attrs.frozen
class Part:
    """One quantity that a claim is about."""

    of: str
    """The net, or the pair of nets, in words."""
    reported: str
    """What the source says, as text; empty where it says nothing."""
    ours: Mean
    verdict: str
    """``CONFIRMED``, ``NOT_CONFIRMED`` or ``UNDECIDED``."""


@attrs.frozen
class Claim:
    """A sentence that holds if it holds for each of its parts."""

    text: str
    parts: tuple[Part, ...]
    unit: str
    """What stands behind the numbers, such as " %"."""

    @property
    def verdict(self) -> str:
        """One part that fails refutes the claim, one that is open leaves it open; so does having no part."""
        verdicts = [part.verdict for part in self.parts]
        if NOT_CONFIRMED in verdicts:
            return NOT_CONFIRMED
        if verdicts and UNDECIDED not in verdicts:
            return CONFIRMED
        return UNDECIDED

    def rows(self, mode: str) -> list[dict[str, str]]:
        """The claim as a whole and then its parts, as the page of a reproduction keeps them."""
        rows = [
            {
                "mode": mode,
                "claim": self.text,
                "net": "",
                "paper": "",
                "ours": "",
                "verdict": self.verdict,
            }
        ]
        for part in self.parts:
            ours = part.ours.spell(self.unit, sign=self.unit == POINTS)
            rows.append(
                rows[0]
                | {
                    "net": part.of,
                    "paper": part.reported,
                    "ours": ours,
                    "verdict": part.verdict,
                }
            )
        return rows


@attrs.frozen
class Judgement:
    """What a judge says of one mode of an experiment."""

    claims: tuple[Claim, ...] = ()
    sentences: tuple[str, ...] = ()
    """What else is worth saying, for the summary."""


class Judge(ABC):
    """Knows what was claimed of an experiment; a plugin gives one by the hook ``robustfw_judge``."""

    source: ClassVar[str]
    """What reported figures are called in tables: "paper"."""

    @abstractmethod
    def source_figures(self, quantity: str) -> Mapping[str, float]:
        """Figures of the source in per cent by net; ``quantity`` is "clean" or "transfer". Nets may be missing."""

    @abstractmethod
    def judge(self, measurements: Measurements) -> Judgement:
        """The claims, with a verdict on each, about what was measured in one mode."""
