"""The command line. Commands are thin: parse, call, hand the result to `robustfw.console`."""

from __future__ import annotations

import io
import signal
import sys
import traceback
import warnings
from typing import Any, NoReturn

import click
from click.exceptions import Abort, ClickException, Exit, NoSuchOption, UsageError

from robustfw.cli._adopt import adopt
from robustfw.cli._analyze import analyze
from robustfw.cli._attack import attack
from robustfw.cli._audit import audit
from robustfw.cli._check import check
from robustfw.cli._compare import compare
from robustfw.cli._craft import craft
from robustfw.cli._evaluate import evaluate
from robustfw.cli._flags import advise
from robustfw.cli._plugins import plugins, show
from robustfw.cli._recipes import recipes
from robustfw.cli._report import report
from robustfw.cli._reproduce import reproduce
from robustfw.cli._stopping import Stopped
from robustfw.cli._sweep import sweep
from robustfw.cli._train import train
from robustfw.errors import RobustfwError, RobustfwWarning, RunError
from robustfw.plugin import registry
from robustfw.storage.files import printable
from robustfw.training import _failures as failures
from robustfw.training import _torchrun as torchrun
from robustfw.version import __version__


class _Commands(click.Group):
    """Commands whose errors are one sentence and an exit status: 2 for usage, 1 for failure, 130 after Ctrl-C."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except NoSuchOption as error:
            raise UsageError(advise(error), error.ctx) from error
        except (ClickException, Exit, Abort, BrokenPipeError):
            # click knows what to do with these
            raise
        except KeyboardInterrupt as stop:
            click.echo("stopped", err=True)
            raise Exit(128 + signal.SIGINT) from stop
        except Stopped as stop:
            click.echo(str(stop), err=True, nl=bool(str(stop)))
            raise Exit(stop.exit_status) from stop
        except (
            Exception
        ) as error:  # the last one that can say it in a sentence, and what to report
            raise Exit(_report(error, debug=ctx.params["debug"])) from error


def _report(error: Exception, *, debug: bool) -> int:
    """Say in one line what went wrong, and return the exit status."""
    if debug:
        traceback.print_exception(error)
    message, status = _sentence(error)
    click.echo(f"Error: {printable(' '.join(message.split()))}", err=True)
    return status


def _sentence(error: Exception) -> tuple[str, int]:
    """What went wrong, for people, and the exit status."""
    message = str(error)
    if isinstance(error, RobustfwError):
        return message, error.exit_status
    known_failure = failures.sentence(error)
    if known_failure is not None:
        return known_failure, 1
    if isinstance(error, OverflowError):
        return (
            f"a number is too large: {message} (give a smaller one; robustfw --debug … says where)",
            2,
        )
    if isinstance(error, OSError):
        return (
            f"{error.filename}: {error.strerror}"
            if error.filename
            else error.strerror or message,
            1,
        )
    # a bug, here or in a plugin
    first_line = (message.splitlines() or [""])[0]
    return (
        f"{type(error).__name__}: {first_line}{_blame(error)} (unexpected: see robustfw --debug …)",
        1,
    )


def _blame(error: Exception) -> str:
    """The plugin whose code an error arose in, or was called from last; nothing for an error of robustfw's own."""
    plugin_of_package = {}
    for entry in registry.installed().entries.values():
        if isinstance(entry.target, str):
            place = entry.target
        else:
            place = entry.target.__module__
        package = place.partition(":")[0].partition(".")[0]
        plugin_of_package[package] = (
            f", in the plugin {entry.plugin} ({entry.distribution})"
        )
    plugin_of_package.pop("robustfw", None)
    # from the call that failed outwards
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    for frame in reversed(frames):
        package = str(frame.f_globals.get("__name__")).partition(".")[0]
        if package in plugin_of_package:
            return plugin_of_package[package]
    return ""


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, prog_name="robustfw")
@click.option("--debug", is_flag=True, help="Show a traceback with errors.")
@click.pass_context
def cli(ctx: click.Context, debug: bool) -> None:
    """Train neural nets by robust optimization, and measure honestly what that bought.

    min over θ of Σ max over δ ∈ 𝒰(x) of J(θ, x + δ, y): data set, model, uncertainty set, attack and objective are
    plugins with names (robustfw plugins) and options (robustfw show KIND NAME), written name:key=value,key=value.
    """
    if ctx.invoked_subcommand != "train" and torchrun.follows():
        # the first of torchrun's processes measures and prints for all of them
        ctx.exit()


PARTS = (
    train,
    adopt,
    evaluate,
    audit,
    analyze,
    sweep,
    compare,
    craft,
    attack,
    report,
    reproduce,
    recipes,
    plugins,
    show,
    check,
)
for command in PARTS:
    cli.add_command(command)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run a command and exit with its status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if any("\0" in argument for argument in arguments):
        click.echo(
            "Error: there is a NUL character in an argument: no name, number or path has one",
            err=True,
        )
        sys.exit(2)
    warnings.showwarning = _show_warning
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # a terminal without δ shows ? instead of an error
            stream.reconfigure(errors="replace")
    try:
        if not failures.has_directory():
            raise RunError(failures.GONE)
        _add_plugin_commands()
    except RobustfwError as error:
        sys.exit(_report(error, debug="--debug" in arguments))
    cli.main(arguments, prog_name="robustfw", obj=arguments)


def _add_plugin_commands() -> None:
    """Add the commands that plugins bring; one that fails to bring them breaks nothing else."""
    for hook in registry.installed().hooks.robustfw_commands.get_hookimpls():
        try:
            hook.function(*[cli for _ in hook.argnames])
        except Exception as error:
            # a stranger's code may raise anything
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            click.echo(
                f"Warning: the plugin {hook.plugin_name} could not add its commands: {reason}",
                err=True,
            )


def _show_warning(message: Any, category: type[Warning], *_: Any, **__: Any) -> None:
    if issubclass(category, RobustfwWarning):
        click.echo(f"Warning: {message}", err=True)
