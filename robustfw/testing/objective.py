"""The laws of an objective, on a small net."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robustfw import losses
from robustfw.objective import Objective, Penalty, WorstCase
from robustfw.splits import Split, TensorSplit
from robustfw.testing.laws import Law, require


def _setting(seed: int, rows: int = 8) -> tuple[nn.Module, Tensor, Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Flatten(), nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 3))
        return model, torch.rand(rows, 3, 2, 2), torch.arange(rows) % 3


def _losses(objective: Objective, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Losses from a fixed state of torch's global generator, which the caller gets back as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return _asked(objective, model, x, y)


def _asked(objective: Objective, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    def worst_case(*, loss: losses.Loss = losses.cross_entropy) -> Tensor:
        return (x + 0.05).clamp(0, 1).detach()

    return objective.fitted(_seen())(model, x, y, worst_case)


def _seen() -> TensorSplit:
    """What an objective that learns from data learns from: always the same."""
    return TensorSplit(torch.rand(64, 3, 2, 2, generator=torch.Generator().manual_seed(0)), torch.arange(64) % 3)


def _seeded(objective: Objective, model: nn.Module, x: Tensor, y: Tensor, seed: int) -> tuple[Tensor, bool]:
    """Losses from a state of torch's global generator, detached; and whether they drew from it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        values = _asked(objective, model, x, y).detach()
        return values, not torch.equal(before, torch.get_rng_state())


def _close(values: Tensor, others: Tensor) -> Tensor:
    return (values - others).abs() <= 1e-5 * (1 + others.abs())


def check_form(objective: Objective, seed: int) -> None:
    """Losses have shape (batch,), are finite, and do for a batch of one."""
    for rows in (8, 1):
        model, x, y = _setting(seed, rows)
        values = _losses(objective, model, x, y)
        require(values.shape == (rows,), f"losses have shape {tuple(values.shape)} for a batch of {rows}")
        require(bool(values.isfinite().all()), f"losses are not finite: {values.tolist()}")


def check_gradient(objective: Objective, seed: int) -> None:
    """The gradient in θ is finite and not zero, and neither x nor any .grad is changed by asking for losses."""
    model, x, y = _setting(seed)
    before = x.clone()
    values = _losses(objective, model, x, y)
    require(all(p.grad is None for p in model.parameters()), "the objective filled in parameters' .grad by itself")
    require(bool(torch.equal(x, before)), "the objective changed x")
    gradients = torch.autograd.grad(values.mean(), list(model.parameters()), allow_unused=True)
    found = [gradient for gradient in gradients if gradient is not None]
    require(all(bool(g.isfinite().all()) for g in found), "the gradient is not finite")
    require(any(bool((g != 0).any()) for g in found), "the gradient is zero: nothing would be learnt")


def check_worst_cases_detached(objective: Objective, seed: int) -> None:
    """It learns from x̃ as from data: no gradient flows into the ascent (Danskin)."""
    model, x, y = _setting(seed)
    x.requires_grad_()
    values = _losses(objective, model, x.detach(), y)
    gradient = torch.autograd.grad(values.sum(), x, allow_unused=True)[0]
    require(gradient is None, "a gradient flows back into x")


def check_certain(objective: Objective, seed: int) -> None:
    """Where predictions are so certain that gradients vanish, losses and the gradient in θ are finite."""
    model, x, y = _setting(seed)
    last = model.get_submodule("3")
    with torch.no_grad():
        for parameter in last.parameters():
            parameter.mul_(1e4)
    for labels in (y, model(x).argmax(1)):
        values = _losses(objective, model, x, labels)
        require(bool(values.isfinite().all()), f"losses are not finite: {values.tolist()}")
        gradients = torch.autograd.grad(values.mean(), list(model.parameters()), allow_unused=True)
        require(all(g is None or bool(g.isfinite().all()) for g in gradients), "the gradient is not finite")


def check_rows(objective: Objective, seed: int) -> None:
    """Loss i depends on row i of x and y only (on a net without batch norm); a permuted batch permutes the losses.

    The second is asked of objectives that draw nothing at random: draws go by position.
    """
    model, x, y = _setting(seed)
    values, random = _seeded(objective, model, x, y, seed)
    others, labels = x.flip(0).contiguous(), (y + 1) % 3
    for row in range(0, len(x), 3):
        others[row], labels[row] = x[row], y[row]
    mixed, _ = _seeded(objective, model, others, labels, seed)
    kept = torch.arange(0, len(x), 3)
    require(_close(mixed[kept], values[kept]), "the loss of a row depends on other rows", was=values[kept])
    order = torch.arange(len(x)).roll(3)
    permuted, _ = _seeded(objective, model, x[order], y[order], seed)
    require(
        _close(permuted, values[order]) | random, "the loss of a row depends on its place in the batch", was=permuted
    )


def check_reproducible(objective: Objective, seed: int) -> None:
    """The same state of torch's global generator gives the same losses, bit for bit: nothing is remembered."""
    model, x, y = _setting(seed)
    first, _ = _seeded(objective, model, x, y, seed)
    _seeded(objective, model, x.flip(0), y, seed + 1)
    second, _ = _seeded(objective, model, x, y, seed)
    require(bool(torch.equal(first, second)), "the same call gives other losses: a resumed training would differ")


def check_unlabelled(objective: Objective, seed: int) -> None:
    """An example without a label (y = −1) has no cross-entropy: its loss is less by that; others keep theirs."""
    model, x, y = _setting(seed)
    whole, _ = _seeded(objective, model, x, y, seed)
    without = torch.arange(len(y)) % 2 == 0
    values, _ = _seeded(objective, model, x, y.masked_fill(without, losses.UNLABELLED), seed)
    require(bool(values.isfinite().all()), f"losses are not finite: {values.tolist()}")
    require(_close(values, whole) | without, "a label that another example lacks changes the loss", was=whole)
    require((values < whole) | ~without, "the loss without a label is as with one", was=whole)


def check_left_alone(objective: Objective, seed: int) -> None:
    """Parameters, training flags and hooks are as before; after a penalty's own part, batch norm's statistics too."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fixed, live = nn.BatchNorm2d(3).eval(), nn.BatchNorm2d(4)  # a layer that its owner has fixed stays so
        layers = fixed, nn.Conv2d(3, 4, 1), live, nn.ReLU(), nn.Dropout(0.5)
        model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(16, 3))
        x, y = torch.rand(8, 3, 2, 2), torch.arange(8) % 3
    own = isinstance(objective, Penalty)
    watched: dict[str, Tensor] = {**dict(model.named_parameters()), **(dict(model.named_buffers()) if own else {})}
    before = {name: value.detach().clone() for name, value in watched.items()}
    flags = [module.training for module in model.modules()]
    _losses(_OwnPart(objective) if isinstance(objective, Penalty) else objective, model, x, y)
    changed = [name for name, value in watched.items() if not torch.equal(value, before[name])]
    require(not changed, f"it changed {', '.join(changed)} of the net")
    require([module.training for module in model.modules()] == flags, "it left another training mode behind")
    require(all(p.requires_grad for p in model.parameters()), "it left parameters frozen")
    require(not any(_hooks(module) for module in model.modules()), "it left a hook behind")


class _OwnPart(Objective):
    """A penalty without the cross-entropy that it is added to."""

    def __init__(self, penalty: Penalty) -> None:
        self._penalty = penalty

    def fitted(self, train: Split) -> _OwnPart:
        return _OwnPart(self._penalty.fitted(train))

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, worst_case: WorstCase) -> Tensor:
        return self._penalty.penalty(model, x, y, worst_case)


def _hooks(module: nn.Module) -> int:
    kinds = module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks
    return sum(len(hooks) for hooks in kinds)


LAWS = (
    Law("form", check_form),
    Law("gradient", check_gradient),
    Law("certain predictions", check_certain),
    Law("worst cases detached", check_worst_cases_detached),
    Law("rows are independent", check_rows),
    Law("reproducible", check_reproducible),
    Law("unlabelled", check_unlabelled),
    Law("net left alone", check_left_alone),
)
