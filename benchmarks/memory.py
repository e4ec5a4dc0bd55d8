"""Does a memory of each example's worst perturbations find worse cases than restarts at the same cost?

Question: while a net is trained against PGD, how high a loss do `memory`, `restarts` and one longer run of `pgd` find
on the same examples, for the same number of forward and backward passes?

Claim: from the second visit on, `memory` finds a higher mean loss than restarts that cost no less, among short attacks
and among long ones. The exit status is 1 if not. (That it beats one longer run of `pgd` is not claimed: see README.md.)

Method: a net is trained by cross-entropy at PGD's worst cases. Before each epoch every attack is let loose on the same
training examples at the net as it is then; the memory is filled by nothing else than these visits, so that it is one
epoch old each time. All see the same set and data range. Passes are counted by `Passes`, forward and backward alike.

    python -m benchmarks.memory [--dataset SPEC] [--model SPEC] [--uncertainty SPEC] [--epochs N] [--examples N]
                                [--seed N] [--data-dir DIR] [--json] [--out FILE]
"""

from __future__ import annotations

import argparse
import statistics
import sys
from typing import Any

import torch
from torch import Tensor, nn

import robustfw
from benchmarks.circumstances import circumstances
from benchmarks.tables import add_flags, asked, leave, markdown
from robustfw import losses
from robustfw.dataset import data_root
from robustfw.inner.freezing import freeze
from robustfw.inner.problem import InnerProblem, Passes
from robustfw.inner.threat import Threat

GROUPS = {
    "short": (
        "memory:attack=(pgd:steps=2,step=0.5)",
        "memory:attack=(pgd:steps=2,step=0.25)",
        "pgd:steps=3",
        "restarts:n=2,attack=(pgd:steps=1)",
    ),
    "long": (
        "memory:attack=(pgd:steps=5,step=0.5)",
        "memory:attack=(pgd:steps=5,step=0.25)",
        "memory:keep=3,attack=(pgd:steps=4,step=0.5)",
        "pgd:steps=6",
        "restarts:n=2,attack=(pgd:steps=3)",
        "restarts:n=3,attack=(pgd:steps=2)",
    ),
}
"""Attacks of about the same cost; the first of each group is held against its restarts."""
ATTACKS = tuple(spec for group in GROUPS.values() for spec in group)
COLUMNS = {
    "attack": "attack",
    "loss": "mean loss",
    "fooled": "fooled",
    "passes": "passes",
}
BATCH, RATE = 100, 0.05


def visited(
    attack: robustfw.Attack,
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    uncertainty: robustfw.UncertaintySet,
    seed: int,
) -> dict[str, float]:
    """The mean loss and the share fooled at what an attack finds, and its passes per example."""
    passes, generator, values, fooled = (
        Passes(),
        torch.Generator().manual_seed(seed),
        [],
        [],
    )
    with freeze(model):
        for part, labels in zip(x.split(BATCH), y.split(BATCH), strict=True):
            region = Threat(uncertainty).region(part)
            problem = InnerProblem(
                model, losses.cross_entropy, part, labels, region, passes=passes
            )
            delta = attack.maximize(problem, generator)
            with torch.no_grad():
                logits = model(region.apply(part, delta).clamp(0, 1))
            values.append(losses.cross_entropy(logits, labels))
            fooled.append(losses.misclassified(logits, labels))
    return {
        "loss": float(torch.cat(values).mean()),
        "fooled": float(torch.cat(fooled).double().mean()),
        "passes": (passes.forward + passes.backward) / len(x),
    }


def trained(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    uncertainty: robustfw.UncertaintySet,
    seed: int,
) -> None:
    """One epoch at the worst cases that a short PGD finds."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(model.parameters(), RATE, momentum=0.9)
    for rows in torch.randperm(len(x), generator=generator).split(BATCH):
        moved = robustfw.worst_case(
            model,
            x[rows],
            y[rows],
            uncertainty=uncertainty,
            attack="pgd:steps=5",
            generator=generator,
        )
        loss = losses.cross_entropy(model(moved), y[rows]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def rows(found: dict[str, list[dict[str, float]]]) -> list[dict[str, Any]]:
    """Means over the visits after the first, where a memory is still empty."""
    return [
        {"attack": spec}
        | {
            key: statistics.fmean(visit[key] for visit in visits[1:])
            for key in visits[0]
        }
        for spec, visits in found.items()
    ]


def holds(table: list[dict[str, Any]]) -> bool:
    """Whether the claim does."""
    by = {row["attack"]: row for row in table}
    pairs = [
        (group[0], other)
        for group in GROUPS.values()
        for other in group
        if other.startswith("restarts")
    ]
    return all(
        by[a]["loss"] > by[b]["loss"] and by[a]["passes"] <= by[b]["passes"]
        for a, b in pairs
    )


def main() -> int:
    """Print and keep the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.memory", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--dataset", default="digits", help="[digits]")
    parser.add_argument("--model", default="mlp", help="[mlp]")
    parser.add_argument(
        "--uncertainty", default="linf:radius=0.15", help="[linf:radius=0.15]"
    )
    parser.add_argument("--epochs", type=int, default=10, help="[10]")
    parser.add_argument(
        "--examples", type=int, default=1000, help="training examples [1000]"
    )
    parser.add_argument("--seed", type=int, default=0, help="[0]")
    add_flags(parser)
    options = parser.parse_args()
    try:
        splits = robustfw.make("dataset", options.dataset).load(
            data_root(options.data_dir)
        )
        uncertainty = robustfw.make("uncertainty", options.uncertainty)
        torch.manual_seed(options.seed)
        model = robustfw.make("model", options.model).build(splits.spec)
    except robustfw.RobustfwError as error:
        parser.error(str(error))
    x, y = next(splits.train.first(options.examples).iterate(options.examples))
    attacks = {spec: robustfw.make("attack", spec) for spec in ATTACKS}
    found: dict[str, list[dict[str, float]]] = {spec: [] for spec in ATTACKS}
    for epoch in range(options.epochs):
        for spec, attack in attacks.items():
            found[spec].append(
                visited(attack, model, x, y, uncertainty, 1000 * options.seed + epoch)
            )
        trained(model.train(), x, y, uncertainty, epoch)
    table = rows(found)
    leave(
        options,
        "memory",
        [markdown(table, COLUMNS)],
        table,
        circumstances([], **asked(options)),
    )
    return 0 if holds(table) else 1


if __name__ == "__main__":
    sys.exit(main())
