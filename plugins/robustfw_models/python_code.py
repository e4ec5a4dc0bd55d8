"""A function or a net by its place: module:name or file.py:name."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from robustfw import DataSpec, RobustfwError, UsageError
from robustfw_models.fitting import first_line

ADVICE = "write python:package.module:name or python:file.py:name"


def build(place: str, arguments: Mapping[str, Any], spec: DataSpec) -> nn.Module:
    """The net at a place, or the one that the function there returns.

    Args:
        place: ``module:name`` or ``file.py:name``.
        arguments: for the function, by name.
        spec: the data's, which a function with a parameter of that name is given; ``num_classes`` is its outputs.

    Raises:
        UsageError: there is no such place, what is there gives no net, or it does not take the arguments.
    """
    module_name, name = _split(place)
    with _importable(module_name):
        module = _import(module_name)
        found: Any = module
        for part in name.split("."):
            found = getattr(found, part, None)
        if found is None:
            raise UsageError(
                f"{module_name} has no {name!r}: {_list_callables(module)}"
            )
        if isinstance(found, nn.Module):
            if arguments:
                raise UsageError(
                    f"{place} is a net, which takes no arguments: leave out {', '.join(arguments)}"
                )
            return found
        if not callable(found):
            raise UsageError(
                f"{place} is {type(found).__name__}, neither a function nor a net: {ADVICE}"
            )
        return _call(found, place, arguments, spec)


def _call(
    function: Any, place: str, arguments: Mapping[str, Any], spec: DataSpec
) -> nn.Module:
    """The net that a function returns."""
    given = dict(arguments)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some functions in C have none
        signature = None
    if signature is not None:
        known = {"spec": spec, "num_classes": spec.outputs}
        for name, value in known.items():
            if name in signature.parameters:
                given.setdefault(name, value)
        try:
            signature.bind(**given)
        except TypeError as error:
            raise UsageError(f"{place} is called as {signature}: {error}") from error
    try:
        net = function(**given)
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


def files(place: str) -> tuple[Path, ...]:
    """The file with the code of a place; none for what is compiled, or not there."""
    module_name, _ = _split(place)
    if module_name.endswith(".py"):
        return (Path(module_name),)
    with _importable(module_name):
        try:
            found = importlib.util.find_spec(module_name)
        except (ImportError, ValueError):
            return ()
    if found is None or not found.has_location or found.origin is None:
        return ()
    return (Path(found.origin),)


def _split(place: str) -> tuple[str, str]:
    """The module or file, and the name in it."""
    module_name, _, name = place.rpartition(":")
    if not module_name or not name:
        raise UsageError(f"{place!r} names nothing in a module: {ADVICE}")
    return module_name, name


@contextlib.contextmanager
def _importable(module_name: str) -> Iterator[None]:
    """Within it the file's folder, or the current one, is searched for modules."""
    folder = Path.cwd()
    if module_name.endswith(".py"):
        folder = Path(module_name).absolute().parent
    before = list(sys.path)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path[:] = before


def _import(module_name: str) -> Any:
    """The module, imported."""
    is_file = module_name.endswith(".py")
    if is_file and not Path(module_name).is_file():
        raise UsageError(f"there is no file {module_name}: {ADVICE}")
    try:
        return (
            _import_file(Path(module_name))
            if is_file
            else importlib.import_module(module_name)
        )
    except ModuleNotFoundError as error:
        if error.name is not None and module_name.startswith(error.name):
            raise UsageError(f"there is no module {module_name!r}: {ADVICE}") from error
        raise UsageError(
            f"{module_name} could not be imported: {first_line(error)}"
        ) from error
    except (Exception, SystemExit) as error:  # a stranger's code may raise anything
        raise UsageError(
            f"{module_name} could not be imported, {type(error).__name__}: {first_line(error)}"
        ) from error


def _import_file(path: Path) -> Any:
    """The module of a file, under a name that no installed module has."""
    digest = hashlib.sha256(str(path.absolute()).encode()).hexdigest()[:8]
    name = f"{path.stem}_{digest}"
    found = importlib.util.spec_from_file_location(name, path)
    if found is None or found.loader is None:
        raise ImportError(f"{path} is no file of Python code")
    module = importlib.util.module_from_spec(found)
    # classes of the file look themselves up there
    sys.modules[name] = module
    found.loader.exec_module(module)
    return module


def _list_callables(module: Any) -> str:
    """What of a module might be meant, for a message."""
    names = []
    for name, value in vars(module).items():
        is_own = getattr(value, "__module__", None) == module.__name__
        if not name.startswith("_") and (
            isinstance(value, nn.Module) or (callable(value) and is_own)
        ):
            names.append(name)
    return f"it has {', '.join(names[:10])}" if names else ADVICE
