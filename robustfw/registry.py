"""The registry: which plugin classes there are, by kind and name, and where they come from."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from fractions import Fraction
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, overload

import attrs
import pluggy

from robustfw import hookspecs, options
from robustfw.attack import Attack
from robustfw.averaging import Averaging
from robustfw.dataset import Dataset
from robustfw.errors import UsageError
from robustfw.interface import interface_of
from robustfw.loss import Loss
from robustfw.model import Model
from robustfw.objective import Combined, Objective, combined
from robustfw.optim import Optimizer, Schedule
from robustfw.sampler import Sampler
from robustfw.task import Task
from robustfw.uncertainty import UncertaintySet
from robustfw.update import Update

KINDS: dict[str, type] = {
    "uncertainty": UncertaintySet,
    "attack": Attack,
    "objective": Objective,
    "model": Model,
    "dataset": Dataset,
    "loss": Loss,
    "task": Task,
    "optimizer": Optimizer,
    "schedule": Schedule,
    "update": Update,
    "sampler": Sampler,
    "averaging": Averaging,
}
"""The interfaces of the formula, and the engine's own; plugins may bring more (`robustfw.Interface`)."""


@attrs.frozen
class Entry:
    """A registered class."""

    kind: str
    name: str
    cls: type
    plugin: str
    distribution: str
    """Name and version of the distribution that brought it."""


@attrs.frozen
class Broken:
    """A plugin that could not be loaded."""

    plugin: str
    distribution: str
    reason: str


class Registry:
    """Plugins by kind and name. `installed` reads the entry points; tests hand modules to the constructor."""

    def __init__(self, plugins: Mapping[str, Any], distributions: Mapping[str, str] | None = None) -> None:
        """``plugins``: hook-implementing modules by name."""
        self.entries: dict[tuple[str, str], Entry] = {}
        self.kinds: dict[str, type] = dict(KINDS)
        self.broken: list[Broken] = []
        self._manager = pluggy.PluginManager("robustfw")
        self._manager.add_hookspecs(hookspecs)
        self._distributions = dict(distributions or {})
        for name, module in plugins.items():
            self._load(name, module)

    @classmethod
    def installed(cls) -> Registry:
        """All plugins that the environment's distributions declare in the group ``robustfw``."""
        registry = cls({})
        for point in sorted(metadata.entry_points(group="robustfw"), key=lambda point: point.name):
            if point.dist is not None:
                registry._distributions[point.name] = f"{point.dist.name} {point.dist.version}"
            try:
                module = point.load()
            except (Exception, SystemExit) as error:  # a stranger's import must break nothing else
                registry._report(point.name, error)
            else:
                registry._load(point.name, module)
        return registry

    def _load(self, plugin: str, module: Any) -> None:
        try:
            self._manager.register(module, plugin)
            self._check_hooks(module)
            others = [other for name, other in self._manager.list_name_plugin() if name != plugin]
            offered: list[Entry] = []
            self._manager.subset_hook_caller("robustfw_register", others)(
                add=lambda name, cls: offered.append(self._entry(plugin, name, cls))
            )
        except Exception as error:  # as above: its hooks may raise anything
            self._manager.unregister(name=plugin)
            self._report(plugin, error)
        else:
            for entry in offered:
                self._enter(entry)

    def _check_hooks(self, module: Any) -> None:
        """As pluggy's ``check_pending``, with the right names."""
        for caller in self._manager.get_hookcallers(module) or ():
            if not caller.has_spec() and not all(hook.optionalhook for hook in caller.get_hookimpls()):
                names = [name for name in vars(hookspecs) if name.startswith("robustfw_")]
                raise UsageError(f"no hook is called {caller.name}; {options.suggest(caller.name, names)}")

    def _report(self, plugin: str, error: BaseException) -> None:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        self.broken.append(Broken(plugin, self.distribution(plugin), reason))

    def _entry(self, plugin: str, name: str, cls: type) -> Entry:
        kinds = [kind for kind, base in KINDS.items() if isinstance(cls, type) and issubclass(cls, base)]
        own = interface_of(cls) if isinstance(cls, type) else None
        if own is not None:
            kinds.append(own.kind)
        if len(kinds) != 1:
            raise TypeError(f"{name!r} must be a class derived from exactly one of robustfw's interfaces")
        return Entry(kinds[0], name, cls, plugin, self.distribution(plugin))

    def _enter(self, entry: Entry) -> None:
        own = interface_of(entry.cls)
        if own is not None and self.kinds.setdefault(entry.kind, own) is not own:
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

    def modules(self) -> list[object]:
        """What the entry points name, by name of the entry point."""
        return [module for _, module in sorted(self._manager.list_name_plugin())]

    def of_kind(self, kind: str) -> list[Entry]:
        """The entries of a kind, by name."""
        return [self.entries[key] for key in sorted(self.entries) if key[0] == kind]

    def entry(self, kind: str, name: str) -> Entry:
        """The entry, or a `UsageError` that lists the close names and the plugins that failed to load."""
        if kind not in self.kinds:
            raise UsageError(f"there is no kind of plugin {kind!r}; {options.suggest(kind, self.kinds)}")
        if (kind, name) not in self.entries:
            message = f"no {kind} named {name!r}; {options.suggest(name, [e.name for e in self.of_kind(kind)])}"
            failed = "; ".join(f"{b.plugin} ({b.distribution}): {b.reason}" for b in self.broken)
            raise UsageError(message + (f" (plugins that failed to load: {failed})" if failed else ""))
        return self.entries[kind, name]

    @overload
    def make(self, kind: Literal["uncertainty"], spec: UncertaintySet | options.Spec) -> UncertaintySet: ...
    @overload
    def make(self, kind: Literal["attack"], spec: Attack | options.Spec) -> Attack: ...
    @overload
    def make(self, kind: Literal["objective"], spec: Objective | options.Spec | Sequence[Any]) -> Objective: ...
    @overload
    def make(self, kind: Literal["model"], spec: Model | options.Spec) -> Model: ...
    @overload
    def make(self, kind: Literal["dataset"], spec: Dataset | options.Spec) -> Dataset: ...
    @overload
    def make(self, kind: str, spec: Any) -> Any: ...

    def make(self, kind: str, spec: Any) -> Any:
        """The plugin object for a spec: ``"l1:radius=8"``, a mapping with ``use``, or the object itself.

        Objectives may be a list of these, or ``"[robust,vat]"``: a loss and penalties (see `combined`).
        """
        if kind in self.kinds and isinstance(spec, self.kinds[kind]):
            return spec
        if kind == "objective" and isinstance(spec, str) and spec.strip().startswith("["):
            spec = options.value_of(spec.strip())
        if kind == "objective" and isinstance(spec, list | tuple):
            return combined([self.make(kind, part) for part in spec])
        if not isinstance(spec, str | Mapping):
            raise UsageError(f'cannot make a plugin of kind {kind!r} from {spec!r}: give a spec like "name:key=value"')
        mapping = options.as_mapping(spec)
        entry = self.entry(kind, str(mapping.pop("use")))
        return self.reader.build(entry.cls, mapping, f"{kind} {entry.name}")

    @functools.cached_property
    def reader(self) -> options.Reader:
        """Reads options; fields that hold a plugin are made by this registry."""
        names = {base: kind for kind, base in self.kinds.items()}
        return options.Reader(lambda base, spec: self.make(names[base], spec), names)

    def name_of(self, plugin: object) -> str:
        """The registered name of an object's class; ``module:class`` for one that nobody registered."""
        cls = type(plugin)
        names = [entry.name for entry in self.entries.values() if entry.cls is cls]
        return names[0] if names else f"{cls.__module__}:{cls.__qualname__}"

    def record(self, value: Any) -> Any:
        """A plugin as a mapping that `make` takes back, a sum as a list, for TOML and JSON; other values made plain."""
        if isinstance(value, Combined):
            return self.record(value.parts)
        if attrs.has(type(value)):
            named = {"use": self.name_of(value)} if isinstance(value, tuple(self.kinds.values())) else {}
            return named | {
                field.alias or field.name: self.record(getattr(value, field.name))
                for field in options.fields(type(value))
            }
        if isinstance(value, list | tuple):
            return [self.record(part) for part in value]
        return str(value) if isinstance(value, Fraction | Path) else value

    def spell(self, plugin: object, *, brief: bool = False) -> str:
        """A plugin in the grammar of specs; ``brief``: only the options that are not as the class has them anyway."""

        def default(field: attrs.Attribute[Any]) -> Any:
            given: Any = field.default
            return given.factory() if isinstance(given, attrs.Factory) else given  # type: ignore[arg-type]

        def record(value: Any) -> Any:
            if isinstance(value, Combined):
                return record(value.parts)
            if isinstance(value, list | tuple):
                return [record(part) for part in value]
            if not (attrs.has(type(value)) and isinstance(value, tuple(self.kinds.values()))):
                return self.record(value)
            told = [f for f in options.fields(type(value)) if getattr(value, f.name) != default(f)]
            return {"use": self.name_of(value)} | {f.alias or f.name: record(getattr(value, f.name)) for f in told}

        return options.spell(record(plugin) if brief else self.record(plugin))


@functools.cache
def installed() -> Registry:
    """The registry of the environment, read once."""
    return Registry.installed()
