"""How near is the nearest adversarial example that an attack finds, and what does it cost?

Question: how far from the same test images of a trained net do lbfgs (eq. 1), cw and deepfool find an image in [0, 1]
that fools it, and how many do they not fool at all, beside foolbox's attacks and a loop over SciPy's L-BFGS-B?

Claim: ours leave no image unfooled; the median distances of lbfgs and cw are no larger than those of SciPy's and of
foolbox's Carlini-Wagner, up to two hundredths, and deepfool's than that of foolbox's DeepFool. The exit status is 1 if
not, and 0 if all that was installed agrees.

Method: one process, one net, the same images, those that the net has right; batches of the same size. Every result is
judged by a forward pass and a norm of ours, after it is clamped to [0, 1]; what is not fooled counts as infinitely far.
SciPy's L-BFGS-B goes through the images one by one, with the target, the weights and the number of evaluations per
weight that lbfgs has. foolbox's attacks run with its own settings, and Carlini-Wagner also with the number of steps
that cw takes.

    python -m benchmarks.distances RUN [--examples N] [--data-dir DIR] [--only NAME …] [--json] [--out FILE]

RUN is a training on images in [0, 1], such as `robustfw train --dataset mnist --model paper-mnist` makes.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import numpy as np
import torch
from torch import Tensor, nn

import robustfw
from benchmarks.circumstances import circumstances
from benchmarks.tables import add_flags, leave, markdown, say
from robustfw import losses
from robustfw.dataset import data_root
from robustfw.inner.problem import InnerProblem
from robustfw.regions import norms
from robustfw.storage.runs import Run

Attack: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""A batch and its labels to adversarial examples."""

BATCH = 250
SLACK = 1.02
COLUMNS = {
    "attack": "nearest in ℓ2, within [0, 1]",
    "median": "median",
    "mean": "mean",
    "fooled": "fooled",
    "seconds": "seconds",
}
OURS = ("lbfgs", "lbfgs:target=best", "cw", "deepfool")
STEPS = 20
ROUNDS = 9
"""Bisections of c in lbfgs and in SciPy's loop."""


@attrs.frozen(eq=False)
class Problem:
    """A net, and images that it has right."""

    model: nn.Module
    x: Tensor
    y: Tensor

    def inner(self, x: Tensor, y: Tensor) -> InnerProblem:
        """Everything in [0, 1] is allowed; the criterion is another class."""
        region = robustfw.make("uncertainty", "linf:radius=1").at(x).clip(0 - x, 1 - x)
        return InnerProblem(
            self.model, losses.cross_entropy, x, y, region, losses.misclassified
        )

    def measured(self, attack: Attack) -> dict[str, float]:
        """Seconds, the share fooled, and the median and the mean distance."""
        start, found = time.perf_counter(), []
        for x, y in zip(self.x.split(BATCH), self.y.split(BATCH), strict=True):
            found.append(attack(x, y).detach())
        seconds = time.perf_counter() - start
        moved = torch.cat(found).clamp(0, 1)
        with torch.no_grad():
            fooled = losses.misclassified(self.model(moved), self.y)
        distance = norms(moved - self.x).where(fooled, torch.inf)
        return {
            "seconds": seconds,
            "fooled": float(fooled.double().mean()),
            "median": float(distance.median()),
            "mean": float(distance[fooled].mean()),
        }


def ours(problem: Problem, spec: str) -> Attack:
    """One of our attacks."""
    attack = robustfw.make("attack", spec)

    def run(x: Tensor, y: Tensor) -> Tensor:
        return x + attack.maximize(
            problem.inner(x, y), torch.Generator().manual_seed(0)
        )

    return run


def scipy_rows(problem: Problem) -> Attack:
    """Eq. 1 by SciPy's L-BFGS-B, image by image, with the bisection of ``lbfgs``."""
    return lambda x, y: torch.cat(
        [x[i] + _one_row(problem, x[i : i + 1], y[i : i + 1]) for i in range(len(x))]
    )


def _one_row(problem: Problem, x: Tensor, y: Tensor) -> Tensor:
    from scipy.optimize import minimize

    inner = problem.inner(x, y)
    zero = inner.region.zero()
    target = inner.logits(zero).scatter(1, y[:, None], -torch.inf).argmax(1)
    inner = inner.with_target(target)
    box = list(zip((0 - x).flatten().tolist(), (1 - x).flatten().tolist(), strict=True))
    best, length = zero, torch.inf

    def evaluated(
        flat: np.ndarray[Any, Any], weight: float
    ) -> tuple[float, np.ndarray[Any, Any]]:
        nonlocal best, length
        delta = torch.from_numpy(flat).to(x).reshape(x.shape)
        value, gradient, solved = inner.probe(delta)
        assert solved is not None
        if bool(solved) and float(norms(delta)) < length:
            best, length = delta, float(norms(delta))
        slope = 2 * weight * flat - gradient.double().flatten().numpy()
        return weight * float(flat @ flat) - float(value), slope

    _, gradient, _ = inner.probe(zero)
    weight = 4 * float(norms(gradient)) / float(norms(inner.region.support(gradient)))
    low, high, flat = 0.0, float("inf"), np.zeros(x.numel())
    for _ in range(ROUNDS):
        flat = minimize(
            evaluated,
            flat,
            (weight,),
            method="L-BFGS-B",
            jac=True,
            bounds=box,
            options={"maxfun": STEPS},
        ).x
        if inner.value(torch.from_numpy(flat).to(x).reshape(x.shape)).isposinf():
            low = weight
        else:
            high = weight
        weight = (
            low * 8
            if high == float("inf")
            else (low * high) ** 0.5
            if low
            else high / 8
        )
    return best


def _foolbox(problem: Problem, name: str, **options: Any) -> Attack:
    import foolbox as fb

    net = fb.PyTorchModel(problem.model, bounds=(0, 1), device="cpu")
    attack = getattr(fb.attacks, name)(**options)
    return lambda x, y: attack(net, x, y, epsilons=None)[1]


CW = {"binary_search_steps": 6, "steps": 60, "stepsize": 0.1, "initial_const": 1.0}
PEERS: dict[str, Callable[[Problem], Attack]] = {
    "scipy, one by one": scipy_rows,
    "foolbox DeepFool": partial(_foolbox, name="L2DeepFoolAttack"),
    "foolbox C&W (9 × 10,000)": partial(_foolbox, name="L2CarliniWagnerAttack"),
    "foolbox C&W (6 × 60)": partial(_foolbox, name="L2CarliniWagnerAttack", **CW),
}
LEFT_OUT = "foolbox C&W (9 × 10,000)"
"""Hours; on request by --only."""


def gathered(
    problem: Problem, only: list[str]
) -> tuple[dict[str, Attack], dict[str, str]]:
    """What to run, by name, and what does not import, with the reason."""
    chosen: dict[str, Attack] = {
        spec: ours(problem, spec) for spec in OURS if not only or spec in only
    }
    skipped = {}
    for name, peer in PEERS.items():
        if name in only or (not only and name != LEFT_OUT):
            try:
                chosen[name] = peer(problem)
            except ImportError as error:
                skipped[name] = str(error)
    return chosen, skipped


def holds(rows: dict[str, dict[str, float]]) -> bool:
    """Whether the claim does, as far as there is something to compare with."""

    def no_farther(mine: str, theirs: str) -> bool:
        return (
            not {mine, theirs} <= set(rows)
            or rows[mine]["median"] <= SLACK * rows[theirs]["median"]
        )

    return (
        all(rows[name]["fooled"] == 1 for name in OURS if name in rows)
        and all(
            no_farther(mine, theirs)
            for mine in ("lbfgs", "cw")
            for theirs in PEERS
            if "Deep" not in theirs
        )
        and no_farther("deepfool", "foolbox DeepFool")
    )


def read(options: argparse.Namespace) -> Problem:
    """The net of a run, and the first of its data's test images that it has right."""
    manifest = Run.open(options.run).manifest()
    splits = robustfw.make("dataset", manifest["recipe"]["dataset"]).load(
        data_root(options.data_dir)
    )
    x, y = next(splits.test.first(options.examples).iterate(len(splits.test)))
    model = robustfw.load(options.run).eval().requires_grad_(False)
    right = ~losses.misclassified(model(x), y)
    return Problem(model, x[right], y[right])


def main() -> int:
    """Print and keep the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.distances", description=__doc__.splitlines()[0]
    )
    parser.add_argument("run", type=Path, help="directory of a training")
    parser.add_argument("--examples", type=int, default=200, help="test images [200]")
    parser.add_argument(
        "--only", nargs="*", default=[], help=f"of {', '.join([*OURS, *PEERS])}"
    )
    add_flags(parser)
    options = parser.parse_args()
    unknown = set(options.only) - {*OURS, *PEERS}
    if unknown:
        parser.error(
            f"there is no {', '.join(sorted(unknown))}; there are {', '.join([*OURS, *PEERS])}"
        )
    try:
        problem = read(options)
    except robustfw.RobustfwError as error:
        parser.error(str(error))
    chosen, skipped = gathered(problem, options.only)
    for name, why in skipped.items():
        say(f"skipped: {name} ({why})")
    rows = {}
    for name, attack in chosen.items():
        rows[name] = problem.measured(attack)
        say(f"{name}: median {rows[name]['median']:.4f}")
    libraries = [
        "scipy",
        *(["foolbox"] if any(name.startswith("foolbox") for name in chosen) else []),
    ]
    facts = circumstances(
        libraries,
        examples=len(problem.y),
        batch=BATCH,
        run=options.run.name,
        skipped=skipped,
    )
    table = [{"attack": name, **row} for name, row in rows.items()]
    leave(options, "distances", [markdown(table, COLUMNS)], table, facts)
    return 0 if holds(rows) else 1


if __name__ == "__main__":
    sys.exit(main())
