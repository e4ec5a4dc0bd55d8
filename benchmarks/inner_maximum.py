"""What share of the exact inner maximum does an attack capture?

Question: over {‖δ‖ ≤ r} within the data range [0, 1], how much of what the worst perturbation could do is found by one
step, and by many, in ℓ∞, ℓ2 and ℓ1?

Claim: robustfw's single step finds all of it, in all three norms. The exit status is 1 if it does not.

Method: for a binary linear net the loss rises as the margin falls, and the margin is linear in δ, so that the exact
maximum is known. It is computed here in float64 and without robustfw: in closed form (ℓ∞), by bisection (ℓ2), by a
linear program (ℓ1). An attack's share of it is what its δ takes from the margin, over the most that any δ can take,
averaged over test images of real digits, 3 against 7. Other libraries are measured if they are installed, in their
documented settings; where one asks for an absolute step, it gets the radius times 2.5/steps.

    python -m benchmarks.inner_maximum [--data-dir DIR] [--json] [--out FILE]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linprog
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

import robustfw
from benchmarks.circumstances import circumstances
from benchmarks.tables import add_flags, leave, markdown, say
from robustfw.dataset import data_root

Array: TypeAlias = NDArray[np.float64]
Column: TypeAlias = tuple[str, str]
"""("one" or "many" steps, norm)."""
Attacks: TypeAlias = dict[Column, Callable[[], Tensor]]
"""A row of the table: what crafts x̃, by column."""

RADII = {"linf": 0.1, "l2": 1.5, "l1": 8.0}
ORDERS = {"linf": np.inf, "l2": 2, "l1": 1}
COLUMNS: list[Column] = [(steps, norm) for steps in ("one", "many") for norm in RADII]
DIGITS = (3, 7)
EXAMPLES = 50
STEPS = 40
HEADINGS = {
    "attack": "share of the exact inner maximum",
    **{
        f"{steps} {norm}": f"{'one step' if steps == 'one' else f'{STEPS} steps'}, {norm}"
        for steps, norm in COLUMNS
    },
    "largest": "largest ‖δ‖/r",
}
STEP = 2.5 / STEPS
SEED = 0
OURS = "robustfw (single-step; pgd)"
ENOUGH = 0.9995
ROUNDING = 1e-5
"""What float32 may add to a norm, relative to the radius."""


@attrs.frozen(eq=False)
class Problem:
    """A linear net of two logits, and images in [0, 1] that it has right; ``points`` are x as rows, (n, d)."""

    model: nn.Module
    x: Tensor
    y: Tensor
    points: Array
    ascent: Array
    """(n, d): what each coordinate of δ takes from the margin, per unit; parallel to the loss's gradient."""

    @classmethod
    def from_function(
        cls, weight: Tensor, bias: Tensor, x: Tensor, y: Tensor
    ) -> Problem:
        """The problem of the first examples that the net W x + b has right."""
        linear = nn.Linear(weight.shape[1], 2)
        linear.load_state_dict({"weight": weight, "bias": bias})
        model = nn.Sequential(nn.Flatten(), linear).eval()
        right = (model(x).argmax(1) == y).nonzero()[:EXAMPLES, 0]
        x, y, wide = x[right], y[right], weight.double()
        return cls(
            model, x, y, x.double().flatten(1).numpy(), (wide[1 - y] - wide[y]).numpy()
        )


def mnist(root: Path) -> Problem:
    """Test images of two digits, and a logistic regression on all training images of them."""

    def two_digits(split: Any) -> tuple[Tensor, Tensor]:
        kept = (split.y == DIGITS[0]) | (split.y == DIGITS[1])
        return split.x[kept].float() / 255, (split.y[kept] == DIGITS[1]).long()

    splits = robustfw.make("dataset", "mnist:validation=0").load(root)
    x, y = two_digits(splits.train)
    # C keeps the margins moderate (about 5), so that no float32 gradient vanishes: only maximizers are compared.
    fitted = LogisticRegression(C=0.01, max_iter=1000).fit(
        x.flatten(1).numpy(), y.numpy()
    )
    half = torch.from_numpy(np.append(fitted.coef_[0], fitted.intercept_)).float() / 2
    logits = torch.stack([-half, half])
    return Problem.from_function(
        logits[:, :-1], logits[:, -1], *two_digits(splits.test)
    )


def exact_linf(ascent: Array, points: Array, radius: float) -> Array:
    """Σ|c_j|·min(r, u_j): each coordinate as far as it may."""
    return (np.abs(ascent) * np.minimum(radius, _room(ascent, points))).sum(1)


def exact_l2(ascent: Array, points: Array, radius: float) -> Array:
    """Σ|c_j|·min(η|c_j|, u_j), with the η that spends the radius found by bisection."""
    gain, room = np.abs(ascent), _room(ascent, points)
    low = np.zeros((len(gain), 1))
    high = np.divide(room, gain, out=np.zeros_like(room), where=gain > 0).max(
        1, keepdims=True
    )
    for _ in range(200):
        middle = (low + high) / 2
        fits = (
            np.linalg.norm(np.minimum(middle * gain, room), axis=1, keepdims=True)
            <= radius
        )
        low, high = np.where(fits, middle, low), np.where(fits, high, middle)
    return (gain * np.minimum(low * gain, room)).sum(1)


def exact_l1(ascent: Array, points: Array, radius: float) -> Array:
    """max ⟨c, p − q⟩ over 0 ≤ p ≤ 1 − x, 0 ≤ q ≤ x, Σ(p + q) ≤ r: a linear program for each row."""

    def solved(c: Array, x: Array) -> float:
        bounds = np.stack([np.zeros(2 * len(x)), np.concatenate([1 - x, x])], axis=1)
        answer = linprog(
            np.concatenate([-c, c]),
            np.ones((1, 2 * len(x))),
            [radius],
            bounds=bounds,
            method="highs",
        )
        return -float(answer.fun)

    return np.array([solved(c, x) for c, x in zip(ascent, points, strict=True)])


def _room(ascent: Array, points: Array) -> Array:
    """u: how far each coordinate may go in the direction that takes from the margin."""
    return np.where(ascent > 0, 1 - points, points)


EXACT = {"linf": exact_linf, "l2": exact_l2, "l1": exact_l1}


@attrs.frozen
class Share:
    """The mean share of the exact maximum, max ‖δ‖/r, and whether every δ is in its set and range, up to rounding."""

    mean: float
    length: float
    inside: bool


def share(problem: Problem, moved: Tensor, norm: str) -> Share:
    """What x̃ captures of the exact maximum."""
    radius, points = RADII[norm], moved.detach().double().flatten(1).numpy()
    delta = points - problem.points
    shares = (problem.ascent * delta).sum(1) / EXACT[norm](
        problem.ascent, problem.points, radius
    )
    length = float(np.linalg.norm(delta, ORDERS[norm], axis=1).max() / radius)
    in_range = points.min() >= -ROUNDING and points.max() <= 1 + ROUNDING
    return Share(
        float(shares.mean()), length, bool(in_range and length <= 1 + ROUNDING)
    )


def _robustfw(problem: Problem) -> dict[str, Attacks]:
    """One support call, and projected gradient ascent."""
    craft = partial(robustfw.worst_case, problem.model, problem.x, problem.y)
    row: Attacks = {}
    for norm, radius in RADII.items():
        row["one", norm] = partial(
            craft, uncertainty=f"{norm}:radius={radius}", attack="single-step"
        )
        row["many", norm] = partial(
            craft, uncertainty=f"{norm}:radius={radius}", attack=f"pgd:steps={STEPS}"
        )
    return {OURS: row}


def _foolbox(problem: Problem) -> dict[str, Attacks]:
    """Fast gradient, PGD and the ℓ1 specialist, with the default steps (relative to the radius) and with 2.5/steps."""
    import foolbox as fb

    net = fb.PyTorchModel(problem.model, bounds=(0, 1), device="cpu")

    def craft(name: str, norm: str, **options: Any) -> Callable[[], Tensor]:
        return lambda: getattr(fb.attacks, name)(**options)(
            net, problem.x, problem.y, epsilons=RADII[norm]
        )[1]

    rows: dict[str, Attacks] = {}
    for label, step in {"": {}, f", step {STEP}": {"rel_stepsize": STEP}}.items():
        row = rows[f"foolbox (FastGradient; PGD{label})"] = {}
        for norm in RADII:
            row["one", norm] = craft(f"{norm.capitalize()}FastGradientAttack", norm)
            row["many", norm] = craft(
                f"{norm.capitalize()}ProjectedGradientDescentAttack",
                norm,
                steps=STEPS,
                **step,
            )
        sparse = craft("SparseL1DescentAttack", "l1", steps=STEPS, **step)
        rows[f"foolbox (SparseL1Descent{label})"] = {("many", "l1"): sparse}
    return rows


def _torchattacks(problem: Problem) -> dict[str, Attacks]:
    """FGSM, PGD, PGDL2 and APGD. Its one ℓ1 attack, EAD, takes no radius."""
    import torchattacks as ta

    model, x, y, linf, l2 = (
        problem.model,
        problem.x,
        problem.y,
        RADII["linf"],
        RADII["l2"],
    )

    def apgd(norm: str) -> Tensor:
        # Called as usual it returns the clean image unless the label flips; best_loss asks for the maximum.
        attack = ta.APGD(model, norm=norm.capitalize(), eps=RADII[norm], steps=STEPS)
        return attack.perturb(x, y, best_loss=True)[1]

    row: Attacks = {
        ("one", "linf"): lambda: ta.FGSM(model, eps=linf)(x, y),
        ("many", "linf"): lambda: ta.PGD(
            model, eps=linf, alpha=STEP * linf, steps=STEPS
        )(x, y),
        ("many", "l2"): lambda: ta.PGDL2(model, eps=l2, alpha=STEP * l2, steps=STEPS)(
            x, y
        ),
    }
    auto: Attacks = {("many", norm): partial(apgd, norm) for norm in ("linf", "l2")}
    return {"torchattacks (FGSM; PGD, PGDL2)": row, "torchattacks (APGD)": auto}


def _art(problem: Problem) -> dict[str, Attacks]:
    """Fast gradient and PGD. Its AutoPGD keeps only what flips the label, which is another question."""
    from art.attacks.evasion import FastGradientMethod, ProjectedGradientDescent
    from art.estimators.classification import PyTorchClassifier

    shape, loss = tuple(problem.x.shape[1:]), nn.CrossEntropyLoss()
    net = PyTorchClassifier(
        problem.model,
        loss,
        shape,
        nb_classes=2,
        clip_values=(0.0, 1.0),
        device_type="cpu",
    )

    def craft(attack: Any, norm: str, **options: Any) -> Tensor:
        made = attack(net, norm=ORDERS[norm], eps=RADII[norm], **options)
        return torch.from_numpy(made.generate(problem.x.numpy(), problem.y.numpy()))

    row: Attacks = {
        ("one", norm): partial(craft, FastGradientMethod, norm) for norm in RADII
    }
    for norm, radius in RADII.items():
        options = {"eps_step": STEP * radius, "max_iter": STEPS, "verbose": False}
        row["many", norm] = partial(craft, ProjectedGradientDescent, norm, **options)
    return {"ART (FastGradientMethod; PGD)": row}


PEERS = {
    "foolbox": _foolbox,
    "torchattacks": _torchattacks,
    "adversarial-robustness-toolbox": _art,
}


def gathered(problem: Problem) -> tuple[dict[str, Attacks], dict[str, str]]:
    """All rows, and the libraries that do not import, with the reason."""
    attacks, skipped = _robustfw(problem), {}
    for distribution, peer in PEERS.items():
        try:
            attacks |= peer(problem)
        except (
            ImportError,
            AttributeError,
        ) as error:  # not there, or too old for the numpy or torch that is
            skipped[distribution] = str(error)
    return attacks, skipped


def measured(problem: Problem, attacks: Attacks) -> dict[Column, Share]:
    """The share in each column, each from the same seed of the global generators that other libraries draw from."""
    shares = {}
    for column in (column for column in COLUMNS if column in attacks):
        torch.manual_seed(SEED)
        np.random.seed(SEED)
        shares[column] = share(problem, attacks[column](), column[1])
    return shares


def spelled(name: str, shares: dict[Column, Share]) -> dict[str, str]:
    """A row of the table."""
    cells = {
        " ".join(c): f"{s.mean:.3f}{'' if s.inside else '!'}" for c, s in shares.items()
    }
    return {
        "attack": name,
        **cells,
        "largest": f"{max(share.length for share in shares.values()):.3f}",
    }


def main() -> int:
    """Print and keep the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.inner_maximum", description=__doc__.splitlines()[0]
    )
    add_flags(parser)
    options = parser.parse_args()
    torch.set_num_threads(1)  # more are slower on tensors this small
    try:
        problem = mnist(data_root(options.data_dir))
    except robustfw.RobustfwError as error:
        parser.error(str(error))
    attacks, skipped = gathered(problem)
    for distribution, why in skipped.items():
        say(f"skipped: {distribution} ({why})")
    table = {}
    for name, crafts in attacks.items():
        table[name] = measured(problem, crafts)
        say(name)
    settings = {
        "examples": len(problem.x),
        "digits": DIGITS,
        "radii": RADII,
        "steps": STEPS,
        "seed": SEED,
    }
    settings |= {"!": "δ leaves its set or its range", "skipped": skipped}
    facts = circumstances(
        ["scipy", *(name for name in PEERS if name not in skipped)], **settings
    )
    text = markdown([spelled(name, shares) for name, shares in table.items()], HEADINGS)
    rows = [
        {"attack": n, **{" ".join(c): attrs.asdict(s) for c, s in shares.items()}}
        for n, shares in table.items()
    ]
    leave(options, "inner_maximum", [text], rows, facts)
    single = [table[OURS]["one", norm] for norm in RADII]
    return 0 if all(share.inside and share.mean >= ENOUGH for share in single) else 1


if __name__ == "__main__":
    sys.exit(main())
