"""Modes of a net's modules and precision, for passes that must leave no trace in the net."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import nn


@contextlib.contextmanager
def restore_modes(modules: list[nn.Module]) -> Iterator[None]:
    """Restore the training flag of each of the modules at the end of the context."""
    flags = [_training_flag(module) for module in modules]
    try:
        yield
    finally:
        for module, training in zip(modules, flags, strict=True):
            if training is not None and module.training != training:
                _set_training_flag(module, training=training)


@contextlib.contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put all modules in evaluation mode inside the context; parameters stay differentiable.

    Batch norm normalises by its running statistics and updates none, so that rows are independent; dropout is off. So
    finite differences and gradients are those of one fixed function.
    """
    modules = list(model.modules())
    with restore_modes(modules):
        switch_to_evaluation(model, modules)
        yield


def _training_flag(module: nn.Module) -> bool | None:
    """The training flag; None for a frozen TorchScript module, which has none and is always in evaluation mode."""
    return getattr(module, "training", None)


def switch_to_evaluation(model: nn.Module, modules: list[nn.Module]) -> None:
    """``model.eval()`` for a model whose modules have been listed already."""
    standard = all(
        type(module).train is nn.Module.train and type(module).eval is nn.Module.eval
        for module in modules
    )
    if standard:
        for module in modules:
            if _training_flag(module):
                _set_training_flag(module, training=False)
    elif _training_flag(model) is not None:
        # a custom train() or eval() may leave some batch norms as they are
        model.eval()


def _set_training_flag(module: nn.Module, *, training: bool) -> None:
    """Set a module's training flag, by its dictionary: ``module.training = …`` takes seven times as long."""
    if type(module).__setattr__ is nn.Module.__setattr__:
        vars(module)["training"] = training
    else:
        module.training = training


def full_precision(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """A context in which matrix products have the type of their factors: autocast is off on this kind of device."""
    if not torch.amp.is_autocast_available(device.type):
        return contextlib.nullcontext()
    return torch.autocast(device.type, enabled=False)


def half_precision(
    device: torch.device, *, enabled: bool
) -> contextlib.AbstractContextManager[object]:
    """A context of matrix products in bf16 if enabled; otherwise one that changes nothing."""
    if enabled:
        return torch.autocast(device.type, torch.bfloat16)
    return contextlib.nullcontext()
