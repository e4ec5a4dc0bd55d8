"""Laws of how an objective behaves within wrappers, and of what it leaves as it was."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robustfw.data.splits import Split
from robustfw.objective import Objective, Penalty
from robustfw.testing._asking import (
    ask_from_seed,
    fit_and_ask,
    is_close,
    losses_of,
    small_net,
)
from robustfw.testing.batches import batch_of
from robustfw.testing.laws import require
from robustfw.training.batch import Batch, Wrapper


class _Gate(Wrapper):
    """A net around another one that multiplies its outputs by 1, so that the gradient shows who called it."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__(module)
        self.factor = torch.ones((), requires_grad=True)

    def forward(self, x: Tensor) -> Tensor:
        """The module's outputs, unchanged."""
        return self.factor * super().forward(x)


def check_wrapped(objective: Objective, seed: int) -> None:
    """With the net inside another module, as where several processes train, losses are the same and go through it."""
    model, x, y = small_net(seed)
    plain = ask_from_seed(objective, model, x, y, seed).values
    wrapper = _Gate(model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        values = fit_and_ask(
            objective,
            batch_of(wrapper, x, y, noise=torch.Generator().manual_seed(seed)),
        )
    require(
        is_close(values.detach(), plain),
        "the losses of a wrapped net are others",
        was=plain,
    )
    (gradient,) = torch.autograd.grad(values.sum(), [wrapper.factor], allow_unused=True)
    require(
        gradient is not None,
        "no loss goes through the wrapper's forward: gradients of several processes would not be averaged; call the "
        "model that is given, and take batch.plain for hooks and names only",
    )


def check_left_alone(objective: Objective, seed: int) -> None:
    """Parameters, training flags and hooks are as before; after a penalty's own part, batch norm's statistics too."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.BatchNorm2d(
                3
            ).eval(),  # a layer in another mode than the net, which it must keep
            nn.Conv2d(3, 4, 1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Flatten(),
            nn.Linear(16, 3),
        )
        x = torch.rand(8, 3, 2, 2)
    y = torch.arange(8) % 3
    tensors: dict[str, Tensor] = dict(model.named_parameters())
    if isinstance(objective, Penalty):
        tensors |= dict(model.named_buffers())
        objective = _PenaltyAlone(objective)
    before = {name: value.detach().clone() for name, value in tensors.items()}
    flags = [module.training for module in model.modules()]
    losses_of(objective, model, x, y)
    changed = [
        name for name, value in tensors.items() if not torch.equal(value, before[name])
    ]
    require(not changed, f"it changed {', '.join(changed)} of the net")
    require(
        [module.training for module in model.modules()] == flags,
        "it left another training mode behind",
    )
    require(
        all(p.requires_grad for p in model.parameters()), "it left parameters frozen"
    )
    require(
        not any(_count_hooks(module) for module in model.modules()),
        "it left a hook behind",
    )


class _PenaltyAlone(Objective):
    """A penalty without the cross-entropy that it is added to."""

    def __init__(self, penalty: Penalty) -> None:
        self._penalty = penalty

    def fit(self, train: Split) -> _PenaltyAlone:
        """The objective with its penalty fitted."""
        return _PenaltyAlone(self._penalty.fit(train))

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, batch: Batch) -> Tensor:
        """The penalty of each example, (batch,)."""
        return self._penalty.penalty(model, x, y, batch)


def _count_hooks(module: nn.Module) -> int:
    """The number of a module's hooks."""
    kinds = (
        module._forward_hooks,
        module._forward_pre_hooks,
        module._backward_hooks,
        module._backward_pre_hooks,
    )
    return sum(len(hooks) for hooks in kinds)
