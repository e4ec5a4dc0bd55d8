"""The batch at hand, and all that an objective or an update may ask about it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any, Self

import attrs
import torch
from torch import Tensor, nn

from robustfw.attack import Attack
from robustfw.data.bounds import Bounds
from robustfw.inner.adversary import Adversary
from robustfw.inner.freezing import AscentMode
from robustfw.inner.problem import Goal, Passes
from robustfw.inner.threat import Threat
from robustfw.inner.worst_case import worst_case
from robustfw.losses import LossFunction, check_per_example
from robustfw.regions import Region
from robustfw.task import Classification, Task
from robustfw.uncertainty import UncertaintySet


@attrs.frozen(eq=False)
class Batch:
    """x, y and the adversary of this step; the engine makes one for each batch, and the contract kit the same.

    To call it is to ask for the worst cases (`worst_case`). Everything has a default, which is what the recipe says,
    and everything can be asked for otherwise: at another x or y, within another set, by another attack or loss.
    """

    net: Callable[[Tensor], Tensor]
    """The net as it is trained: where several processes train, wrapped by DistributedDataParallel; else compiled, or
    the module itself. The attack and the loss run through the same one. `plain` is the module without wrappers."""
    x: Tensor
    """Examples (batch, *shape)."""
    y: Tensor
    """Targets in the form of the task (`robustfw.task.Task.targets`)."""
    adversary: Adversary
    """The attack, the threat and the generator of this step."""
    task: Task = Classification()
    progress: float = 0.0
    """The share of the training that is done, from 0 to 1."""
    epoch: int = 1
    """The epoch under way, from 1."""
    meta: Mapping[str, Tensor] = attrs.field(factory=dict)
    """What else is known of each example, by name: ``index``, its place in the training split, and what the split
    gives (`robustfw.data.splits.Split.metadata`), such as ``group``."""
    passes: Passes = attrs.field(factory=Passes)
    """Passes through the net for worst cases, so far in this epoch; whoever makes some of his own adds them."""
    mode: AscentMode = "eval"
    """Of batch norm and dropout during the ascent."""
    checked: bool = True
    """Whether x is known to be finite and in the data range."""
    noise: torch.Generator = attrs.field(factory=lambda: torch.Generator().manual_seed(0))
    """Of an objective's own draws (`normal_like`, `uniform_like`)."""
    share: tuple[int, int] = (0, 1)
    """(rank, processes): the batch holds each ``processes``-th row of the whole batch, from ``rank`` on."""
    trusted: bool = False
    """Whether the attack is believed that δ is in its set, which is looked at now and then."""

    @classmethod
    def of(
        cls,
        net: nn.Module,
        x: Tensor,
        y: Tensor,
        *,
        uncertainty: UncertaintySet,
        attack: Attack,
        bounds: Bounds = (0.0, 1.0),
        task: Task | None = None,
        loss: LossFunction | None = None,
        seed: int = 0,
        **more: Any,
    ) -> Self:
        """A batch outside a training, for tests and for loops of one's own.

        Args:
            net: outputs of x.
            x: examples (batch, *shape).
            y: targets.
            uncertainty: the set.
            attack: the attack.
            bounds: the data range.
            task: what the outputs are for; classification by default.
            loss: J; None: the task's.
            seed: of the attack's randomness.
            more: other fields.
        """
        task = task or Classification()
        generator = torch.Generator().manual_seed(seed)
        adversary = Adversary(Threat(uncertainty, bounds), attack, generator, task, loss)
        return cls(net, x, task.targets(y), adversary, task, checked=False, **more)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, rows: Tensor | slice) -> Batch:
        """Some of the rows; passes go on being counted together."""
        meta = {name: values[rows] for name, values in self.meta.items()}
        return attrs.evolve(self, x=self.x[rows], y=self.y[rows], meta=meta)

    def __call__(self, **asked: Any) -> Tensor:
        """As `worst_case`."""
        return self.worst_case(**asked)

    @property
    def plain(self) -> nn.Module:
        """The module that is trained, without what wraps it: for hooks, and for names of its parts."""
        return unwrapped(self.net)

    @property
    def threat(self) -> Threat:
        """The set of this step, which a warm-up may have made smaller, and the data range."""
        return self.adversary.threat

    @property
    def generator(self) -> torch.Generator:
        """The generator of this step's attack."""
        return self.adversary.generator

    def worst_case(
        self,
        *,
        x: Tensor | None = None,
        y: Tensor | None = None,
        uncertainty: UncertaintySet | None = None,
        attack: Attack | None = None,
        loss: LossFunction | None = None,
        start: Tensor | None = None,
        goal: Goal | None = None,
        mode: AscentMode | None = None,
        net: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """x̃ = x + argmax_{δ ∈ 𝒰(x)} J(net(x + δ), y), detached; the net comes back as it was.

        Args:
            x: other examples than the batch's, (rows, *shape).
            y: other targets, a row for each example; probabilities of classes do as well.
            uncertainty: another set.
            attack: another attack.
            loss: another J than the training's: outputs in the form of the task and y to values (rows,).
            start: members δ that an iterated attack begins at.
            goal: what solves a row: outputs and y to a mask (rows,); None: nothing does.
            mode: "eval" or "train", of batch norm and dropout during the ascent.
            net: another net, such as an average of this one.
        """
        threat = self.threat if uncertainty is None else self.threat.within(uncertainty)
        as_it_is = attack is None and loss is None and uncertainty is None
        adversary = self.adversary if as_it_is else self._adversary(threat, attack, loss)
        return worst_case(
            self.net if net is None else net,
            self.x if x is None else x,
            self.y if y is None else y,
            adversary,
            mode=mode or self.mode,
            goal=goal,
            start=start,
            passes=self.passes,
            meta=self.meta if x is None else {},
            checked=self.checked and x is None,
            trusted=self.trusted and attack is None,
        )

    def _adversary(self, threat: Threat, attack: Attack | None, loss: LossFunction | None) -> Adversary:
        return Adversary(
            threat, attack or self.adversary.attack, self.generator, self.task, loss or self.adversary.loss
        )

    def region(self, x: Tensor | None = None, uncertainty: UncertaintySet | None = None) -> Region:
        """𝒰(x) within the data range, at the batch's x or another one."""
        threat = self.threat if uncertainty is None else self.threat.within(uncertainty)
        return threat.region(self.x if x is None else x, checked=self.checked and x is None)

    def random_member(self, x: Tensor | None = None, uncertainty: UncertaintySet | None = None) -> Tensor:
        """x̃ = x + δ with δ a random member of 𝒰(x) for each row."""
        at = self.x if x is None else x
        region = self.region(x, uncertainty)
        return self.threat.apply(region, at, region.sample(self.generator))

    def normal_like(self, like: Tensor) -> Tensor:
        """N(0, 1) of the shape, type and device of ``like``, whose rows are examples.

        Several processes together draw what one alone would: each has the numbers of its own rows.
        """
        return self._own(torch.randn(self._whole(like), generator=self.noise, device=self.noise.device), like)

    def uniform_like(self, like: Tensor) -> Tensor:
        """U[0, 1), otherwise as `normal_like`."""
        return self._own(torch.rand(self._whole(like), generator=self.noise, device=self.noise.device), like)

    def _whole(self, like: Tensor) -> tuple[int, ...]:
        return len(like) * self.share[1], *like.shape[1:]

    def _own(self, drawn: Tensor, like: Tensor) -> Tensor:
        rank, processes = self.share
        return drawn[rank::processes].to(like)

    def loss(self, outputs: Tensor, y: Tensor | None = None) -> Tensor:
        """J, the training's loss: values (batch,) of a net's outputs as they are, and of targets."""
        values = self.adversary.attack_loss(self.task.read(outputs, len(outputs)), self.y if y is None else y)
        check_per_example(values, len(outputs), self.adversary.attack_loss)
        return values

    def count(self, *, forward: int = 0, backward: int = 0) -> None:
        """Add examples that went through the net, and back, on the way to worst cases."""
        self.passes.forward += forward
        self.passes.backward += backward


class Wrapper(nn.Module):
    """A net that runs another one, its ``module``, which has the parameters and knows nothing of it.

    Whoever puts a net of his own around the one that is trained derives from this class, so that `Batch.plain` sees
    through it as it does through DistributedDataParallel and torch.compile.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        """What the module gives."""
        outputs: Tensor = self.module(x)
        return outputs


def unwrapped(net: Any) -> Any:
    """A module without what wraps it: DistributedDataParallel, compilation, a `Wrapper`."""
    while True:
        inner = getattr(net, "_orig_mod", None)
        if inner is None and isinstance(net, Wrapper | nn.parallel.DistributedDataParallel):
            inner = net.module
        if inner is None:
            return net
        net = inner


@contextlib.contextmanager
def without_synchronisation(net: object) -> Any:
    """Backward passes whose gradients are not yet averaged over the processes."""
    if isinstance(net, nn.parallel.DistributedDataParallel):
        with net.no_sync():
            yield
    else:
        yield
