"""What a plugin registers under a name: a class, or the place of one that is imported when it is used."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Mapping, Sequence

import attrs

from robustfw.errors import PluginError
from robustfw.interface import interface_of


@attrs.frozen
class Entry:
    """A registered class."""

    kind: str
    name: str
    target: type | str
    """The class, or its place, ``module:Class``."""
    plugin: str
    distribution: str
    """Name and version of the distribution that brought it."""
    aliases: tuple[str, ...] = ()
    """Other names that find it; a record holds ``name``."""
    instead_of: tuple[str, ...] = ()
    """Names of what is not there, and for which this is the nearest that is."""
    summary: str = ""
    """What it is, where the class itself has not been imported."""
    interfaces: Mapping[str, type] = attrs.field(factory=dict, eq=False, repr=False)

    @property
    def cls(self) -> type:
        """The class; one given by its place is imported now.

        Raises:
            PluginError: the import fails, or what is there is no class of the kind.
        """
        if isinstance(self.target, type):
            return self.target
        module, _, name = self.target.partition(":")
        try:
            found = getattr(importlib.import_module(module), name)
        except (Exception, SystemExit) as error:  # a stranger's import may raise anything
            raise self._failure(f"{type(error).__name__}: {error}".splitlines()[0]) from error
        base = self.interfaces.get(self.kind, object)
        if not isinstance(found, type) or not issubclass(found, base):
            raise self._failure(f"{self.target} is no class derived from {base.__name__}")
        return found

    @property
    def about(self) -> str:
        """The plugin's summary of the class, or the first line of the docstring, for which the class is imported."""
        if self.summary:
            return self.summary
        try:
            docstring = self.cls.__doc__ or ""
        except PluginError as error:
            return str(error)
        return inspect.cleandoc(docstring).partition("\n")[0]

    @property
    def loaded(self) -> type | None:
        """The class, if its module has been imported."""
        if isinstance(self.target, type):
            return self.target
        module, _, name = self.target.partition(":")
        return getattr(sys.modules.get(module), name, None)

    def _failure(self, reason: str) -> PluginError:
        return PluginError(
            f"the plugin {self.plugin} ({self.distribution}) could not load the {self.kind} {self.name}: {reason}"
        )


@attrs.frozen
class Broken:
    """A plugin that could not be loaded."""

    plugin: str
    distribution: str
    reason: str


@attrs.frozen(eq=False)
class Offers:
    """What one plugin's hook offers by `add`, taken in whole or, if the hook fails, not at all."""

    plugin: str
    distribution: str
    kinds: Mapping[str, type]
    """Robustfw's own interfaces."""
    interfaces: Mapping[str, type]
    """These, and those that plugins bring: known in full when all are loaded."""
    entries: list[Entry] = attrs.field(factory=list, init=False)

    def add(
        self,
        name: str,
        target: type | str,
        /,
        *,
        kind: str | None = None,
        aliases: Sequence[str] = (),
        instead_of: Sequence[str] = (),
        summary: str = "",
    ) -> None:
        """Offer a class; see `robustfw.hookspecs.Add`."""
        if isinstance(target, str):
            if kind is None or not all(target.partition(":")):
                raise TypeError(f'{name!r} must be offered as add({name!r}, "module:Class", kind="…"), not {target!r}')
        else:
            own = kind_of(target, self.kinds) if isinstance(target, type) else None
            if own is None or kind not in (None, own):
                raise TypeError(f"{name!r} must be a class derived from exactly one of robustfw's interfaces")
            kind = own
        words = tuple(aliases), tuple(instead_of)
        self.entries.append(Entry(kind, name, target, self.plugin, self.distribution, *words, summary, self.interfaces))


def kind_of(cls: type, kinds: Mapping[str, type]) -> str | None:
    """The one kind whose interface a class is derived from; None if there is none, or more than one."""
    found = {kind for kind, base in kinds.items() if issubclass(cls, base)}
    own = interface_of(cls)
    if own is not None:
        found.add(own.kind)
    return found.pop() if len(found) == 1 else None
