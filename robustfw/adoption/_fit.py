"""Which normalisation fits a net: its clean accuracy with the one it has, and with others."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from robustfw.data.spec import DataSpec
from robustfw.data.splits import Split
from robustfw.evaluation import Comparison, device_of, wilson
from robustfw.inner.modes import evaluation_mode
from robustfw.interop import Normalization
from robustfw.task import Task

EXAMPLES = 256
"""The most examples that a normalisation is tried on."""
BATCH = 16
"""Examples that go through the net together."""
SECONDS = 2.0
"""Seconds that one normalisation may take; slower nets see fewer examples."""
SURE = 1e-3
"""The largest p of McNemar's test at which another normalisation counts as the better one: several are tried."""
MARGIN = 0.05
"""The least gain in accuracy that is worth a warning."""
NONE = "none"
"""The name of no normalisation."""


@attrs.frozen
class NormalizationFit:
    """The clean accuracy of a net on the same examples, with its normalisation and with others."""

    n: int
    """Number of examples."""
    in_effect: str
    """The net's normalisation, as ``normalize`` spells it; "none" where it has none that is known."""
    correct: Mapping[str, int]
    """How many examples are right, by the normalisation."""
    better: str | None
    """Another normalisation under which significantly more are right; None: there is none."""
    classes: int
    """Number of classes of the data."""

    @property
    def is_guessing(self) -> bool:
        """Whether no normalisation gives significantly more right answers than one in as many as there are classes."""
        lowest, _ = wilson(max(self.correct.values()), self.n)
        return lowest <= 1 / self.classes

    @property
    def warning(self) -> str | None:
        """What is probably wrong, and what to write; None where the normalisation fits."""
        if self.is_guessing:
            return (
                f"of {self.n} examples the net has {self.correct[self.in_effect]} right, no more than by guessing "
                f"among {self.classes} classes: its weights, or the order of its classes, may be those of other data"
            )
        if self.better is None:
            return None
        as_it_is = self.correct[self.in_effect] / self.n
        with_other = self.correct[self.better] / self.n
        if self.in_effect == NONE:
            cause = "its normalisation was probably forgotten"
        elif self.better == NONE:
            cause = "it probably normalises by itself, and is normalised twice"
        else:
            cause = "it was probably trained with another one"
        return (
            f"of {self.n} examples the net has {as_it_is:.1%} right with normalize={self.in_effect}, and "
            f"{with_other:.1%} with normalize={self.better}: {cause}; write --model …,normalize={self.better}"
        )

    def describe(self) -> dict[str, Any]:
        """The fit as JSON takes it."""
        return attrs.asdict(self)


def fit_normalization(
    net: nn.Module, split: Split, spec: DataSpec, in_effect: Normalization | None
) -> NormalizationFit | None:
    """Try a net's normalisation against none, those of well-known data, and the data's own.

    A net that has another one is shown examples by which its own layer computes what the other would have.

    Args:
        net: the net, normalisation included.
        split: examples, of which a random sample is tried.
        spec: what the data is.
        in_effect: the normalisation in the net; None where none is known.

    Returns:
        The accuracies; None where the data are no images with a class each.
    """
    if len(spec.shape) != 3 or spec.shape[0] not in (1, 3) or not spec.task.labelled:
        return None
    # 1. the sample, always the same
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(0))
    sample = split.subset(order[:EXAMPLES])
    own = "none" if in_effect is None else spell(in_effect)

    # 2. the net as it is; the time that it takes decides how many examples there are
    right = _right_answers(net, sample.iterate(BATCH, device_of(net)), spec.task, None)
    masks = {own: right}
    n = len(right)
    tried = sample.first(n)

    # 3. other normalisations, as a change of the examples
    for name, other in _candidates(spec).items():
        if _equal(other, in_effect):
            continue
        change = _change(in_effect, other)
        batches = tried.iterate(BATCH, device_of(net))
        masks[name] = _right_answers(net, batches, spec.task, change, least=n)

    # 4. whether one of these is better than chance explains
    best = max(masks, key=lambda name: int(masks[name].sum()))
    compared = Comparison.from_masks(masks[own], masks[best])
    is_better = compared.p <= SURE and compared.difference >= MARGIN
    return NormalizationFit(
        n=n,
        in_effect=own,
        correct={name: int(mask.sum()) for name, mask in masks.items()},
        better=best if is_better else None,
        classes=spec.classes,
    )


def spell(normalization: Normalization) -> str:
    """A normalisation as the option ``normalize`` has it, ``mean/std``; a number where all channels have the same."""
    ends = []
    for numbers in (normalization.mean, normalization.std):
        shortened = [f"{number:.4g}" for number in numbers]
        if len(set(shortened)) == 1:
            ends.append(shortened[0])
        else:
            ends.append(f"[{','.join(shortened)}]")
    return "/".join(ends)


def _candidates(spec: DataSpec) -> dict[str, Normalization | None]:
    """The normalisations that are tried, as the option ``normalize`` spells them."""
    channels = spec.shape[0]
    names = (
        ("imagenet", "cifar10", "0.5/0.5") if channels == 3 else ("mnist", "0.5/0.5")
    )
    candidates: dict[str, Normalization | None] = {NONE: None}
    for name in names:
        candidates[name] = Normalization.read(name, channels)
    # pixels from 0 to 255, as some nets are given them
    candidates["0/0.003922"] = Normalization.read("0/0.00392156862745098", channels)
    if spec.mean is not None and spec.std is not None:
        own = Normalization(spec.mean, spec.std, "the data's statistics")
        if not any(_equal(own, other) for other in candidates.values()):
            candidates[spell(own)] = own
    return candidates


def _equal(one: Normalization | None, other: Normalization | None) -> bool:
    """Whether two normalisations are one, up to rounding."""
    if one is None or other is None:
        return one is other
    numbers = torch.tensor([*one.mean, *one.std])
    other_numbers = torch.tensor([*other.mean, *other.std])
    return bool(torch.allclose(numbers, other_numbers, atol=5e-4))


def _change(
    in_effect: Normalization | None, wanted: Normalization | None
) -> tuple[Tensor, Tensor]:
    """a and b such that the layer in effect makes of a·x + b what the wanted one would make of x.

    With m, s in effect and M, S wanted, (a·x + b − m)/s = (x − M)/S gives a = s/S and b = m − a·M.
    """
    mean, std = _numbers(in_effect)
    wanted_mean, wanted_std = _numbers(wanted)
    slope = std / wanted_std
    return slope, mean - slope * wanted_mean


def _numbers(normalization: Normalization | None) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation, each (channels, 1, 1); 0 and 1 for none."""
    if normalization is None:
        return torch.zeros(1, 1, 1), torch.ones(1, 1, 1)
    mean = torch.tensor(normalization.mean).reshape(-1, 1, 1)
    std = torch.tensor(normalization.std).reshape(-1, 1, 1)
    return mean, std


def _right_answers(
    net: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    task: Task,
    change: tuple[Tensor, Tensor] | None,
    least: int = 1,
) -> Tensor:
    """Which examples are right, (n,) bool; after `SECONDS` no further batch is tried.

    Args:
        net: the net.
        batches: examples and targets.
        task: says what is wrong.
        change: slope and offset that examples are changed by; None: they are not.
        least: examples that are tried however long it takes.
    """
    masks: list[Tensor] = []
    done = 0
    start = time.perf_counter()
    with evaluation_mode(net), torch.no_grad():
        for x, y in batches:
            shown = x
            if change is not None:
                slope, offset = (part.to(x) for part in change)
                shown = slope * x + offset
            outputs = task.read(net(shown.clone()), len(x))
            masks.append(~task.wrong(outputs, task.targets(y)).cpu())
            done += len(x)
            if done >= least and time.perf_counter() - start > SECONDS:
                break
    return torch.cat(masks)
