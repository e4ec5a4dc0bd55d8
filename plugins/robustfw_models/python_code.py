"""The net that a function returns, or that is there, at a place: module:name or file.py:name."""

from __future__ import annotations

import copy
import importlib.util
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from robustfw import DataSpec, RobustfwError, UsageError
from robustfw.plugin.places import load_place, search_in, split_place
from robustfw_models.fitting import first_line


def build(place: str, arguments: Mapping[str, Any], spec: DataSpec) -> nn.Module:
    """The net at a place, or the one that the function there returns.

    Args:
        place: ``module:name`` or ``file.py:name``.
        arguments: for the function, by name.
        spec: the data's, which a function with a parameter of that name is given; ``num_classes`` is its outputs.

    Raises:
        UsageError: there is no such place, what is there gives no net, or it does not take the arguments.
    """
    target = load_place(place)
    if isinstance(target, nn.Module):
        if arguments:
            raise UsageError(
                f"{place} is a net, which takes no arguments: leave out {', '.join(arguments)}"
            )
        # the module keeps its own, whatever a training does
        return copy.deepcopy(target)
    if not callable(target):
        raise UsageError(
            f"{place} is {type(target).__name__}, neither a function nor a net: name a function that returns a net"
        )
    given = _complete(target, place, arguments, spec)
    try:
        with search_in(_folder(place)):
            net = target(**given)
    except RobustfwError:
        raise
    except Exception as error:  # a stranger's function may raise anything
        raise UsageError(
            f"{place} failed, {type(error).__name__}: {first_line(error)}"
        ) from error
    if not isinstance(net, nn.Module):
        raise UsageError(
            f"{place} returned {type(net).__name__}, and a torch.nn.Module is needed"
        )
    return net


def _complete(
    function: Any, place: str, arguments: Mapping[str, Any], spec: DataSpec
) -> dict[str, Any]:
    """The arguments, and those about the data that the function has parameters for.

    Raises:
        UsageError: the function does not take them.
    """
    given = dict(arguments)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some functions in C have none
        return given
    about_data = {"spec": spec, "num_classes": spec.outputs}
    for name, value in about_data.items():
        if name in signature.parameters:
            given.setdefault(name, value)
    try:
        signature.bind(**given)
    except TypeError as error:
        raise UsageError(f"{place} is called as {signature}: {error}") from error
    return given


def files(place: str) -> tuple[Path, ...]:
    """The file with the code of a place; none for what is compiled, or not there."""
    source, _ = split_place(place)
    if source.endswith(".py"):
        return (Path(source).expanduser(),)
    with search_in(_folder(place)):
        try:
            found = importlib.util.find_spec(source)
        except (ImportError, ValueError):
            return ()
    if found is None or not found.has_location or found.origin is None:
        return ()
    return (Path(found.origin),)


def _folder(place: str) -> Path:
    """Where a place's imports are searched first: the file's folder, or the current one."""
    source, _ = split_place(place)
    if source.endswith(".py"):
        return Path(source).expanduser().absolute().parent
    return Path.cwd()
