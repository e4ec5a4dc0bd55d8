"""Values of plugins and options as TOML and JSON hold them."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import attrs

from robustfw.objective import Combined
from robustfw.plugin import options
from robustfw.plugin._arrays import Array


@attrs.frozen
class Recorder:
    """How plugins become mappings, see `Registry.record`."""

    interfaces: tuple[type, ...]
    """The interfaces of all kinds: an instance of one of them is a plugin."""
    name_of: Callable[[object], str]
    """A plugin to its registered name."""
    brief: bool
    """Whether to leave out the options that have their defaults."""

    def record(self, value: Any) -> Any:
        """A plugin, options, or what an option may hold, as plain values."""
        if isinstance(value, Combined):
            return self.record(value.parts)
        if isinstance(value, Array):
            return value.record()
        if attrs.has(type(value)):
            return self._record_options(value)
        if isinstance(value, list | tuple):
            return [self.record(part) for part in value]
        if isinstance(value, Fraction):
            return options.ratio_or_float(value)
        if isinstance(value, Path):
            return str(value)
        return value

    def _record_options(self, value: Any) -> dict[str, Any]:
        """The options of an attrs object by name, its own name first if it is a plugin."""
        is_plugin = isinstance(value, self.interfaces)
        record: dict[str, Any] = {}
        if is_plugin:
            record["use"] = self.name_of(value)
        for field in options.fields(type(value)):
            option = getattr(value, field.name)
            if self.brief and is_plugin and option == options.default_of(field):
                continue
            if is_plugin:
                option = options.plain_numbers(option, field.type)
            name = options.name_of(field)
            record[name] = self.record(option)
        return record
