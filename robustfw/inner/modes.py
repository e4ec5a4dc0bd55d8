"""How a net is run: modes of its modules and precision, for passes that must not show in it afterwards."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import nn


@contextlib.contextmanager
def modes_kept(modules: list[nn.Module]) -> Iterator[None]:
    """Whatever modes these are put into meanwhile, they come back as they were, each its own."""
    flags = [_flag(module) for module in modules]
    try:
        yield
    finally:
        for module, training in zip(modules, flags, strict=True):
            if training is not None and module.training != training:
                _put(module, training=training)


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """All modules in evaluation mode; parameters stay differentiable.

    Batch norm normalises by its running statistics and writes none, so that rows are independent; dropout is off. What
    is differenced or differentiated is one function.
    """
    modules = list(model.modules())
    with modes_kept(modules):
        switch_to_evaluation(model, modules)
        yield


def _flag(module: nn.Module) -> bool | None:
    """The training flag; None for a frozen script, which has none, and is in evaluation mode for good."""
    return getattr(module, "training", None)


def switch_to_evaluation(model: nn.Module, modules: list[nn.Module]) -> None:
    """``model.eval()``, for the modules that it is known to have."""
    if all(type(module).train is nn.Module.train and type(module).eval is nn.Module.eval for module in modules):
        for module in modules:
            if _flag(module):
                _put(module, training=False)
    elif _flag(model) is not None:  # custom train(), which may leave some batch norms as they are: call it
        model.eval()


def _put(module: nn.Module, *, training: bool) -> None:
    """A module's flag. To set it as an attribute takes seven times as long: torch looks for parameters of that name."""
    if type(module).__setattr__ is nn.Module.__setattr__:
        vars(module)["training"] = training
    else:
        module.training = training


def full_precision(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Matrix products in the type of their factors, also within a training in half precision."""
    if not torch.amp.is_autocast_available(device.type):
        return contextlib.nullcontext()
    return torch.autocast(device.type, enabled=False)


def half_precision(device: torch.device, *, enabled: bool) -> contextlib.AbstractContextManager[object]:
    """Matrix products in bf16, if enabled."""
    return torch.autocast(device.type, torch.bfloat16) if enabled else contextlib.nullcontext()
