"""A net frozen while it is attacked: no parameter asks for a gradient, and all is put back afterwards."""

from __future__ import annotations

import contextlib
import functools
import threading
import types
import weakref
from collections.abc import Iterable, Iterator
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from robustfw.errors import DataError
from robustfw.inner.modes import restore_modes, switch_to_evaluation
from robustfw.interop import Adapter

AscentMode: TypeAlias = Literal["eval", "train"]
"""The modes of a net's modules during an attack: evaluation mode for all, or as they are."""

DEPTH = 4
"""How many levels of callables within callables are searched for nets."""

_LOCKS: weakref.WeakKeyDictionary[nn.Module, Any] = weakref.WeakKeyDictionary()
_LOCKS_LOCK = threading.Lock()


def _lock_of(model: nn.Module) -> Any:
    """The net's lock: its flags are shared by all threads, so that these attack it one after the other."""
    lock = _LOCKS.get(model)
    if lock is None:
        with _LOCKS_LOCK:
            lock = _LOCKS.setdefault(model, threading.RLock())
    return lock


@contextlib.contextmanager
def freeze(model: nn.Module, mode: AscentMode = "eval") -> Iterator[None]:
    """Freeze the model inside the context: no parameter asks for a gradient. Afterwards everything is put back.

    Parameters' ``.grad`` is not touched. Another thread that freezes the same net waits. Inside, gradients in x can be
    taken, also within ``torch.inference_mode``.

    Args:
        model: the net that is attacked.
        mode: "eval" puts all modules in evaluation mode; "train" leaves each module's flag as it is and restores the
            buffers that the ascent writes (batch norm's running statistics).

    Raises:
        DataError: the net was made inside ``torch.inference_mode``.
    """
    modules = list(model.modules())
    needs_context = torch.is_inference_mode_enabled() or isinstance(
        model, DistributedDataParallel
    )
    gradients = _allow_gradients(model) if needs_context else contextlib.nullcontext()
    with _lock_of(model), gradients:
        parameters = [
            p
            for m in modules
            for p in m._parameters.values()
            if p is not None and p.requires_grad
        ]
        _check_differentiable(parameters)
        if mode == "train":
            copies = [(buffer, buffer.clone()) for buffer in model.buffers()]
        else:
            copies = []
        try:
            for parameter in parameters:
                parameter.requires_grad_(False)
            with restore_modes(modules):
                if mode == "eval":
                    switch_to_evaluation(model, modules)
                yield
        finally:
            for parameter in parameters:
                parameter.requires_grad_(True)
            with torch.no_grad():
                for buffer, before in copies:
                    buffer.copy_(before)


@contextlib.contextmanager
def _allow_gradients(model: nn.Module) -> Iterator[None]:
    """Leave ``torch.inference_mode``, and let no process wait for the gradients of another one."""
    unsynchronised: contextlib.AbstractContextManager[None]
    if isinstance(model, DistributedDataParallel):
        unsynchronised = model.no_sync()
    else:
        unsynchronised = contextlib.nullcontext()
    with torch.inference_mode(mode=False), unsynchronised:
        yield


@contextlib.contextmanager
def freeze_all(models: list[nn.Module], mode: AscentMode = "eval") -> Iterator[None]:
    """`freeze` several models, one after the other in the order of the list."""
    with contextlib.ExitStack() as stack:
        for model in models:
            stack.enter_context(freeze(model, mode))
        yield


def find_nets(forward: object, depth: int = DEPTH) -> list[nn.Module]:
    """The nets that a callable holds: in closure, defaults, partial arguments, attributes, globals that it names.

    ``depth`` is how many levels of callables and containers are searched. A net is listed once.
    """
    if isinstance(forward, nn.Module):
        return [forward]
    if depth == 0:
        return []
    nets: dict[int, nn.Module] = {}
    for part in _parts(forward):
        for net in find_nets(part, depth - 1):
            nets[id(net)] = net
    return list(nets.values())


def _parts(value: object) -> list[object]:
    """The objects that a callable or a container refers to directly."""
    if isinstance(value, functools.partial):
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, types.MethodType):
        return [value.__self__, value.__func__]
    if isinstance(value, types.FunctionType):
        return _function_parts(value)
    if isinstance(value, list | tuple):
        return list(value)
    if isinstance(value, dict):
        return list(value.values())
    if callable(value) and not isinstance(value, type) and hasattr(value, "__dict__"):
        return list(vars(value).values())
    return []


def _function_parts(function: types.FunctionType) -> list[object]:
    """The contents of a function's closure, the globals that it names except modules, and its defaults."""
    contents = []
    for cell in function.__closure__ or ():
        if _is_filled(cell):
            contents.append(cell.cell_contents)
    namespace = function.__globals__
    named = []
    for name in function.__code__.co_names:
        if name in namespace:
            named.append(namespace[name])
    variables = [value for value in named if not isinstance(value, types.ModuleType)]
    defaults = function.__defaults__ or ()
    keyword_defaults = function.__kwdefaults__ or {}
    return [*contents, *variables, *defaults, *keyword_defaults.values()]


def _is_filled(cell: types.CellType) -> bool:
    """Whether the variable of a closure has a value yet."""
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True


def hides_parameters(outputs: Tensor) -> bool:
    """Whether the graph of the outputs holds a parameter that asks for a gradient: the net is not frozen then."""
    pending = [outputs.grad_fn]
    visited = set[Any]()
    while pending:
        node = pending.pop()
        if node is None or node in visited:
            continue
        visited.add(node)
        if isinstance(getattr(node, "variable", None), nn.Parameter):
            return True
        pending += [following for following, _ in node.next_functions]
    return False


def _check_differentiable(parameters: Iterable[nn.Parameter]) -> None:
    """Raise a `DataError` if ``torch.inference_mode`` made a parameter: autograd then refuses the net for good."""
    if any(parameter.is_inference() for parameter in parameters):
        raise DataError(
            "the net was made inside torch.inference_mode, and nothing can be differentiated through it: make it "
            "outside, or copy its weights into one that was (new_net.load_state_dict(net.state_dict()))"
        )


def check_type(net: object, x: Tensor) -> None:
    """Raise a `DataError` where the net cannot be differentiated at x.

    Either x is of another floating-point type than the parameters, or these were made inside
    ``torch.inference_mode``, which takes gradients from them for good. A half-precision context (``torch.autocast``)
    and a `robustfw.interop.Adapter` cast by themselves, and a callable that is no module is not looked at.
    """
    if not isinstance(net, nn.Module):
        return
    parameters = list(net.parameters())
    _check_differentiable(parameters)
    if torch.is_autocast_enabled(x.device.type):
        return
    net_dtype = next((p.dtype for p in parameters if p.is_floating_point()), x.dtype)
    casts = any(isinstance(module, Adapter) for module in net.modules())
    if net_dtype != x.dtype and x.is_floating_point() and not casts:
        given = str(x.dtype).removeprefix("torch.")
        wanted = str(net_dtype).removeprefix("torch.")
        raise DataError(
            f"x is {given} and the net is {wanted}: give x.to(torch.{wanted}), net.to(torch.{given}), or "
            "robustfw.adapt(net)"
        )


def match_type(net: Any, x: Tensor) -> Any:
    """The net for examples of the floating-point type of x: a net of another type gets x in its own.

    The adversary works in the type of x, and the net sees x̃ rounded to its own, as it would any example. Outputs come
    back in float32 at least.

    Args:
        net: a net, or any callable, which is left as it is.
        x: examples.

    Raises:
        DataError: the net was made inside ``torch.inference_mode``.
    """
    if not isinstance(net, nn.Module):
        return net
    parameters = list(net.parameters())
    _check_differentiable(parameters)
    if torch.is_autocast_enabled(x.device.type) or not x.is_floating_point():
        return net
    net_dtype = next((p.dtype for p in parameters if p.is_floating_point()), x.dtype)
    if net_dtype == x.dtype:
        return net

    def forward_in_type_of_net(x: Tensor) -> Any:
        outputs = net(x.to(net_dtype))
        if isinstance(outputs, Tensor) and outputs.is_floating_point():
            outputs = outputs.to(torch.promote_types(outputs.dtype, torch.float32))
        return outputs

    return forward_in_type_of_net


def leave_inference(tensor: Tensor) -> Tensor:
    """The tensor itself, or a copy that autograd takes if ``torch.inference_mode`` made it."""
    if not tensor.is_inference():
        return tensor
    with torch.inference_mode(mode=False):
        return tensor.clone()
