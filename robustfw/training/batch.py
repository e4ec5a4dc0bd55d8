"""One batch of a training, and what objectives and updates may ask about it."""

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
from robustfw.inner.problem import Criterion, Passes
from robustfw.inner.threat import Threat
from robustfw.inner.worst_case import worst_case
from robustfw.losses import LossFunction, check_per_example
from robustfw.regions import Region
from robustfw.task import Classification, Task
from robustfw.uncertainty import UncertaintySet


@attrs.frozen(eq=False)
class Batch:
    """Examples, targets and the adversary of one step, as the engine and the contract kit make them.

    Calling a batch gives its worst cases (`worst_case`). By default these are what the recipe says; arguments ask for
    others: at another x or y, within another set, by another attack or loss.
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
    """What outputs and targets are."""
    progress: float = 0.0
    """The share of the training that is done, from 0 to 1."""
    epoch: int = 1
    """The epoch under way, from 1."""
    meta: Mapping[str, Tensor] = attrs.field(factory=dict)
    """What else is known of each example, by name: ``index``, its place in the training split, and what the split
    gives (`robustfw.data.splits.Split.metadata`), such as ``group``."""
    passes: Passes = attrs.field(factory=Passes)
    """Passes through the net for worst cases, so far in this epoch; an objective adds those that it makes itself."""
    mode: AscentMode = "eval"
    """Mode of batch norm and dropout during the ascent: "eval" or "train"."""
    checked: bool = True
    """Whether x is known to be finite and in the data range."""
    noise: torch.Generator = attrs.field(
        factory=lambda: torch.Generator().manual_seed(0)
    )
    """Generator of an objective's own draws (`normal_like`, `uniform_like`)."""
    share: tuple[int, int] = (0, 1)
    """(rank, processes): the batch holds every ``processes``-th row of the full batch, from row ``rank`` on."""
    trusted: bool = False
    """Whether to skip the check that δ is in its set, which the engine makes now and then."""

    @classmethod
    def create(
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
            net: the net, which maps x to outputs.
            x: examples (batch, *shape).
            y: targets, as the data set gives them.
            uncertainty: the set 𝒰.
            attack: the attack.
            bounds: the data range, (lower, upper), or None.
            task: what the outputs are for; classification by default.
            loss: J; by default the task's.
            seed: seeds the attack's randomness.
            more: values of other fields, by name.
        """
        task = task or Classification()
        generator = torch.Generator().manual_seed(seed)
        adversary = Adversary(
            threat=Threat(uncertainty, bounds),
            attack=attack,
            generator=generator,
            task=task,
            loss=loss,
        )
        return cls(
            net=net,
            x=x,
            y=task.targets(y),
            adversary=adversary,
            task=task,
            checked=False,
            **more,
        )

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, rows: Tensor | slice) -> Batch:
        """The batch of some of the rows; passes are still counted in the same place."""
        meta = {name: values[rows] for name, values in self.meta.items()}
        return attrs.evolve(self, x=self.x[rows], y=self.y[rows], meta=meta)

    def __call__(self, **asked: Any) -> Tensor:
        """The worst cases x̃, (batch, *shape); takes the arguments of `worst_case`."""
        return self.worst_case(**asked)

    @property
    def plain(self) -> nn.Module:
        """The trained module without its wrappers: for hooks, and for the names of its parts."""
        return unwrap(self.net)

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
        criterion: Criterion | None = None,
        mode: AscentMode | None = None,
        net: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """x̃ = x + argmax_{δ ∈ 𝒰(x)} J(net(x + δ), y), (rows, *shape), detached; the net comes back as it was.

        Args:
            x: other examples than the batch's, (rows, *shape).
            y: other targets, a row for each example; probabilities of classes do as well.
            uncertainty: another set.
            attack: another attack.
            loss: another J than the training's: outputs in the form of the task and y to values (rows,).
            start: members δ that an iterated attack begins at.
            criterion: what solves a row: outputs and y to a mask (rows,); None: nothing does.
            mode: "eval" or "train": batch norm and dropout during the ascent.
            net: another net, such as an average of this one.
        """
        adversary = self.adversary
        if attack is not None or loss is not None or uncertainty is not None:
            if uncertainty is None:
                threat = self.threat
            else:
                threat = self.threat.with_uncertainty(uncertainty)
            adversary = Adversary(
                threat=threat,
                attack=attack or adversary.attack,
                generator=self.generator,
                task=self.task,
                loss=loss or adversary.loss,
            )
        return worst_case(
            self.net if net is None else net,
            x=self.x if x is None else x,
            y=self.y if y is None else y,
            adversary=adversary,
            mode=mode or self.mode,
            criterion=criterion,
            start=start,
            passes=self.passes,
            meta=self.meta if x is None else {},
            checked=self.checked and x is None,
            trusted=self.trusted and attack is None,
        )

    def region(
        self, x: Tensor | None = None, uncertainty: UncertaintySet | None = None
    ) -> Region:
        """𝒰(x) within the data range, at the batch's x or another one."""
        if uncertainty is None:
            threat = self.threat
        else:
            threat = self.threat.with_uncertainty(uncertainty)
        return threat.region(
            self.x if x is None else x, checked=self.checked and x is None
        )

    def random_member(
        self, x: Tensor | None = None, uncertainty: UncertaintySet | None = None
    ) -> Tensor:
        """x̃ = x + δ with δ a random member of 𝒰(x) for each row, at the batch's x or another one."""
        examples = self.x if x is None else x
        region = self.region(x, uncertainty)
        return self.threat.apply(region, examples, region.sample(self.generator))

    def normal_like(self, like: Tensor) -> Tensor:
        """Draws from N(0, 1) of the shape, type and device of ``like``, whose rows are examples.

        Several processes together draw what one alone would: each has the numbers of its own rows.
        """
        draws = torch.randn(
            self._shape_of_all_rows(like),
            generator=self.noise,
            device=self.noise.device,
        )
        return self._take_share(draws).to(like)

    def uniform_like(self, like: Tensor) -> Tensor:
        """Draws from U[0, 1) of the shape, type and device of ``like``, whose rows are examples.

        Several processes together draw what one alone would: each has the numbers of its own rows.
        """
        draws = torch.rand(
            self._shape_of_all_rows(like),
            generator=self.noise,
            device=self.noise.device,
        )
        return self._take_share(draws).to(like)

    def _shape_of_all_rows(self, like: Tensor) -> tuple[int, ...]:
        """The shape of ``like`` with the rows of all processes."""
        _, processes = self.share
        return len(like) * processes, *like.shape[1:]

    def _take_share(self, draws: Tensor) -> Tensor:
        """This process's rows of what all processes have drawn."""
        rank, processes = self.share
        return draws[rank::processes]

    def loss(self, outputs: Tensor, y: Tensor | None = None) -> Tensor:
        """J, the training's loss: values (batch,) of a net's outputs as they are, and of targets."""
        predictions = self.task.read(outputs, len(outputs))
        values = self.adversary.attack_loss(predictions, self.y if y is None else y)
        check_per_example(values, len(outputs), self.adversary.attack_loss)
        return values

    def count(self, *, forward: int = 0, backward: int = 0) -> None:
        """Add to the passes of this epoch: examples that went forward through the net, and back, for worst cases."""
        self.passes.forward += forward
        self.passes.backward += backward


class Wrapper(nn.Module):
    """A net that runs another one, its ``module``, which has the parameters and knows nothing of it.

    A net that wraps the trained one derives from this class, so that `Batch.plain` sees through it as it does through
    DistributedDataParallel and torch.compile.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        """The module's outputs at x (batch, *shape)."""
        outputs: Tensor = self.module(x)
        return outputs


def unwrap(net: Any) -> Any:
    """The module inside all wrappers: DistributedDataParallel, torch.compile, `Wrapper`."""
    while True:
        inner = getattr(net, "_orig_mod", None)  # where torch.compile keeps it
        if inner is None and isinstance(
            net, Wrapper | nn.parallel.DistributedDataParallel
        ):
            inner = net.module
        if inner is None:
            return net
        net = inner


@contextlib.contextmanager
def skip_synchronisation(net: object) -> Any:
    """Inside, backward passes of a net do not average its gradients over the processes."""
    if isinstance(net, nn.parallel.DistributedDataParallel):
        with net.no_sync():
            yield
    else:
        yield
