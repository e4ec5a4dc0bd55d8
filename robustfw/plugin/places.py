"""Places of Python objects, ``module:name`` or ``file.py:name``, from which models and data sets are taken."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from robustfw.errors import RobustfwError, UsageError
from robustfw.plugin._names import suggest

FORM = "write module:name, as in mypackage.nets:build, or file.py:name"
"""Advice on how a place is written, for messages."""


def load_place(text: str) -> object:
    """The object at a place: a name in a module, or in a Python file.

    A file's folder, or for a module the current directory, is searched for imports meanwhile. The code of the module
    runs, as it does in any import. A file is run once, and again only if it has changed since.

    Args:
        text: ``module:name`` or ``file.py:name``; the name may have dots, ``nets:Net.small``.

    Raises:
        UsageError: the text is no place, there is no such module, file or name, or the module cannot be run.
    """
    source, name = split_place(text)
    if source.endswith(".py"):
        module = _run_file(Path(source).expanduser())
    else:
        module = _import_module(source)
    target: object = module
    for part in name.split("."):
        if not hasattr(target, part):
            known = [word for word in vars(module) if not word.startswith("_")]
            raise UsageError(
                f"{source} has no {name!r}; {suggest(name.split('.')[0], known)}"
            )
        target = getattr(target, part)
    return target


def absolute_place(text: str) -> str:
    """The place with the path of a file relative to the current directory made absolute, if there is such a file.

    So a run opens from another directory. A place that names a module, or no file, stays as it is.
    """
    source, colon, name = text.rpartition(":")
    path = Path(source)
    if source.endswith(".py") and not path.is_absolute() and path.is_file():
        return f"{path.resolve()}{colon}{name}"
    return text


def split_place(text: str) -> tuple[str, str]:
    """The module or file of a place, and the name in it.

    Raises:
        UsageError: the text has not the form of a place.
    """
    source, _, name = text.rpartition(":")
    is_name = all(part.isidentifier() for part in name.split("."))
    is_module = all(part.isidentifier() for part in source.split("."))
    if not is_name or not (is_module or source.endswith(".py")):
        raise UsageError(f"{text!r} is no place of a Python object: {FORM}")
    return source, name


def _run_file(path: Path) -> ModuleType:
    """The module of a file, run under a name that no other module has.

    Raises:
        UsageError: there is no such file, or its code raises an error.
    """
    if not path.is_file():
        raise UsageError(f"there is no file {path}: {FORM}")
    path = path.resolve()
    content = path.read_bytes()
    digest = hashlib.sha256(str(path).encode() + b"\0" + content).hexdigest()
    name = f"robustfw_place_{path.stem}_{digest[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} cannot be read as Python: {FORM}")
    module = importlib.util.module_from_spec(spec)
    # dataclasses and pickle look for the module of a class here
    sys.modules[name] = module
    try:
        with search_in(path.parent), _explain_failure(str(path)):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _import_module(name: str) -> ModuleType:
    """A module by its dotted name; the current directory is searched first.

    Raises:
        UsageError: there is no such module, or its code raises an error.
    """
    try:
        with search_in(Path.cwd()), _explain_failure(name):
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"there is no module {error.name!r} here or among the installed packages: {FORM}"
        ) from error


@contextlib.contextmanager
def search_in(folder: Path) -> Iterator[None]:
    """Search a folder first for imports inside the context, as those within a function of a loaded file."""
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(str(folder))


@contextlib.contextmanager
def _explain_failure(source: str) -> Iterator[None]:
    """Turn what the code of a module raises into a `UsageError` that names the module."""
    try:
        yield
    except RobustfwError:
        raise
    # a stranger's code may raise anything, and end the program
    except (Exception, SystemExit) as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is not None and (
            source == missing or source.startswith(f"{missing}.")
        ):
            raise
        message = (str(error).splitlines() or [""])[0]
        raise UsageError(
            f"{source} cannot be run ({type(error).__name__}: {message}): mend it, or keep what is no definition under "
            'if __name__ == "__main__"'
        ) from error
