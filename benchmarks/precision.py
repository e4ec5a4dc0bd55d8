"""Does training in bf16 cost accuracy?

Question: the same robust training, from the same weights, on the same batches, with its matrix products in float32 and
in bfloat16: how many test images does the net get right, as they are, under the fast method, and under PGD?

Claim: the mean of bf16 is not below the 95 % interval of float32 over the seeds, for any net and any of the three. The
exit status is 1 if not.

Method: `paper-mnist` on MNIST, and the two nets for CIFAR-10, trained on the worst cases of single steps in ℓ∞ by
schedules like those of `robustfw reproduce`, but short, and with ``--examples`` on the first training images alone. All
nets are evaluated in float32: on all test images, or the first ``--tested``, and by PGD-20 on the first ``--attacked``.
Differences are paired by seed.

    python -m benchmarks.precision [--only NET …] [--seeds N] [--epochs N] [--examples N] [--tested N] [--attacked N]
        [--data-dir DIR] [--json] [--out FILE]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

import robustfw
from benchmarks.circumstances import circumstances
from benchmarks.tables import add_flags, asked, bf16_pays, leave, markdown, say
from robustfw import Splits
from robustfw.dataset import data_root
from robustfw.results._seed_means import Mean, paired_differences

PRECISIONS = FP32, BF16 = "fp32", "bf16"
MEASURES = CLEAN, FAST, PGD = "clean", "fast method", "PGD-20"
COLUMNS = {
    "net": "net",
    "epochs": "epochs",
    "measure": "accuracy",
    **{each: each for each in PRECISIONS},
}
COLUMNS |= {"difference": "difference"}

Outcomes = Mapping[str, Sequence[Mapping[str, float]]]
"""For each precision, for each seed, the percentage that each measure gives."""


@attrs.frozen
class Training:
    """How a net is trained, and what it is attacked with."""

    model: str
    dataset: str
    uncertainty: str
    epochs: int
    options: Mapping[str, Any] = attrs.field(factory=dict)

    def data(
        self, data_dir: Path | None, examples: int | None, tested: int | None
    ) -> Splits:
        """The first so many training and test images; all of them by None."""
        every = robustfw.make("dataset", self.dataset).load(data_root(data_dir))
        return attrs.evolve(
            every, train=every.train.first(examples), test=every.test.first(tested)
        )

    def outcome(
        self, precision: str, seed: int, attacked: int, data: Splits
    ) -> dict[str, float]:
        """What the net of one training gets right, in per cent."""
        for record in robustfw.train(
            dataset=data,
            model=self.model,
            uncertainty=self.uncertainty,
            attack="single-step",
            objective="robust",
            epochs=self.epochs,
            precision=precision,
            validation_attack="single-step",
            validation_examples=1,  # nothing is chosen by it
            on_overfitting="ignore",
            seed=seed,
            **self.options,
        ):
            net = record.model
        alike: dict[str, Any] = {
            "uncertainty": self.uncertainty,
            "classes": data.spec.classes,
            "bounds": data.spec.bounds,
        }
        fast = robustfw.evaluate(net, data.test, attack="single-step", **alike)
        pgd = robustfw.evaluate(
            net, data.test.first(attacked), attack="pgd:steps=20", **alike
        )
        accuracies = fast.clean_accuracy, fast.robust_accuracy, pgd.robust_accuracy
        return {
            measure: 100 * accuracy
            for measure, accuracy in zip(MEASURES, accuracies, strict=True)
        }


NETS = {
    "paper-mnist": Training(
        "paper-mnist",
        "mnist",
        "linf:radius=0.055",
        epochs=4,
        options={
            "batch_size": 100,
            "learning_rate": 0.05,
            "optimizer": "sgd:weight_decay=5e-4",
            "schedule": "one-cycle:pct_start=0.2",
        },
    ),
    "fast-cifar": Training(
        "fast-cifar",
        "cifar10:shift=2",
        "linf:radius=0.005",
        epochs=3,
        options={
            "batch_size": 500,
            "learning_rate": 1.0,
            "optimizer": "sgd:momentum=0.85,weight_decay=1.3e-3",
            "schedule": "one-cycle:pct_start=0.2,shape=linear",
        },
    ),
    "paper-cifar": Training(
        "paper-cifar:dropout=false",  # with it the first hundreds of updates teach next to nothing
        "cifar10",
        "linf:radius=0.005",
        epochs=2,
        options={
            "batch_size": 128,
            "learning_rate": 0.02,
            "optimizer": "sgd:weight_decay=5e-4",
            "schedule": "one-cycle:pct_start=0.2",
        },
    ),
}


def trained(net: str, training: Training, options: argparse.Namespace) -> Outcomes:
    """In each precision, from each seed."""
    data = training.data(options.data_dir, options.examples, options.tested)
    outcomes: dict[str, list[dict[str, float]]] = {each: [] for each in PRECISIONS}
    for seed in range(options.seeds):
        for each in PRECISIONS:
            found = training.outcome(each, seed, options.attacked, data)
            outcomes[each].append(found)
            say(
                f"{net}, {each}, seed {seed}:",
                ", ".join(f"{name} {value:.2f}" for name, value in found.items()),
            )
    return outcomes


def rows(net: str, epochs: int, outcomes: Outcomes) -> list[dict[str, Any]]:
    """One for each measure."""
    values = {
        each: {m: [seed[m] for seed in outcomes[each]] for m in MEASURES}
        for each in PRECISIONS
    }
    return [
        {
            "net": net,
            "epochs": epochs,
            "measure": measure,
            **{
                each: Mean(tuple(values[each][measure])).spell("")
                for each in PRECISIONS
            },
            "difference": paired_differences(
                values[BF16][measure], values[FP32][measure]
            ).spell("", sign=True),
            "values": {each: values[each][measure] for each in PRECISIONS},
        }
        for measure in MEASURES
    ]


def holds(table: Sequence[Mapping[str, Any]]) -> bool:
    """Whether no mean of bf16 is below the interval of float32."""
    means = [
        {each: Mean(tuple(row["values"][each])) for each in PRECISIONS} for row in table
    ]
    return all(mean[BF16].mean >= mean[FP32].low for mean in means)


def main() -> int:
    """Print and keep the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.precision", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "--only", action="append", choices=NETS, help="a net; may be repeated [all]"
    )
    parser.add_argument(
        "--seeds", type=int, default=3, help="trainings of each kind [3]"
    )
    parser.add_argument(
        "--epochs", type=int, help="of each training [what the net has]"
    )
    parser.add_argument("--examples", type=int, help="training images [all]")
    parser.add_argument("--tested", type=int, help="test images [all]")
    parser.add_argument(
        "--attacked", type=int, default=1000, help="test images for PGD-20 [1000]"
    )
    parser.add_argument(
        "--slow",
        action="store_true",
        help="train in bf16 even where the processor cannot",
    )
    add_flags(parser)
    options = parser.parse_args()
    if not options.slow and not bf16_pays("--slow trains in it"):
        return 0
    table = []
    for net in options.only or NETS:
        training = attrs.evolve(NETS[net], epochs=options.epochs or NETS[net].epochs)
        try:
            outcomes = trained(net, training, options)
        except robustfw.RobustfwError as error:
            parser.error(str(error))
        table += rows(net, training.epochs, outcomes)
    leave(
        options,
        "precision",
        [markdown(table, COLUMNS)],
        table,
        circumstances([], **asked(options)),
    )
    return 0 if holds(table) else 1


if __name__ == "__main__":
    sys.exit(main())
