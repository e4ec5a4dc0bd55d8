"""The laws of an attack, on problems whose maximum is known and through a net with everything that can be spoilt."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import attrs
import torch
from torch import Tensor, nn

from robustfw import losses
from robustfw.attack import Attack
from robustfw.batch import Batch
from robustfw.inner import AscentMode
from robustfw.problem import InnerProblem
from robustfw.regions import Box, Region, inner_products, norms
from robustfw.testing.laws import Law, require
from robustfw.uncertainty import UncertaintySet

ROWS = 12


@attrs.frozen
class Cube(UncertaintySet):
    """{|δ_j| ≤ r}: a set of the kit's own, so that attacks can be tried without any plugin."""

    radius: float = 0.25

    def at(self, x: Tensor) -> Region:
        """The same cube everywhere."""
        return Box.around(x.detach(), -self.radius, self.radius)


def _linear(seed: int) -> Iterator[tuple[InnerProblem, Tensor]]:
    """Linear objectives ⟨w, x + δ⟩ over cubes, bare and within [0, 1]; and the gains that are possible."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(ROWS, 1, 3, 3, generator=generator, dtype=torch.float64)
    x[:4] = x[:4].round()
    w = torch.randn(1, 3, 3, generator=generator, dtype=torch.float64)
    w[0, 0, 0] = 0

    def linear(moved: Tensor) -> Tensor:
        return (moved * w).flatten(1).sum(1)

    bare = Cube().at(x)
    for region in (bare, bare.within(0 - x, 1 - x)):
        best = inner_products(w.expand_as(x), region.support(w.expand_as(x)))
        yield InnerProblem.of(linear, x, region), best


def _curved(moved: Tensor) -> Tensor:
    return (moved - 0.4).square().flatten(1).sum(1)


def _constant(moved: Tensor) -> Tensor:
    return 0 * moved.flatten(1).sum(1)


def _without_gradient(moved: Tensor) -> Tensor:
    return torch.ones(len(moved), dtype=moved.dtype)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def check_feasible(attack: Attack, seed: int) -> None:
    """violation(δ) ≤ tolerance, with the region's shape and type, on linear, curved and constant objectives."""
    for linear, _ in _linear(seed):
        for forward in (linear.forward, _curved, _constant, _without_gradient):
            problem = attrs.evolve(linear, forward=forward)
            _require_member(problem, attack.maximize(problem, _generator(seed)), "")


def _require_member(problem: InnerProblem, delta: Tensor, when: str) -> None:
    require(delta.shape == problem.x.shape, f"δ has shape {tuple(delta.shape)}{when}")
    require(delta.dtype == problem.x.dtype, f"δ has type {delta.dtype}{when}")
    outside = problem.region.violation(delta)
    require((outside <= 1e-9) & outside.isfinite(), f"outside by {{}}{when}", outside, delta=delta)


def check_linear(attack: Attack, seed: int) -> None:
    """On a linear objective it gains at least ``linear_share`` of what the support gains (0 promises nothing)."""
    if attack.linear_share == 0:
        return
    for problem, best in _linear(seed):
        delta = attack.maximize(problem, _generator(seed))
        share = (problem.value(delta) - problem.value(problem.region.zero())) / best
        holds = share >= attack.linear_share - 1e-9
        require(
            holds, f"gains {{}} of the maximum, promised is {attack.linear_share:g}", share, x=problem.x, delta=delta
        )


def check_generator(attack: Attack, seed: int) -> None:
    """The generator alone decides δ: same generator, same δ, whatever torch's global one does."""
    for problem, _ in _linear(seed):
        with torch.random.fork_rng(devices=[]):
            first = attack.maximize(problem, _generator(seed))
            torch.manual_seed(seed + 1)
            second = attack.maximize(problem, _generator(seed))
        require(bool(torch.equal(first, second)), "the same generator gives another δ")


def check_rows(attack: Attack, seed: int) -> None:
    """Rows are independent: an attack that draws nothing gives each row what it gives the row alone."""
    for problem, _ in _linear(seed):
        whole = attack.maximize(problem, _generator(seed))
        if not torch.equal(whole, attack.maximize(problem, _generator(seed + 1))):
            return  # it draws: what a row draws depends on the rows before it
        for i in range(len(problem)):
            apart = (attack.maximize(problem[i : i + 1], _generator(seed)) - whole[i : i + 1]).abs().max()
            require(bool(apart <= 1e-9), f"row {i} depends on the rest of the batch, by {apart:.3g}")


def check_solved(attack: Attack, seed: int) -> None:
    """Rows that reach the goal may be dropped, and the rest still comes back in its place, feasible."""
    for linear, _ in _linear(seed):
        number = torch.arange(ROWS, dtype=torch.float64)
        some = attrs.evolve(linear, y=number, goal=lambda values, y: y % 3 == 0)
        _require_member(linear, attack.maximize(some, _generator(seed)), " when some rows are solved")
        everything = attrs.evolve(linear, y=number, goal=lambda values, y: y >= 0)
        _require_member(linear, attack.maximize(everything, _generator(seed)), " when all rows are solved")


def check_targets(attack: Attack, seed: int) -> None:
    """On its way to a target it lowers J(θ, x + δ, target) of every row of a linear classifier (0 promises nothing)."""
    if attack.linear_share == 0:
        return
    generator = _generator(seed)
    x = torch.rand(ROWS, 1, 3, 3, generator=generator, dtype=torch.float64)
    w = 0.3 * torch.randn(9, 5, generator=generator, dtype=torch.float64)

    def classifier(moved: Tensor) -> Tensor:
        return (moved - 0.5).flatten(1) @ w

    y = classifier(x).argmax(1)
    plain = InnerProblem(classifier, losses.cross_entropy, x, y, Cube().at(x).within(0 - x, 1 - x))
    for k in range(1, 5):
        problem = plain.towards((y + k) % 5)
        delta = attack.maximize(problem, _generator(seed))
        _require_member(problem, delta, " with a target")
        gain = problem.value(delta) - problem.value(problem.region.zero())
        require(gain > 0, "lowers the target's loss by {}", gain, x=x, delta=delta)


class _Delicate(nn.Module):
    """Batch norm, dropout and a frozen parameter: everything that an attack could leave changed."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(36, 3)
        )
        self.body[0].bias.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


def check_model_untouched(attack: Attack, seed: int) -> None:
    """Parameters, their .grad, buffers, training and requires_grad flags are bit-equal before and after."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _Delicate().train()
        x, y = torch.rand(ROWS, 1, 3, 3), torch.arange(ROWS) % 3
        losses.cross_entropy(model(x), y).sum().backward()
        model.body[1].eval()
        modes: tuple[AscentMode, ...] = ("eval", "train")
        for mode in modes:
            before = copy.deepcopy(_condition(model))
            moved = Batch.of(model, x, y, uncertainty=Cube(), attack=attack, seed=seed).worst_case(mode=mode)
            after = _condition(model)
            changed = [name for name, value in before.items() if not _equal(value, after[name])]
            require(not changed, f"the attack changed {', '.join(changed)} ({mode} mode)")
            require(not moved.requires_grad, "x̃ keeps a graph")
            require(bool((norms(moved - x) > 0).any()) or attack.linear_share == 0, "no example was moved")


def _condition(model: nn.Module) -> dict[str, object]:
    facts: dict[str, object] = dict(model.state_dict())
    for name, parameter in model.named_parameters():
        facts[f"{name}.grad"], facts[f"{name}.requires_grad"] = parameter.grad, parameter.requires_grad
    return facts | {f"{name}.training": module.training for name, module in model.named_modules()}


def _equal(left: object, right: object) -> bool:
    if isinstance(left, Tensor) and isinstance(right, Tensor):
        return bool(torch.equal(left, right))
    return left is right or left == right


LAWS = (
    Law("feasible", check_feasible),
    Law("linear objective", check_linear),
    Law("generator decides", check_generator),
    Law("rows are independent", check_rows),
    Law("solved rows", check_solved),
    Law("targets", check_targets),
    Law("model untouched", check_model_untouched),
)
