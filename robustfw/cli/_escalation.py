"""What `robustfw evaluate --escalate` does about masked gradients and random nets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from robustfw.attack import Attack
    from robustfw.cli.subject import Subject
    from robustfw.inner.escalation import Escalation
    from robustfw.inner.threat import Threat
    from robustfw.loss import Loss


def find_masking(
    subject: Subject, threat: Threat, attacks: list[Attack], loss: Loss
) -> Escalation:
    """Evidence that gradient attacks are blind to a net, and what attacks do about it.

    Args:
        subject: the net and the examples.
        threat: the set within the data range.
        attacks: what is tried.
        loss: what attacks raise.
    """
    from robustfw.evaluation import find_escalation

    return find_escalation(
        subject.model,
        subject.split,
        threat=threat,
        attack=attacks[0],
        classes=subject.spec.classes,
        task=subject.task,
        loss=loss,
        seed=subject.choices.seed,
    )


def further_attacks(subject: Subject, escalation: Escalation) -> list[Attack]:
    """Attacks that need no gradient, where gradients lead nowhere."""
    from robustfw.evaluation import SEARCH

    if escalation.has("useless"):
        return [subject.attack(SEARCH)]
    return []


def describe_escalation(escalation: Escalation) -> dict[str, Any]:
    """The evidence and the answers, as results record them."""
    return {"escalation": [attrs.asdict(trigger) for trigger in escalation.triggers]}
