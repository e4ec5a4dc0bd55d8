"""The laws of an objective, on a small net and on batches such as the engine makes."""

from __future__ import annotations

import torch
from torch import Tensor

from robustfw import losses
from robustfw.objective import Objective
from robustfw.stateful import stateful_parts
from robustfw.testing._asking import (
    ask,
    ask_from_seed,
    fit_and_ask,
    fit_copy,
    is_close,
    losses_of,
    small_net,
)
from robustfw.testing._objective_conduct import check_left_alone, check_wrapped
from robustfw.testing.batches import batch_of, pass_through_checkpoint
from robustfw.testing.laws import Law, require
from robustfw.training.batch import Batch


def check_form(objective: Objective, seed: int) -> None:
    """Losses have shape (batch,), are finite, and do for a batch of one."""
    for rows in (8, 1):
        model, x, y = small_net(seed, rows)
        values = losses_of(objective, model, x, y)
        require(
            values.shape == (rows,),
            f"losses have shape {tuple(values.shape)} for a batch of {rows}",
        )
        require(
            bool(values.isfinite().all()), f"losses are not finite: {values.tolist()}"
        )


def check_gradient(objective: Objective, seed: int) -> None:
    """The gradient in θ is finite and not zero, and neither x nor any .grad is changed by asking for losses."""
    model, x, y = small_net(seed)
    before = x.clone()
    values = losses_of(objective, model, x, y)
    require(
        all(p.grad is None for p in model.parameters()),
        "the objective filled in parameters' .grad by itself",
    )
    require(bool(torch.equal(x, before)), "the objective changed x")
    optional_gradients = torch.autograd.grad(
        values.mean(), list(model.parameters()), allow_unused=True
    )
    gradients = [gradient for gradient in optional_gradients if gradient is not None]
    require(
        all(bool(g.isfinite().all()) for g in gradients), "the gradient is not finite"
    )
    require(
        any(bool((g != 0).any()) for g in gradients),
        "the gradient is zero: nothing would be learnt",
    )


def check_certain(objective: Objective, seed: int) -> None:
    """Where predictions are so certain that gradients vanish, losses and the gradient in θ are finite."""
    model, x, y = small_net(seed)
    last = model.get_submodule("3")
    with torch.no_grad():
        for parameter in last.parameters():
            parameter.mul_(1e4)
    for labels in (y, model(x).argmax(1)):
        values = losses_of(objective, model=model, x=x, y=labels)
        require(
            bool(values.isfinite().all()), f"losses are not finite: {values.tolist()}"
        )
        gradients = torch.autograd.grad(
            values.mean(), list(model.parameters()), allow_unused=True
        )
        require(
            all(g is None or bool(g.isfinite().all()) for g in gradients),
            "the gradient is not finite",
        )


def check_passes(objective: Objective, seed: int) -> None:
    """`attacks` says whether worst cases are asked for: passes are counted where it is true, and none where it is not.

    Worst cases that an objective makes by itself are counted by ``batch.count``.
    """
    model, x, y = small_net(seed)
    batches = [batch_of(model, x, y, progress=progress) for progress in (0.0, 0.5, 1.0)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for batch in batches:
            fit_and_ask(objective, batch)
    passes = sum(batch.passes.forward + batch.passes.backward for batch in batches)
    if objective.attacks:
        message = "no pass for a worst case is counted: count your own by batch.count, or let `attacks` be False"
        require(passes > 0, message)
    else:
        require(
            passes == 0,
            f"worst cases are asked for ({passes} passes), although `attacks` is False",
        )


def check_rows(objective: Objective, seed: int) -> None:
    """Loss i depends on row i of x and y only (on a net without batch norm); a permuted batch permutes the losses.

    Objectives that draw at random need not keep the second part, since draws depend on the position in the batch. Those
    that declare that they couple rows need not keep either.
    """
    if objective.couples_rows:
        return
    model, x, y = small_net(seed)
    losses_before = ask_from_seed(objective, model, x, y, seed)
    values = losses_before.values
    # 1. every third row stays, the others change
    same_rows = torch.arange(0, len(x), 3)
    mixed_x = x.flip(0).contiguous()
    mixed_y = (y + 1) % 3
    mixed_x[same_rows] = x[same_rows]
    mixed_y[same_rows] = y[same_rows]
    mixed = ask_from_seed(
        objective, model=model, x=mixed_x, y=mixed_y, seed=seed
    ).values
    close = is_close(mixed[same_rows], values[same_rows])
    require(close, "the loss of a row depends on other rows", was=values[same_rows])
    # 2. the rows change places
    order = torch.arange(len(x)).roll(3)
    permuted = ask_from_seed(
        objective, model=model, x=x[order], y=y[order], seed=seed
    ).values
    require(
        is_close(permuted, values[order]) | losses_before.draws,
        "the loss of a row depends on its place in the batch",
        was=permuted,
    )


def check_halves(objective: Objective, seed: int) -> None:
    """The mean gradient of two halves of a batch is that of the whole: two processes train as one does.

    Objectives that couple rows or draw from torch's global generator need not keep it; draws of the batch
    (``batch.normal_like``) are the same numbers for the same rows.
    """
    model, x, y = small_net(seed)
    if (
        objective.couples_rows
        or ask_from_seed(objective, model, x, y, seed).draws_from_global
    ):
        return
    expected = _gradient(objective, batch_of(model, x, y))
    parts = []
    for rank in range(2):
        rows = slice(rank, None, 2)
        parts.append(batch_of(model, x[rows], y[rows], share=(rank, 2)))
    halves = [_gradient(objective, part) for part in parts]
    mean = (halves[0] + halves[1]) / 2
    apart = float((mean - expected).abs().max())
    limit = 1e-4 * (1 + float(expected.abs().max()))
    require(
        apart <= limit,
        f"the gradients of two halves have another mean than the whole's, by {apart:.3g}",
    )


def _gradient(objective: Objective, batch: Batch) -> Tensor:
    """∂ mean loss/∂θ, all of it in one row."""
    parameters = list(batch.plain.parameters())
    values = fit_and_ask(objective, batch)
    gradients = torch.autograd.grad(values.mean(), parameters, allow_unused=True)
    rows = []
    for gradient, parameter in zip(gradients, parameters, strict=True):
        rows.append(
            (torch.zeros_like(parameter) if gradient is None else gradient).flatten()
        )
    return torch.cat(rows)


def check_reproducible(objective: Objective, seed: int) -> None:
    """Losses are equal bit for bit where the state of all generators is: nothing is remembered.

    What an objective remembers by `robustfw.Stateful` is a part of its state ("several batches").
    """
    model, x, y = small_net(seed)
    first = ask_from_seed(objective, model, x, y, seed)
    ask_from_seed(objective, model=model, x=x.flip(0), y=y, seed=seed + 1)
    second = ask_from_seed(objective, model, x, y, seed)
    require(
        bool(torch.equal(first.values, second.values)),
        "the same call gives other losses: a resumed training would differ (what must be remembered is the state of a "
        "robustfw.Stateful)",
    )


def check_batches(objective: Objective, seed: int) -> None:
    """One batch after another, of other sizes; with its state saved and given back, the next losses are the same."""
    model, x, y = small_net(seed)
    # 1. two batches
    original = fit_copy(objective)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for rows in (8, 5):
            values = ask(original, batch_of(model, x[:rows], y[:rows]))
            require(
                values.shape == (rows,),
                f"after another batch, one of {rows} has {tuple(values.shape)} losses",
            )
            values.mean().backward()
            model.zero_grad()
    # 2. a third one, by the objective and by another one with its state
    resumed = fit_copy(objective)
    _copy_state(original, resumed)
    next_losses = []
    for one in (original, resumed):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + 1)
            next_losses.append(ask(one, batch_of(model, x[2:], y[2:])).detach())
    same = bool(torch.equal(*next_losses))
    require(
        same,
        "with its state given back it has other losses: a resumed training would differ",
    )


def _copy_state(source: Objective, target: Objective) -> None:
    """Give the state of each part of an objective to the same part of another, by way of a checkpoint."""
    receivers = dict(stateful_parts(target))
    for way, part in stateful_parts(source):
        state = {}
        for name, value in part.state_dict().items():
            state[name] = pass_through_checkpoint(value)
        receivers[way].load_state_dict(state)


def check_unlabelled(objective: Objective, seed: int) -> None:
    """An example without a label (y = −1) has no cross-entropy: its loss is less by that; others keep theirs."""
    model, x, y = small_net(seed)
    before = ask_from_seed(objective, model, x, y, seed).values
    unlabelled = torch.arange(len(y)) % 2 == 0
    values = ask_from_seed(
        objective,
        model=model,
        x=x,
        y=y.masked_fill(unlabelled, losses.UNLABELLED),
        seed=seed,
    ).values
    require(bool(values.isfinite().all()), f"losses are not finite: {values.tolist()}")
    if objective.couples_rows:
        return
    require(
        is_close(values, before) | unlabelled,
        "a label that another example lacks changes the loss",
        was=before,
    )
    require(
        (values < before) | ~unlabelled,
        "the loss without a label is as with one",
        was=before,
    )


LAWS = (
    Law("form", check_form),
    Law("gradient", check_gradient),
    Law("certain predictions", check_certain),
    Law("passes are counted", check_passes),
    Law("rows are independent", check_rows),
    Law("two halves", check_halves),
    Law("reproducible", check_reproducible),
    Law("several batches", check_batches),
    Law("unlabelled", check_unlabelled),
    Law("wrapped net", check_wrapped),
    Law("net left alone", check_left_alone),
)
