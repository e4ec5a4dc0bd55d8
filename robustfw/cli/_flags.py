"""What is said of a flag that a command does not have."""

from __future__ import annotations

import click
from click.exceptions import NoSuchOption

from robustfw.errors import PluginError
from robustfw.plugin import _names as names
from robustfw.plugin import options, registry
from robustfw.training.recipe import DEFAULTS


def advise(error: NoSuchOption) -> str:
    """The flag or the option that was meant, in one sentence.

    ``--lr`` is --learning-rate; ``--eps`` is radius, an option of --uncertainty; a slip of the finger is mended.
    """
    typed = error.option_name
    word = typed.lstrip("-")
    there = _flags(error.ctx)
    meant = names.find_option(word, dict.fromkeys(there, ()))
    if meant is not None:
        return f"no such option {typed}: did you mean {there[meant]}?"
    owners = {kind: _owner(kind, word) for kind in registry.installed().kinds if kind in there}
    found = [(kind, *owner) for kind, owner in owners.items() if owner is not None]
    if found:
        # what a training has by default is more likely meant than another kind's plugin
        kind, name, option = min(found, key=lambda each: each[1] != _usual(each[0]))
        return f"no such option {typed}: {option} is an option of {there[kind]}, {there[kind]} {name}:{option}=…"
    close = [there[name] for name in names.find_close(word, there)]
    return f"no such option {typed}" + (f": did you mean {' or '.join(close)}?" if close else "")


def _flags(context: click.Context | None) -> dict[str, str]:
    """The flags of a command, as they are typed, by their names without dashes."""
    parameters = [] if context is None else context.command.get_params(context)
    typed = [flag for each in parameters if isinstance(each, click.Option) for flag in each.opts]
    return {flag.lstrip("-").replace("-", "_"): flag for flag in typed if flag.startswith("--")}


def _usual(kind: str) -> str:
    """The name of the plugin of a kind that a training has by default."""
    return str(DEFAULTS.get(kind, "")).partition(":")[0]


def _owner(kind: str, word: str) -> tuple[str, str] | None:
    """The plugin of a kind that has an option of that name, and the option: the usual plugin, if it has."""
    known, usual = registry.installed(), _usual(kind)
    for entry in sorted(known.entries_of_kind(kind), key=lambda entry: (entry.name != usual, entry.name)):
        try:
            cls = entry.cls
        except PluginError:
            continue  # what cannot be imported has no options to offer
        fields = {options.name_of(field): options.aliases(field) for field in options.fields(cls)}
        option = names.find_option(word, fields)
        if option is not None:
            return entry.name, option
    return None
