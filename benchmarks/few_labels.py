"""With few labels, do tangent methods help, as Rifai et al. (2011) found on MNIST with 100 to 3,000 labels?

Question: how many test images does a net get right that has seen n labelled ones, if it is trained on them as they are
(clean), on the worst case within the tangent set (robust, eqs. 12-13 of Shaham et al. 2015), or with the penalty on
derivatives along the tangents (tangent-prop, eq. 4)?

Claim: at each n, both tangent methods have a higher mean accuracy than clean. The exit status is 1 if not.

Method: real MNIST, the same net, batches, number of updates and labelled images for all; the tangent spaces are learnt
from all training images without their labels, as in the paper. Each method's strength (radius, β) is the one of a small
grid with the highest mean accuracy on the validation images, for each n. There is no data range: within [0, 1] a black
and white image has next to no tangent moves. Also given: accuracy under PGD-20 within the tangent set and the ℓ2 ball.

    python -m benchmarks.few_labels [--labels 100,600] [--seeds N] [--updates N] [--basis SPEC] [--model SPEC]
        [--radius R] [--tested N] [--data-dir DIR] [--json] [--out FILE]
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from typing import Any

import attrs
import torch
from torch import Tensor, nn

import robustfw
from benchmarks.circumstances import circumstances
from benchmarks.tables import add_flags, asked, leave, markdown, say
from robustfw import Splits
from robustfw.dataset import data_root
from robustfw_manifold import Basis

CLEAN = "clean"
ROBUST = "robust, tangent set"
PENALTY = "tangent-prop"
STRENGTHS: dict[str, tuple[float, ...]] = {
    CLEAN: (0.0,),
    ROBUST: (0.5, 1.0, 2.0, 4.0),
    PENALTY: (0.001, 0.01, 0.1),
}
"""Radii, and weights of the penalty; the clean training has none."""
COLUMNS = {
    "labels": "labels",
    "method": "trained by",
    "strength": "strength",
    "accuracy": "accuracy",
    "deviation": "over seeds ±",
    "under tangent": "in the tangent set",
    "under l2": "in the ℓ2 ball",
}
BATCH = 100
ATTACK = "pgd:steps=20"


@attrs.frozen(eq=False)
class Remembered(Basis):
    """Another basis, computed once for each example that it is asked about: 2,000 updates see few images often."""

    basis: Basis
    known: dict[bytes, Tensor] = attrs.field(factory=dict, init=False, repr=False)

    def at(self, x: Tensor) -> Tensor:
        """Bases of all rows at once; only those of new rows are computed."""
        names = [row.numpy().tobytes() for row in x]
        new = [i for i, name in enumerate(names) if name not in self.known]
        if new:
            self.known.update(
                zip((names[i] for i in new), self.basis.at(x[new]), strict=True)
            )
        return torch.stack([self.known[name] for name in names])


def tangent(radius: float, basis: Basis) -> Any:
    """The tangent set."""
    return robustfw.make(
        "uncertainty", {"use": "tangent", "radius": radius, "basis": basis}
    )


@attrs.frozen(eq=False)
class Problem:
    """The data, a basis that has seen it, and how long and how strictly to train and measure."""

    splits: Splits
    basis: Any
    model: str
    updates: int
    tested: int
    radius: float
    """Radius of the sets under attack."""

    def labelled(self, count: int, seed: int) -> Splits:
        """The data with so many training examples, drawn at random."""
        order = torch.randperm(
            len(self.splits.train), generator=torch.Generator().manual_seed(seed)
        )
        return attrs.evolve(self.splits, train=self.splits.train.subset(order[:count]))

    def trained(
        self, method: str, strength: float, count: int, seed: int, basis: Basis
    ) -> nn.Module:
        """The net of one training; the basis is ours, which may know its examples already."""
        objective: Any = CLEAN
        if method == PENALTY:
            objective = {"use": "tangent-prop", "beta": strength, "basis": basis}
        size = min(BATCH, count)
        for record in robustfw.train(
            dataset=self.labelled(count, seed),
            model=self.model,
            uncertainty=tangent(strength if method == ROBUST else self.radius, basis),
            attack="single-step",
            objective="robust"
            if method == ROBUST
            else robustfw.make("objective", objective),
            epochs=max(1, self.updates // (count // size)),
            batch_size=size,
            validation_examples=1,  # nothing is chosen by it
            on_overfitting="ignore",
            learning_rate=0.05,
            seed=seed,
        ):
            model = record.model
        return model.eval()

    def accuracy(self, model: nn.Module, split: str) -> float:
        """The share of clean examples that are right."""
        right = total = 0
        with torch.no_grad():
            for x, y in getattr(self.splits, split).first(self.tested).iterate(1000):
                right, total = (
                    right + int((model(x).argmax(1) == y).sum()),
                    total + len(y),
                )
        return right / total

    def attacked(self, model: nn.Module, uncertainty: Any) -> float:
        """The share of test examples that stay right."""
        split = self.splits.test.first(min(self.tested, 1000))
        found = robustfw.evaluate(
            model,
            split,
            uncertainty=uncertainty,
            attack=ATTACK,
            classes=self.splits.spec.classes,
            bounds=None,
        )
        return found.robust_accuracy


def row(
    problem: Problem, method: str, count: int, seeds: Sequence[int]
) -> dict[str, Any]:
    """Trainings at each strength, the one that validates best, and what it does on test examples."""
    strengths, basis = STRENGTHS[method], Remembered(problem.basis)
    nets = {
        s: [problem.trained(method, s, count, seed, basis) for seed in seeds]
        for s in strengths
    }
    validated = {
        s: statistics.fmean(problem.accuracy(net, "validation") for net in nets[s])
        for s in nets
    }
    chosen = max(validated, key=lambda strength: validated[strength])
    tested = [problem.accuracy(net, "test") for net in nets[chosen]]
    sets = {
        "tangent": tangent(problem.radius, problem.basis),
        "l2": f"l2:radius={problem.radius}",
    }
    under = {
        f"under {name}": statistics.fmean(problem.attacked(n, s) for n in nets[chosen])
        for name, s in sets.items()
    }
    return {
        "labels": count,
        "method": method,
        "strength": chosen,
        "accuracy": statistics.fmean(tested),
        "deviation": statistics.stdev(tested) if len(tested) > 1 else 0.0,
        **under,
    }


def holds(table: Sequence[dict[str, Any]]) -> bool:
    """Whether both tangent methods beat the clean training at each number of labels."""
    clean = {
        each["labels"]: each["accuracy"] for each in table if each["method"] == CLEAN
    }
    return all(
        each["accuracy"] > clean[each["labels"]]
        for each in table
        if each["method"] != CLEAN
    )


def read(options: argparse.Namespace) -> Problem:
    """MNIST without a data range, and the basis fitted to all its training images."""
    splits = robustfw.make("dataset", "mnist:box=false").load(
        data_root(options.data_dir)
    )
    basis = robustfw.make("basis", options.basis).fit(splits.train)
    return Problem(
        splits, basis, options.model, options.updates, options.tested, options.radius
    )


def main() -> int:
    """Print and keep the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.few_labels", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "--labels", default="100,600,1000,3000", help="[100,600,1000,3000]"
    )
    parser.add_argument(
        "--seeds", type=int, default=3, help="trainings of each kind [3]"
    )
    parser.add_argument(
        "--updates", type=int, default=2000, help="of each training [2000]"
    )
    parser.add_argument(
        "--basis", default="knn-pca", help="spec of the tangent basis [knn-pca]"
    )
    parser.add_argument("--model", default="mlp", help="spec of the net [mlp]")
    parser.add_argument(
        "--radius", type=float, default=1.0, help="of the sets under attack [1.0]"
    )
    parser.add_argument(
        "--tested",
        type=int,
        default=10_000,
        help="validation and test images at most [10000]",
    )
    add_flags(parser)
    options = parser.parse_args()
    try:
        counts, problem = (
            [int(part) for part in options.labels.split(",")],
            read(options),
        )
    except (robustfw.RobustfwError, ValueError) as error:
        parser.error(str(error))
    table = []
    for count in counts:
        for method in STRENGTHS:
            table.append(row(problem, method, count, range(options.seeds)))
            say(f"{count} labels, {method}: {table[-1]['accuracy']:.4f}")
    leave(
        options,
        "few_labels",
        [markdown(table, COLUMNS)],
        table,
        circumstances([], **asked(options)),
    )
    return 0 if holds(table) else 1


if __name__ == "__main__":
    sys.exit(main())
