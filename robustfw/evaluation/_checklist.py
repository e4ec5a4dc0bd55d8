"""The words of the masking checklist: its lines, what each says if it fails, and the case that is tried."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, TypeAlias

import attrs
from torch import Tensor, nn

from robustfw import losses
from robustfw.attack import Attack
from robustfw.data.splits import Batch, Split
from robustfw.evaluation._accuracy import device_of, verdicts
from robustfw.evaluation._verdicts import Verdicts
from robustfw.inner.threat import Threat
from robustfw.task import Classification, Task

Verdict: TypeAlias = Literal["passed", "failed", "not checked"]

ADVICE = {
    "one step": (
        "many steps should fool whatever one step does: if the lines on gradients passed, the attack does not suit the "
        "set (more steps, another --attack); report each example's worst case over both"
    ),
    "twice the steps": (
        "the attack has not converged: give it more steps until doubling them changes nothing, and report that number"
    ),
    "restarts": (
        "one random start misses worst cases: report each example's worst case over many restarts, "
        "restarts:n=10,attack=(…)"
    ),
    "large radius": (
        "a set without limits must leave nothing standing, and a larger set no more than a smaller one: the attack is "
        "broken or blind on this net; attack it with the margin loss, or without the layers that hide its gradient"
    ),
    "noise": (
        "random members beat the gradient: it points nowhere, so use attacks without gradients, or attack the net "
        "without the layers that hide it"
    ),
    "transfer": (
        "examples made on another net beat the attack on this one: its gradient is masked; report the worst case over "
        "both, and attack a smooth copy of the net"
    ),
    "gradients not zero": (
        "cross-entropy leads nowhere or astray: evaluate with --loss margin too and believe the lower number; where "
        "there is no gradient, divide the logits by a temperature, or attack the net without the layer that cuts it"
    ),
    "deterministic": (
        "the net is random in evaluation mode: switch the randomness off, or attack the mean of the outputs over many "
        "draws and define accuracy by it"
    ),
    "logits": (
        "losses here take finite logits: leave out the softmax at the end of the net, and mend what overflows"
    ),
    "true gradients": (
        "the gradient is not the slope of the loss (rounding, a layer with a made-up backward pass, randomness): "
        "attack the net without that layer and count what this fools, or use attacks without gradients"
    ),
}
"""The names of the lines, in their order, and what to do about each if it fails."""


@attrs.frozen
class Line:
    """One line of the list."""

    name: str
    verdict: Verdict
    found: str
    """The numbers in words; for a line that is not checked, why not."""
    numbers: dict[str, Any] = attrs.field(factory=dict)
    """What was counted, with its denominators."""

    @classmethod
    def check(cls, name: str, passed: bool, found: str, **numbers: Any) -> Line:
        """A line that was checked.

        Args:
            name: a key of `ADVICE`.
            passed: whether nothing speaks against the robust accuracy.
            found: the numbers in words.
            **numbers: what was counted, with its denominators.
        """
        return cls(
            name=name,
            verdict="passed" if passed else "failed",
            found=found,
            numbers=numbers,
        )

    @classmethod
    def skip(cls, name: str, why: str, **numbers: Any) -> Line:
        """A line that is not checked, and says nothing.

        Args:
            name: a key of `ADVICE`.
            why: why it is not checked.
            **numbers: what was counted all the same.
        """
        return cls(name=name, verdict="not checked", found=why, numbers=numbers)

    @property
    def advice(self) -> str:
        """What to do if it failed."""
        return ADVICE[self.name]

    def describe(self) -> dict[str, Any]:
        """The line as JSON."""
        return attrs.asdict(self) | {"advice": self.advice}


@attrs.frozen
class Attacks:
    """The attacks that the list plays against each other. A line whose attack is None is not checked."""

    many: Attack
    """The attack of many steps, whose robust accuracy is in question."""
    one: Attack | None = None
    """An attack of a single step."""
    double: Attack | None = None
    """The attack of many steps, with twice as many."""
    restarts: Attack | None = None
    """The attack of many steps, from several random starts."""
    noise: Attack | None = None
    """The worst of many random members."""


@attrs.frozen(eq=False)
class TransferExamples:
    """Adversarial examples that were crafted on another net, within the same set."""

    indices: Tensor
    """Rows of the split that the examples were made of, (k,)."""
    adversarial: Tensor
    """x̃ of each row, (k, *shape)."""


@attrs.frozen(eq=False)
class AuditCase:
    """What is tried: a net and examples, a set and a range, and the attacks."""

    model: nn.Module
    split: Split
    threat: Threat
    attacks: Attacks
    transfer: Sequence[TransferExamples] = ()
    batch_size: int = 500
    seed: int = 0
    task: Task = Classification()
    classes: int | None = None
    loss: losses.LossFunction | None = None
    """What the attacks raise; None: the task's loss."""

    def __len__(self) -> int:
        return len(self.split)

    def batches(self, split: Split | None = None) -> Iterator[Batch]:
        """Examples and targets on the net's device: of the case's split, or of another."""
        return (split or self.split).iterate(self.batch_size, device_of(self.model))

    def attack(
        self,
        attack: Attack,
        *,
        split: Split | None = None,
        threat: Threat | None = None,
        loss: losses.LossFunction | None = None,
        seed: int = 0,
    ) -> Verdicts:
        """The verdicts of one attack on the examples.

        Args:
            attack: what is tried.
            split: other examples; None: the case's.
            threat: another set and range; None: the case's.
            loss: another loss to raise; None: the case's.
            seed: is added to the case's.
        """
        batches = verdicts(
            self.model,
            split or self.split,
            threat=threat or self.threat,
            attacks=[attack],
            classes=self.classes,
            task=self.task,
            loss=loss or self.loss,
            batch_size=self.batch_size,
            seed=self.seed + seed,
        )
        return Verdicts.concatenate(batches)

    def tolerance(self, share: float, least: int) -> int:
        """How many of the examples may speak against the net: a share, but not fewer than ``least``."""
        return max(least, int(share * len(self)))
