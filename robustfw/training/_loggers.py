"""Loggers: plugins that hear of a training's start, records and end. Their failures never end the training."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustfw.errors import RobustfwWarning

if TYPE_CHECKING:
    from robustfw.hookspecs import Outcome
    from robustfw.plugin.registry import Registry
    from robustfw.records import Record


class Loggers:
    """The plugins of a registry that implement ``robustfw_start``, ``robustfw_record`` or ``robustfw_end``.

    What a logger raises becomes a `RobustfwWarning` that names the plugin, once for each of its hooks; it is called
    again with the next record.
    """

    def __init__(
        self, registry: Registry, run: Path | None, *, first_process: bool = True
    ) -> None:
        """Find the loggers.

        Args:
            registry: where the plugins are.
            run: the run directory, None for a training that leaves none.
            first_process: whether this is the first of the training's processes; in others nothing is called.
        """
        self._registry = registry
        self._run = run
        hooks = ("robustfw_start", "robustfw_record", "robustfw_end")
        self._callers = {
            hook: registry.callers(hook) if first_process else {} for hook in hooks
        }
        self._failed: set[tuple[str, str]] = set()

    @contextlib.contextmanager
    def training(self, recipe: Mapping[str, Any]) -> Iterator[None]:
        """Call `start`, let the training run, and call `end` with its outcome.

        A generator that is closed early, Ctrl-C and an exit count as stopped; any other exception goes to the loggers
        and then on to the caller.
        """
        self.start(recipe)
        try:
            yield
        except Exception as error:  # whatever ends a training, loggers hear of it
            self.end(error)
            raise
        # GeneratorExit, KeyboardInterrupt, SystemExit
        except BaseException:
            self.end("stopped")
            raise
        self.end("finished")

    def start(self, recipe: Mapping[str, Any]) -> None:
        """Tell the loggers that a training begins."""
        self._call("robustfw_start", recipe=recipe)

    def record(self, record: Record) -> None:
        """Show the loggers one record."""
        self._call("robustfw_record", record=record)

    def end(self, outcome: Outcome) -> None:
        """Tell the loggers how the training ended."""
        self._call("robustfw_end", outcome=outcome)

    def _call(self, hook: str, **arguments: Any) -> None:
        """Call a hook of each logger; one that fails is warned of."""
        callers: dict[str, Callable[..., Any]] = self._callers[hook]
        for plugin, call in callers.items():
            try:
                call(run=self._run, **arguments)
            except Exception as error:  # a stranger's code may raise anything
                self._warn(plugin, hook, error)

    def _warn(self, plugin: str, hook: str, error: Exception) -> None:
        """Warn of a failure, the first time that this hook of this plugin fails."""
        if (plugin, hook) in self._failed:
            return
        self._failed.add((plugin, hook))
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        distribution = self._registry.distribution(plugin)
        warnings.warn(
            f"the plugin {plugin} ({distribution}) failed in {hook}: {reason}; the training goes on, and further "
            "failures there are not told",
            RobustfwWarning,
            stacklevel=2,
        )
