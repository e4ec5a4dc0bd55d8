"""How long does an evaluation with PGD-40 take, and how strong is it?

Question: how long do robustfw and other libraries take to attack the same test images of a trained net, over ℓ∞, ℓ2 or
ℓ1, with 40 steps, and how many images withstand each of them?

Claim: robustfw is faster than each of the others, and leaves no more images standing, up to a tenth of a point. The
exit status is 1 if not.

Method: one process, one net, the same images in batches of the same size; the libraries take turns, and each round
begins with another. Ratios are of the same round, and the table gives their median and extremes. A library's result is
judged by a forward pass of ours, and `norm` is the largest ‖δ‖ over the radius: what is above 1 has cheated. Steps are
2.5/40 of the radius, the usual choice, but for robustfw, whose default shrinks them, and APGD, which chooses its own.
robustfw drops images once they are fooled; the others, but APGD, do not. In ℓ1 foolbox's attack is that of sparse
steps. With --plain the others attack the same weights in torch's own layers and layout, which is what they find where
robustfw's models are not used; without it they profit from the first layer's fast input gradient.

    python -m benchmarks.attack_speed RUN [--norm l2] [--examples N] [--rounds N] [--radius R] [--plain]
        [--data-dir DIR] [--json] [--out FILE]

RUN is a training on images in [0, 1], such as `robustfw train --dataset mnist --model paper-mnist` makes.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, cast

import attrs
import torch
from torch import Tensor, nn

import robustfw
from benchmarks.circumstances import circumstances
from benchmarks.tables import add_flags, leave, markdown, say
from robustfw.dataset import data_root
from robustfw.storage.runs import Run

Attack: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""A batch and its labels to adversarial examples."""

Outcome: TypeAlias = tuple[float, float, float]
"""Seconds, the share of images that are right to begin with and withstand, and the largest ‖δ‖ over the radius."""

STEPS = 40
BATCH = 500
ORDERS = {"linf": float("inf"), "l2": 2, "l1": 1}
RADII = {"linf": 0.3, "l2": 2.0, "l1": 10.0}
ROUNDING = 1e-4
OURS = "robustfw"
COLUMNS = {
    "seconds": "seconds",
    "ratio": "times ours",
    "least": "least",
    "most": "most",
    "accuracy": "withstand",
    "norm": "largest norm over radius",
}
SLACK = 0.001
"""Difference of accuracies that random starts may make."""


@attrs.frozen(eq=False)
class Problem:
    """A net, images, labels, and a ball."""

    model: nn.Module
    x: Tensor
    y: Tensor
    radius: float
    norm: str = "linf"

    def attacked(self, attack: Attack) -> Outcome:
        """Attack all images, in batches."""
        start, withstood, largest = time.perf_counter(), 0, 0.0
        for x, y in zip(self.x.split(BATCH), self.y.split(BATCH), strict=True):
            moved = attack(x, y)
            with torch.no_grad():
                right = (self.model(x).argmax(1) == y) & (
                    self.model(moved).argmax(1) == y
                )
            withstood += int(right.sum())
            sizes = torch.linalg.vector_norm(
                (moved - x).detach().flatten(1), ORDERS[self.norm], 1
            )
            largest = max(largest, float(sizes.max()))
        return (
            time.perf_counter() - start,
            withstood / len(self.y),
            largest / self.radius,
        )


def _evaluated(problem: Problem) -> Outcome:
    """Ours, as ``robustfw evaluate`` does it: clean images first, then those that are right, until they are fooled."""
    start = time.perf_counter()
    found = robustfw.evaluate(
        problem.model,
        robustfw.TensorSplit(problem.x, problem.y),
        uncertainty=f"{problem.norm}:radius={problem.radius}",
        attack=f"pgd:steps={STEPS}",
        classes=int(problem.y.max()) + 1,
        batch_size=BATCH,
    )
    return (
        time.perf_counter() - start,
        found.robust_accuracy,
        1.0,
    )  # evaluate has made sure


def _foolbox(problem: Problem) -> Attack:
    import foolbox as fb

    net = fb.PyTorchModel(problem.model, bounds=(0, 1), device="cpu")
    kinds = {
        "linf": fb.attacks.LinfPGD,
        "l2": fb.attacks.L2PGD,
        "l1": fb.attacks.SparseL1DescentAttack,
    }
    attack = kinds[problem.norm](steps=STEPS, rel_stepsize=2.5 / STEPS)
    return lambda x, y: attack(net, x, y, epsilons=problem.radius)[1]


def _torchattacks(problem: Problem) -> Attack:
    import torchattacks as ta

    if problem.norm == "l1":
        raise ImportError("it has no attack in ℓ1")
    kind = ta.PGD if problem.norm == "linf" else ta.PGDL2
    attack: Attack = kind(
        problem.model,
        eps=problem.radius,
        alpha=2.5 / STEPS * problem.radius,
        steps=STEPS,
    )
    return attack


def _apgd(problem: Problem) -> Attack:
    from pyautoattack.autopgd_base import APGDAttack

    norm = {"linf": "Linf", "l2": "L2", "l1": "L1"}[problem.norm]
    attack = APGDAttack(
        problem.model,
        n_iter=STEPS,
        norm=norm,
        eps=problem.radius,
        loss="ce",
        seed=0,
        device="cpu",
    )
    perturb: Attack = attack.perturb
    return perturb


def _art(problem: Problem) -> Attack:
    from art.attacks.evasion import ProjectedGradientDescent
    from art.estimators.classification import PyTorchClassifier

    shape, loss = tuple(problem.x.shape[1:]), nn.CrossEntropyLoss()
    classes = int(problem.y.max()) + 1
    net = PyTorchClassifier(
        problem.model,
        loss,
        shape,
        nb_classes=classes,
        clip_values=(0.0, 1.0),
        device_type="cpu",
    )
    step = 2.5 / STEPS * problem.radius
    attack = ProjectedGradientDescent(
        net,
        norm=ORDERS[problem.norm],
        eps=problem.radius,
        eps_step=step,
        max_iter=STEPS,
        num_random_init=1,
        batch_size=BATCH,
        verbose=False,
    )
    return lambda x, y: torch.from_numpy(attack.generate(x.numpy(), y.numpy()))


def plain(model: nn.Module) -> nn.Module:
    """The net's function by torch's own layers, in torch's own layout."""
    same = copy.deepcopy(model).to(memory_format=torch.contiguous_format)
    for name, layer in list(same.named_modules()):
        for kind in (nn.Conv2d, nn.Sequential):
            if isinstance(layer, kind):
                layer.__class__ = kind
        if hasattr(layer, "memory_format"):
            same.set_submodule(name, nn.Identity())
    _flattened_first(same)
    return same


def _flattened_first(model: nn.Module) -> None:
    """Flattening as torch does it, all places of a channel side by side, and the next layer's columns in that order."""
    channels = 0
    for (name, layer), (_, after) in itertools.pairwise(list(model.named_modules())):
        if isinstance(layer, nn.Conv2d):
            channels = layer.out_channels
        if isinstance(layer, nn.Flatten) and type(layer) is not nn.Flatten:
            weight = cast(nn.Linear, after).weight
            weight.data = (
                weight.data.unflatten(1, (-1, channels)).transpose(1, 2).flatten(1)
            )
            model.set_submodule(name, nn.Flatten())


PEERS = {
    "foolbox": _foolbox,
    "torchattacks": _torchattacks,
    "adversarial-robustness-toolbox": _art,
    "pyautoattack": _apgd,
}


def gathered(
    problem: Problem, others: Problem
) -> tuple[dict[str, Callable[[], Outcome]], dict[str, str]]:
    """What to time, ours and theirs, by name, and the libraries that do not import, with the reason."""
    timed: dict[str, Callable[[], Outcome]] = {OURS: partial(_evaluated, problem)}
    skipped = {}
    for distribution, peer in PEERS.items():
        try:
            timed[distribution] = partial(others.attacked, peer(others))
        except (
            ImportError,
            AttributeError,
        ) as error:  # not there, or too old for the numpy or torch that is
            skipped[distribution] = str(error)
    return timed, skipped


def rounds(
    timed: dict[str, Callable[[], Outcome]], count: int
) -> list[dict[str, Outcome]]:
    """Each in turn, beginning with another in each round."""
    names = list(timed)
    return [
        {
            name: timed[name]()
            for name in names[k % len(names) :] + names[: k % len(names)]
        }
        for k in range(count)
    ]


def rows(found: list[dict[str, Outcome]]) -> list[dict[str, Any]]:
    """Seconds, accuracy under attack, and how often ours goes into the time."""
    table = []
    for name in sorted(found[0], key=lambda name: name != OURS):
        ratios = [each[name][0] / each[OURS][0] for each in found]
        table.append(
            {
                "library": name,
                "seconds": statistics.median(each[name][0] for each in found),
                "ratio": statistics.median(ratios),
                "least": min(ratios),
                "most": max(ratios),
                "accuracy": statistics.fmean(each[name][1] for each in found),
                "norm": max(each[name][2] for each in found),
            }
        )
    return table


def read(options: argparse.Namespace) -> Problem:
    """The net of a run, and the first of its data's test images."""
    manifest = Run.open(options.run).manifest()
    splits = robustfw.make("dataset", manifest["recipe"]["dataset"]).load(
        data_root(options.data_dir)
    )
    x, y = next(splits.test.first(options.examples).iterate(len(splits.test)))
    return Problem(
        robustfw.load(options.run),
        x,
        y,
        options.radius or RADII[options.norm],
        options.norm,
    )


def main() -> int:
    """Print and keep the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.attack_speed", description=__doc__.splitlines()[0]
    )
    parser.add_argument("run", type=Path, help="directory of a training")
    parser.add_argument("--examples", type=int, default=1000, help="test images [1000]")
    parser.add_argument("--rounds", type=int, default=3, help="[3]")
    parser.add_argument("--norm", choices=list(ORDERS), default="linf", help="[linf]")
    parser.add_argument("--radius", type=float, help="of the ball [0.3, 2 or 10]")
    parser.add_argument(
        "--plain",
        action="store_true",
        help="the others attack the same weights in torch's own layers",
    )
    add_flags(parser)
    options = parser.parse_args()
    try:
        problem = read(options)
    except robustfw.RobustfwError as error:
        parser.error(str(error))
    others = (
        attrs.evolve(problem, model=plain(problem.model)) if options.plain else problem
    )
    timed, skipped = gathered(problem, others)
    for distribution, why in skipped.items():
        say(f"skipped: {distribution} ({why})")
    table = rows(rounds(timed, options.rounds))
    settings = {
        "examples": len(problem.y),
        "batch": BATCH,
        "norm": problem.norm,
        "radius": problem.radius,
    }
    settings |= {
        "rounds": options.rounds,
        "run": options.run.name,
        "plain": options.plain,
        "skipped": skipped,
    }
    facts = circumstances([name for name in PEERS if name not in skipped], **settings)
    name = f"attack_speed-{options.run.name}-{problem.norm}-{len(problem.y)}{'-plain' if options.plain else ''}"
    leave(
        options,
        name,
        [markdown(table, {"library": f"PGD-40, {problem.norm}"} | COLUMNS)],
        table,
        facts,
    )
    ours, *others = table
    fair = [row for row in others if row["norm"] <= 1 + ROUNDING]
    holds = all(row["least"] > 1 for row in others) and all(
        ours["accuracy"] <= r["accuracy"] + SLACK for r in fair
    )
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
