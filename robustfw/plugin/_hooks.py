"""pluggy's hooks: a check of the names that a plugin implements, and calls of a single plugin."""

from __future__ import annotations

from typing import Any

import pluggy

from robustfw import hookspecs
from robustfw.errors import UsageError
from robustfw.plugin import _names as names


def check_hooks(manager: pluggy.PluginManager, module: Any) -> None:
    """Raise a `UsageError` that lists the right names where a plugin implements a hook that does not exist."""
    for caller in manager.get_hookcallers(module) or ():
        all_optional = all(hook.optionalhook for hook in caller.get_hookimpls())
        if not caller.has_spec() and not all_optional:
            hooks = [name for name in vars(hookspecs) if name.startswith("robustfw_")]
            advice = names.suggest(caller.name, hooks)
            raise UsageError(f"no hook is called {caller.name}; {advice}")


def call_only(manager: pluggy.PluginManager, hook: str, plugin: str) -> Any:
    """The caller of one plugin's implementation of a hook.

    Args:
        manager: the plugins.
        hook: the hook's name.
        plugin: the plugin's name.
    """
    others = []
    for name, module in manager.list_name_plugin():
        if name != plugin:
            others.append(module)
    return manager.subset_hook_caller(hook, others)


def explain_failure(error: BaseException) -> str:
    """Why a plugin could not be loaded, in one line; pluggy's messages need all of theirs."""
    lines = f"{type(error).__name__}: {error}".splitlines()
    if isinstance(error, pluggy.PluginValidationError):
        return "; ".join(lines)
    return lines[0]
