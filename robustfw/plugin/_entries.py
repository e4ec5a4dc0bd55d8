"""What a plugin registers under a name: a class, or the place of one that is imported when it is used."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterable, Mapping, Sequence

import attrs

from robustfw.errors import PluginError
from robustfw.interface import interface_of
from robustfw.plugin._names import find_close, normalize, suggest


@attrs.frozen
class Entry:
    """A registered class."""

    kind: str
    """The name of its interface, such as "attack"."""
    name: str
    """What specs and records call it."""
    target: type | str
    """The class, or its place, ``module:Class``."""
    plugin: str
    """The plugin that registered it, by the name of its entry point."""
    distribution: str
    """Name and version of the distribution that brought it."""
    aliases: tuple[str, ...] = ()
    """Other names that find it; a record holds ``name``."""
    instead_of: tuple[str, ...] = ()
    """Names of things that are not offered, whose users are pointed here."""
    summary: str = ""
    """One line that says what it is; where it is empty, the class is imported for its docstring."""
    interfaces: Mapping[str, type] = attrs.field(factory=dict, eq=False, repr=False)
    """The interface of each kind, which the class must be derived from."""

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
            cls = getattr(importlib.import_module(module), name)
        except (
            Exception,
            SystemExit,
        ) as error:  # a stranger's import may raise anything
            raise self._failure(
                f"{type(error).__name__}: {error}".splitlines()[0]
            ) from error
        base = self.interfaces.get(self.kind, object)
        if not isinstance(cls, type) or not issubclass(cls, base):
            raise self._failure(
                f"{self.target} is no class derived from {base.__name__}"
            )
        return cls

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
    def class_if_imported(self) -> type | None:
        """The class, if its module has been imported; None otherwise."""
        if isinstance(self.target, type):
            return self.target
        module, _, name = self.target.partition(":")
        return getattr(sys.modules.get(module), name, None)

    def _failure(self, reason: str) -> PluginError:
        """The error for a class that cannot be imported."""
        return PluginError(
            f"the plugin {self.plugin} ({self.distribution}) could not load the {self.kind} {self.name}: {reason}"
        )


@attrs.frozen
class Broken:
    """A plugin that could not be loaded."""

    plugin: str
    """The name of its entry point."""
    distribution: str
    """Name and version of the distribution that brought it."""
    reason: str
    """The error, in one line."""


@attrs.frozen(eq=False)
class Offers:
    """The classes that one plugin's hook offers by `add`: all of them are taken or, if the hook fails, none."""

    plugin: str
    distribution: str
    kinds: Mapping[str, type]
    """Robustfw's own interfaces by kind."""
    interfaces: Mapping[str, type]
    """Robustfw's interfaces and those that plugins bring; complete when all plugins are loaded."""
    entries: list[Entry] = attrs.field(factory=list, init=False)
    """What has been offered so far."""

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
        """Offer a class by name, as `robustfw.hookspecs.Add` describes.

        Args:
            name: what specs and records call it.
            target: the class, or ``"module:Class"``.
            kind: the name of the kind; needed with ``"module:Class"``.
            aliases: other names that find it.
            instead_of: names of things that are not offered, whose users are pointed here.
            summary: one line that says what it is.

        Raises:
            TypeError: the kind is missing, or the class implements no interface, or more than one.
        """
        if isinstance(target, str):
            if kind is None or not all(target.partition(":")):
                raise TypeError(
                    f'{name!r} must be offered as add({name!r}, "module:Class", kind="…"), not {target!r}'
                )
        else:
            kind_of_class = (
                kind_of(target, self.kinds) if isinstance(target, type) else None
            )
            if kind_of_class is None or kind not in (None, kind_of_class):
                raise TypeError(
                    f"{name!r} must be a class derived from exactly one of robustfw's interfaces"
                )
            kind = kind_of_class
        entry = Entry(
            kind=kind,
            name=name,
            target=target,
            plugin=self.plugin,
            distribution=self.distribution,
            aliases=tuple(aliases),
            instead_of=tuple(instead_of),
            summary=summary,
            interfaces=self.interfaces,
        )
        self.entries.append(entry)


def kind_of(cls: type, kinds: Mapping[str, type]) -> str | None:
    """The one kind whose interface a class is derived from; None if there is none, or more than one."""
    kinds_of_class = {kind for kind, base in kinds.items() if issubclass(cls, base)}
    plugin_interface = interface_of(cls)
    if plugin_interface is not None:
        kinds_of_class.add(plugin_interface.kind)
    return kinds_of_class.pop() if len(kinds_of_class) == 1 else None


def suggest_entries(name: str, entries: Sequence[Entry]) -> str:
    """Advice for a message about a name that does not exist: what to write in its place."""
    word = normalize(name)
    nearest = [
        entry.name for entry in entries if word in map(normalize, entry.instead_of)
    ]
    if nearest:
        return f"what comes nearest here: {', '.join(nearest)}"
    all_names = {entry.name for entry in entries}
    for entry in entries:
        all_names.update(entry.aliases)
    close = find_close(name, all_names)
    return suggest(name, close or [entry.name for entry in entries])


def list_broken(plugins: Iterable[Broken]) -> str:
    """The plugins that failed to load, for the end of a message."""
    reasons = []
    for broken in plugins:
        reasons.append(f"{broken.plugin} ({broken.distribution}): {broken.reason}")
    if not reasons:
        return ""
    return f" (plugins that failed to load: {'; '.join(reasons)})"
