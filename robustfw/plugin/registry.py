"""The registry: which plugin classes there are, by kind and name, and where they come from."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any, Literal, overload

import pluggy

from robustfw import hookspecs
from robustfw.attack import Attack
from robustfw.dataset import Dataset
from robustfw.errors import UsageError
from robustfw.interface import interface_of
from robustfw.model import Model
from robustfw.objective import Objective, combine
from robustfw.plugin import _names as names
from robustfw.plugin import options
from robustfw.plugin._entries import Broken, Entry, Offers, list_broken, suggest_entries
from robustfw.plugin._hooks import call_only, check_hooks, explain_failure
from robustfw.plugin._kinds import KINDS as KINDS
from robustfw.plugin._recorder import Recorder
from robustfw.uncertainty import UncertaintySet


class Registry:
    """Plugins by kind and name. `installed` reads the entry points; tests hand modules to the constructor."""

    def __init__(
        self, plugins: Mapping[str, Any], distributions: Mapping[str, str] | None = None
    ) -> None:
        """Load plugins.

        Args:
            plugins: modules that implement hooks, by the plugin's name.
            distributions: name and version of the distribution behind each plugin, by the plugin's name.
        """
        self.entries: dict[tuple[str, str], Entry] = {}
        """Registered classes by kind and name."""
        self.kinds: dict[str, type] = dict(KINDS)
        """Interfaces by kind, those that plugins bring included."""
        self.broken: list[Broken] = []
        """Plugins that could not be loaded."""
        self._manager = pluggy.PluginManager("robustfw")
        self._manager.add_hookspecs(hookspecs)
        self._distributions = dict(distributions or {})
        for name, module in plugins.items():
            self._load(name, module)
        self._drop_unknown_kinds()

    @classmethod
    def installed(cls) -> Registry:
        """All plugins that the environment's distributions declare in the group ``robustfw``."""
        registry = cls({})
        points = metadata.entry_points(group="robustfw")
        for point in sorted(points, key=lambda point: point.name):
            if point.dist is not None:
                distribution = f"{point.dist.name} {point.dist.version}"
                registry._distributions[point.name] = distribution
            try:
                module = point.load()
            # a stranger's import must break nothing else
            except (Exception, SystemExit) as error:
                registry._report(point.name, error)
            else:
                registry._load(point.name, module)
        registry._drop_unknown_kinds()
        return registry

    def _drop_unknown_kinds(self) -> None:
        """Report classes that are given by their place, under a kind that no plugin has brought."""
        for key, entry in list(self.entries.items()):
            if entry.kind not in self.kinds:
                del self.entries[key]
                advice = names.suggest(entry.kind, self.kinds)
                reason = f"{entry.name!r} is of a kind {entry.kind!r}; {advice}"
                self.broken.append(Broken(entry.plugin, entry.distribution, reason))

    def _load(self, plugin: str, module: Any) -> None:
        """Register a plugin's classes; if any of its hooks fails, none of them."""
        offers = Offers(
            plugin=plugin,
            distribution=self.distribution(plugin),
            kinds=KINDS,
            interfaces=self.kinds,
        )
        try:
            self._manager.register(module, plugin)
            check_hooks(self._manager, module)
            register = call_only(self._manager, "robustfw_register", plugin)
            register(add=offers.add)
        # a stranger's hooks may raise anything
        except Exception as error:
            self._manager.unregister(name=plugin)
            self._report(plugin, error)
        else:
            for entry in offers.entries:
                self._enter(entry)

    def _report(self, plugin: str, error: BaseException) -> None:
        """Note that a plugin could not be loaded, and why."""
        reason = explain_failure(error)
        self.broken.append(Broken(plugin, self.distribution(plugin), reason))

    def _enter(self, entry: Entry) -> None:
        """Add an entry, and its kind if its plugin brings one.

        Raises:
            UsageError: another plugin has a kind or a class of that name.
        """
        interface = None
        if isinstance(entry.target, type):
            interface = interface_of(entry.target)
        if interface is None:
            known_interface = None
        else:
            known_interface = self.kinds.setdefault(entry.kind, interface)
        if known_interface is not interface:
            raise UsageError(
                f"{entry.plugin} ({entry.distribution}) brings a kind {entry.kind!r} of its own, and there is another "
                "of that name: uninstall one of the plugins"
            )
        other = self.entries.setdefault((entry.kind, entry.name), entry)
        if other is not entry:
            raise UsageError(
                f"two plugins offer the {entry.kind} {entry.name!r}: {other.plugin} ({other.distribution}) and "
                f"{entry.plugin} ({entry.distribution}); uninstall one of them"
            )

    def distribution(self, plugin: str) -> str:
        """Name and version of the distribution behind a plugin."""
        return self._distributions.get(plugin, "not installed")

    @property
    def hooks(self) -> Any:
        """pluggy's callers: ``registry.hooks.robustfw_record(record=…)``."""
        return self._manager.hook

    def callers(self, hook: str) -> dict[str, Any]:
        """Callers of a hook by plugin, one for each plugin that implements it, in the order of pluggy's calls."""
        implementations = getattr(self._manager.hook, hook).get_hookimpls()
        callers = {}
        for implementation in reversed(implementations):
            plugin = implementation.plugin_name
            callers[plugin] = call_only(self._manager, hook, plugin)
        return callers

    def modules(self) -> list[object]:
        """The plugins' modules, in the order of their entry points' names."""
        return [module for _, module in sorted(self._manager.list_name_plugin())]

    def entries_of_kind(self, kind: str) -> list[Entry]:
        """The entries of a kind, in the order of their names."""
        return [self.entries[key] for key in sorted(self.entries) if key[0] == kind]

    def kind(self, word: str) -> str:
        """The kind that a word means, without regard to case, ``_`` and ``-``.

        Raises:
            UsageError: there is none; the message lists the kinds.
        """
        kind = names.find(word, self.kinds)
        if kind is None:
            raise UsageError(
                f"there is no kind of plugin {options.cut(word)}; {names.suggest(word, self.kinds)}"
            )
        return kind

    def entry(self, kind: str, name: str) -> Entry:
        """The entry of that name or alias, without regard to case, ``_`` and ``-``.

        Raises:
            UsageError: there is none, or more than one; it lists the close names and the plugins that failed to load.
        """
        kind = self.kind(kind)
        entries = self.entries_of_kind(kind)
        # 1. by its own name
        own_name = names.find(name, [entry.name for entry in entries])
        if own_name is not None:
            return self.entries[kind, own_name]
        # 2. by an alias, which several plugins may declare
        word = names.normalize(name)
        matches = [
            entry for entry in entries if word in map(names.normalize, entry.aliases)
        ]
        if len(matches) == 1:
            return matches[0]
        if matches:
            listed = " and ".join(f"{entry.name} ({entry.plugin})" for entry in matches)
            raise UsageError(
                f"{name!r} is another name of {listed}: write one of these"
            )
        advice = suggest_entries(name, entries)
        raise UsageError(
            f"no {kind} named {options.cut(name)}; {advice}{list_broken(self.broken)}"
        )

    @overload
    def make(
        self, kind: Literal["uncertainty"], spec: UncertaintySet | options.Spec
    ) -> UncertaintySet: ...
    @overload
    def make(self, kind: Literal["attack"], spec: Attack | options.Spec) -> Attack: ...
    @overload
    def make(
        self, kind: Literal["objective"], spec: Objective | options.Spec | Sequence[Any]
    ) -> Objective: ...
    @overload
    def make(self, kind: Literal["model"], spec: Model | options.Spec) -> Model: ...
    @overload
    def make(
        self, kind: Literal["dataset"], spec: Dataset | options.Spec
    ) -> Dataset: ...
    @overload
    def make(self, kind: str, spec: Any) -> Any: ...

    def make(self, kind: str, spec: Any) -> Any:
        """The plugin object for a spec: ``"l1:radius=8"``, a mapping with ``use``, or the object itself.

        Objectives may be a list of these, or ``"[robust,vat]"``: a loss and penalties (see `combine`).

        Raises:
            UsageError: there is no such kind, plugin or option, or a value does not fit.
            PluginError: the plugin's class cannot be imported.
        """
        kind = self.kind(kind)
        if isinstance(spec, self.kinds[kind]):
            return spec
        if kind == "objective":
            if isinstance(spec, str) and spec.strip().startswith("["):
                spec = options.read_value(spec.strip())
            if isinstance(spec, list | tuple):
                return combine([self.make(kind, part) for part in spec])
        if not isinstance(spec, str | Mapping):
            raise UsageError(
                f'cannot make a plugin of kind {kind!r} from {options.cut(spec)}: give a spec like "name:key=value"'
            )
        entry, values = self._read(kind, spec)
        return self.reader.build(entry.cls, values, f"{kind} {entry.name}")

    def _read(self, kind: str, spec: options.Spec) -> tuple[Entry, dict[str, Any]]:
        """The plugin that a spec names, and the options that it gives."""
        if isinstance(spec, str):
            options.check_text(spec)
            name = spec.partition(":")[0].strip()
            if name.endswith(".py"):
                # a file of Python code is what the plugin named python reads
                name = "python"
                spec = f"{name}:{spec.strip()}"
            entry = self.entry(kind, name)
            known = [options.name_of(field) for field in options.fields(entry.cls)]
            first = options.positional(entry.cls)
            values = options.parse(spec, first=first, known=tuple(known))
            del values["use"]
            return entry, values
        values = options.expand_spec(spec)
        name = str(values.pop("use"))
        return self.entry(kind, name), values

    @functools.cached_property
    def reader(self) -> options.Reader:
        """The reader of options, for which this registry makes the plugins that options hold."""
        kind_of_base = {base: kind for kind, base in self.kinds.items()}
        return options.Reader(
            lambda base, spec: self.make(kind_of_base[base], spec), kind_of_base
        )

    def name_of(self, plugin: object) -> str:
        """The registered name of an object's class; ``module:class`` for one that nobody registered."""
        cls = type(plugin)
        for entry in self.entries.values():
            if entry.class_if_imported is cls:
                return entry.name
        return f"{cls.__module__}:{cls.__qualname__}"

    def record(self, value: Any, *, brief: bool = False) -> Any:
        """A value as TOML and JSON hold it: a plugin as a mapping that `make` takes back, a sum of them as a list.

        Equal plugins have equal records: a radius of 8/255 is ``"8/255"``, whether a shell or Python gave it.

        Args:
            value: a plugin, options, or what an option may hold.
            brief: leave out the options that have their defaults.
        """
        interfaces = tuple(self.kinds.values())
        recorder = Recorder(interfaces, name_of=self.name_of, brief=brief)
        return recorder.record(value)

    def spell(self, plugin: object, *, brief: bool = False) -> str:
        """Write a plugin in the grammar of specs; with ``brief``, only the options that differ from their defaults."""
        return options.spell(self.record(plugin, brief=brief))


@functools.cache
def installed() -> Registry:
    """The registry of the environment, read once."""
    return Registry.installed()
