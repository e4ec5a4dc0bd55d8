"""The inner maximum: the one function that solves a batch with the model frozen."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping

from torch import Tensor, nn

from robustfw.inner.adversary import Adversary
from robustfw.inner.freezing import AscentMode, freeze
from robustfw.inner.problem import Criterion, Passes


def worst_case(
    net: Callable[[Tensor], Tensor],
    x: Tensor,
    y: Tensor,
    adversary: Adversary,
    *,
    mode: AscentMode = "eval",
    criterion: Criterion | None = None,
    start: Tensor | None = None,
    passes: Passes | None = None,
    meta: Mapping[str, Tensor] | None = None,
    checked: bool = False,
    trusted: bool = False,
) -> Tensor:
    """x̃ = x + argmax_{δ ∈ 𝒰(x)} loss(net(x + δ), y), as far as the attack finds it; (batch, *shape), detached.

    The net comes back as it was: parameters, their ``.grad``, buffers and training flags.

    Args:
        net: outputs of x (batch, *shape); a module is frozen meanwhile (`robustfw.inner.freezing`), a function is not.
        x: examples (batch, *shape).
        y: targets in the form of the adversary's task.
        adversary: the attack, its loss and the threat within which it works.
        mode: "eval", or "train" for batch norm and dropout as in training during the ascent.
        criterion: (outputs, targets) ↦ mask of the rows that are solved; None: no row ever is.
        start: members of the region at which an iterated attack begins.
        passes: the counter of forward and backward passes.
        meta: further data of each row, (batch, …) by name.
        checked: x is known to be finite and within bounds; the check waits for the device.
        trusted: skip the check that δ is a member, which costs a pass over δ.

    Raises:
        DataError: x is not floating point, or not within bounds.
        PluginError: the attack returned something of another shape or type, or left the set.
    """
    x = x.detach()
    context = (
        freeze(net, mode) if isinstance(net, nn.Module) else contextlib.nullcontext()
    )
    with context:
        problem = adversary.problem(
            net,
            x,
            y,
            criterion=criterion,
            start=start,
            passes=passes,
            meta=meta,
            checked=checked,
        )
        delta = adversary.maximize(problem, trusted=trusted)
        return adversary.threat.apply(problem.region, x, delta)
