"""The inner maximum: the model frozen, and the one function that solves a batch."""

from __future__ import annotations

import contextlib
import functools
import threading
import types
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from robustfw.errors import DataError
from robustfw.inner.adversary import Adversary
from robustfw.inner.modes import modes_kept, switch_to_evaluation
from robustfw.inner.problem import Goal, Passes

AscentMode: TypeAlias = Literal["eval", "train"]

_LOCKS: weakref.WeakKeyDictionary[nn.Module, Any] = weakref.WeakKeyDictionary()
_LOCKS_LOCK = threading.Lock()
DEPTH = 4
"""How many callables within callables are searched for nets."""


def _lock_of(model: nn.Module) -> Any:
    """One lock per net: its flags are everybody's, so that threads attack it one after the other."""
    lock = _LOCKS.get(model)
    if lock is None:
        with _LOCKS_LOCK:
            lock = _LOCKS.setdefault(model, threading.RLock())
    return lock


@contextlib.contextmanager
def frozen(model: nn.Module, mode: AscentMode = "eval") -> Iterator[None]:
    """The model as the ascent needs it: no parameter asks for a gradient, and everything is put back afterwards.

    "eval" puts all modules in evaluation mode; "train" leaves each module's flag as it is and takes back what
    the ascent writes into buffers (batch norm's running statistics). Parameters' ``.grad`` is not touched. Another
    thread that freezes the same net waits. Inside, gradients can be taken, also within ``torch.inference_mode``.
    """
    modules = list(model.modules())
    hindered = torch.is_inference_mode_enabled() or isinstance(model, DistributedDataParallel)
    with _lock_of(model), _unhindered(model) if hindered else contextlib.nullcontext():
        parameters = [p for m in modules for p in m._parameters.values() if p is not None and p.requires_grad]
        _check_differentiable(parameters)
        kept = [(buffer, buffer.clone()) for buffer in model.buffers()] if mode == "train" else []
        try:
            for parameter in parameters:
                parameter.requires_grad_(False)
            with modes_kept(modules):
                if mode == "eval":
                    switch_to_evaluation(model, modules)
                yield
        finally:
            for parameter in parameters:
                parameter.requires_grad_(True)
            with torch.no_grad():
                for buffer, before in kept:
                    buffer.copy_(before)


@contextlib.contextmanager
def _unhindered(model: nn.Module) -> Iterator[None]:
    """Gradients can be taken, within ``torch.inference_mode`` too, and no process waits for another one's."""
    unsynchronised = model.no_sync() if isinstance(model, DistributedDataParallel) else contextlib.nullcontext()
    with torch.inference_mode(mode=False), unsynchronised:
        yield


@contextlib.contextmanager
def all_frozen(models: list[nn.Module], mode: AscentMode = "eval") -> Iterator[None]:
    """Several models, each `frozen`, always in the same order."""
    with contextlib.ExitStack() as stack:
        for model in models:
            stack.enter_context(frozen(model, mode))
        yield


def nets_within(forward: object, depth: int = DEPTH) -> list[nn.Module]:
    """The nets that a callable holds: in closure, defaults, partial arguments, attributes, globals that it names."""
    if isinstance(forward, nn.Module):
        return [forward]
    if depth == 0:
        return []
    found: dict[int, nn.Module] = {}
    for part in _parts(forward):
        for net in nets_within(part, depth - 1):
            found[id(net)] = net
    return list(found.values())


def _parts(value: object) -> list[object]:
    """What a callable or a container refers to directly."""
    if isinstance(value, functools.partial):
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, types.MethodType):
        return [value.__self__, value.__func__]
    if isinstance(value, types.FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or () if _is_filled(cell)]
        named = [value.__globals__[name] for name in value.__code__.co_names if name in value.__globals__]
        defaults = [*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()]
        return [*cells, *(each for each in named if not isinstance(each, types.ModuleType)), *defaults]
    if isinstance(value, list | tuple):
        return list(value)
    if isinstance(value, dict):
        return list(value.values())
    if callable(value) and not isinstance(value, type) and hasattr(value, "__dict__"):
        return list(vars(value).values())
    return []


def _is_filled(cell: types.CellType) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True


def hides_parameters(outputs: Tensor) -> bool:
    """Whether outputs depend on a parameter that asks for a gradient: of a net that was not frozen."""
    pending, seen = [outputs.grad_fn], set[Any]()
    while pending:
        node = pending.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if isinstance(getattr(node, "variable", None), nn.Parameter):
            return True
        pending += [following for following, _ in node.next_functions]
    return False


def _check_differentiable(parameters: Iterable[nn.Parameter]) -> None:
    if any(parameter.is_inference() for parameter in parameters):
        raise DataError(
            "the net was made inside torch.inference_mode, and nothing can be differentiated through it: make it "
            "outside, or copy its weights into one that was (new_net.load_state_dict(net.state_dict()))"
        )


def check_type(net: object, x: Tensor) -> None:
    """Raise a `DataError` where the net cannot be differentiated at x.

    Either x is of another floating-point type than the parameters, or these were made inside
    ``torch.inference_mode``, which takes gradients from them for good. A half-precision context (``torch.autocast``)
    casts by itself.
    """
    if not isinstance(net, nn.Module):
        return
    parameters = list(net.parameters())
    _check_differentiable(parameters)
    if torch.is_autocast_enabled(x.device.type):
        return
    kind = next((p.dtype for p in parameters if p.is_floating_point()), x.dtype)
    if kind != x.dtype and x.is_floating_point():
        given, wanted = (str(dtype).removeprefix("torch.") for dtype in (x.dtype, kind))
        raise DataError(f"x is {given} and the net is {wanted}: give x.to(torch.{wanted}), or net.to(torch.{given})")


def ordinary(tensor: Tensor) -> Tensor:
    """A tensor that autograd takes: a copy of one that ``torch.inference_mode`` made."""
    if not tensor.is_inference():
        return tensor
    with torch.inference_mode(mode=False):
        return tensor.clone()


def worst_case(
    net: Callable[[Tensor], Tensor],
    x: Tensor,
    y: Tensor,
    adversary: Adversary,
    *,
    mode: AscentMode = "eval",
    goal: Goal | None = None,
    start: Tensor | None = None,
    passes: Passes | None = None,
    meta: Mapping[str, Tensor] | None = None,
    checked: bool = False,
    trusted: bool = False,
) -> Tensor:
    """x̃ = x + argmax_{δ ∈ 𝒰(x)} loss(net(x + δ), y), as far as the attack finds it; detached.

    The net comes back as it was: parameters, their ``.grad``, buffers and training flags.

    Args:
        net: outputs of x (batch, *shape); a module is frozen meanwhile (see `frozen`), a function is not.
        x: examples (batch, *shape).
        y: targets in the form of the adversary's task.
        adversary: what is tried, and within which threat.
        mode: "eval", or "train" for batch norm and dropout as in training during the ascent.
        goal: what solves a row; None: nothing does.
        start: members that an iterated attack begins at.
        passes: counts the work done.
        meta: what else is known of each row.
        checked: x is known to be finite and within bounds; to look costs a wait for the device.
        trusted: that δ is a member is not checked; to look costs a pass over δ.

    Raises:
        DataError: x is not floating point, or not within bounds.
        PluginError: the attack returned something of another shape or type, or left the set.
    """
    x = x.detach()
    with frozen(net, mode) if isinstance(net, nn.Module) else contextlib.nullcontext():
        problem = adversary.problem(net, x, y, goal=goal, start=start, passes=passes, meta=meta, checked=checked)
        delta = adversary.maximize(problem, trusted=trusted)
        return adversary.threat.apply(problem.region, x, delta)
