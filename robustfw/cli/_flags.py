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
    flags = _flags(error.ctx)
    # 1. another name of a flag
    synonym = names.find_option(word, dict.fromkeys(flags, ()))
    if synonym is not None:
        return f"no such option {typed}: did you mean {flags[synonym]}?"

    # 2. an option of a plugin that a flag chooses
    owners = []
    for kind in registry.installed().kinds:
        owner = _find_owner(kind, word) if kind in flags else None
        if owner is not None:
            owners.append((kind, *owner))
    if owners:
        # what a training has by default is more likely meant than another kind's plugin
        kind, name, option = min(
            owners, key=lambda owner: owner[1] != _default_plugin(owner[0])
        )
        return f"no such option {typed}: {option} is an option of {flags[kind]}, {flags[kind]} {name}:{option}=…"

    # 3. a slip of the finger
    close = [flags[name] for name in names.find_close(word, flags)]
    if not close:
        return f"no such option {typed}"
    return f"no such option {typed}: did you mean {' or '.join(close)}?"


def _flags(context: click.Context | None) -> dict[str, str]:
    """The flags of a command, as they are typed, by their names without dashes."""
    if context is None:
        return {}
    flags = {}
    for parameter in context.command.get_params(context):
        if not isinstance(parameter, click.Option):
            continue
        for flag in parameter.opts:
            if flag.startswith("--"):
                flags[flag.lstrip("-").replace("-", "_")] = flag
    return flags


def _default_plugin(kind: str) -> str:
    """The name of the plugin of a kind that a training has by default."""
    return str(DEFAULTS.get(kind, "")).partition(":")[0]


def _find_owner(kind: str, word: str) -> tuple[str, str] | None:
    """The plugin of a kind that has an option of that name, and the option; the default plugin is asked first."""
    default = _default_plugin(kind)
    entries = registry.installed().entries_of_kind(kind)
    for entry in sorted(entries, key=lambda entry: (entry.name != default, entry.name)):
        try:
            cls = entry.cls
        except PluginError:
            # what cannot be imported has no options to offer
            continue
        fields = {}
        for field in options.fields(cls):
            fields[options.name_of(field)] = options.aliases(field)
        option = names.find_option(word, fields)
        if option is not None:
            return entry.name, option
    return None
