"""The normalisation that a net expects of its input, by name or by numbers."""

from __future__ import annotations

import math

import attrs

from robustfw.errors import UsageError

KNOWN = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "inception": ((0.5,), (0.5,)),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "svhn": ((0.4377, 0.4438, 0.4728), (0.198, 0.201, 0.197)),
    "mnist": ((0.1307,), (0.3081,)),
}
"""Statistics of pixels from 0 to 1 by which nets of these data sets are usually trained: means, standard deviations."""
ADVICE = (
    f"write none, {', '.join(KNOWN)}, or mean/std such as 0.5/0.5 or "
    "[0.49,0.48,0.45]/[0.25,0.24,0.26]"
)


def _read_numbers(numbers: object) -> tuple[float, ...]:
    """A number, or a sequence of them, as a tuple of floats."""
    if isinstance(numbers, int | float):
        return (float(numbers),)
    return tuple(float(number) for number in numbers)  # type: ignore[attr-defined]  # what is no sequence raises


@attrs.frozen
class Normalization:
    """x ↦ (x − mean)/std, per channel."""

    mean: tuple[float, ...] = attrs.field(converter=_read_numbers)
    """A number for each channel, or one for all."""
    std: tuple[float, ...] = attrs.field(converter=_read_numbers)
    """As many, above 0."""
    source: str = "given"
    """Where the numbers come from, in words: "imagenet", "the configuration of resnet18"."""

    def __attrs_post_init__(self) -> None:
        """Refuse numbers by which nothing can be normalised."""
        if len(self.mean) != len(self.std) or not self.mean:
            raise UsageError(
                f"a normalisation has as many means as standard deviations, not {len(self.mean)} and {len(self.std)}"
            )
        if not all(map(math.isfinite, self.mean + self.std)) or min(self.std) <= 0:
            raise UsageError(
                f"a normalisation has finite means and standard deviations above 0, not {self.spell()}"
            )

    @classmethod
    def read(cls, text: str, channels: int | None = None) -> Normalization | None:
        """The normalisation that a text names.

        Args:
            text: ``none``; the name of a data set, such as ``imagenet``; or ``mean/std``, both a number or a list.
            channels: of the data; None if they are not known yet, so that they are not compared.

        Returns:
            The normalisation, with a number for each channel where these are known; None for ``none``.

        Raises:
            UsageError: the text is none of these, or is for another number of channels.
        """
        word = text.strip().lower()
        if word == "none":
            return None
        if word in KNOWN:
            mean, std = KNOWN[word]
            normalization = cls(mean, std, word)
        else:
            normalization = cls(*_read_pair(text), "given")
        if channels is None:
            return normalization
        return normalization.for_channels(channels)

    def for_channels(self, channels: int) -> Normalization:
        """The normalisation with a number for each channel; one number serves all of them.

        Raises:
            UsageError: it is for another number of channels.
        """
        if len(self.mean) == channels:
            return self
        if len(self.mean) == 1:
            return attrs.evolve(
                self, mean=self.mean * channels, std=self.std * channels
            )
        raise UsageError(
            f"the normalisation ({self.source}) is for {len(self.mean)} channels and the data has {channels}: give "
            "normalize=mean/std with a number for each channel, or normalize=none"
        )

    def spell(self) -> str:
        """The numbers as `read` takes them: ``0.5/0.5``, ``[0.49,0.48,0.45]/[0.25,0.24,0.26]``."""
        return f"{_spell_numbers(self.mean)}/{_spell_numbers(self.std)}"

    def __str__(self) -> str:
        return f"{self.spell()} ({self.source})"


def _spell_numbers(numbers: tuple[float, ...]) -> str:
    """Six digits of each number, in brackets unless there is one."""
    words = [f"{number:.6g}" for number in numbers]
    if len(words) == 1:
        return words[0]
    return f"[{','.join(words)}]"


def _read_pair(text: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Means and standard deviations of a text ``mean/std``."""
    parts = text.split("/")
    if len(parts) != 2:
        raise UsageError(f"there is no normalisation {text!r}: {ADVICE}")
    lists = []
    for part in parts:
        words = part.strip().removeprefix("[").removesuffix("]").split(",")
        try:
            lists.append(tuple(float(word) for word in words))
        except ValueError as error:
            raise UsageError(f"there is no normalisation {text!r}: {ADVICE}") from error
    mean, std = lists
    return mean, std
