"""The command line. Commands are thin: parse, call, hand the result to `robustfw.console`."""

from __future__ import annotations

import io
import signal
import sys
import traceback
import warnings
from typing import Any, NoReturn

import click
from click.exceptions import Abort, ClickException, Exit

import robustfw
from robustfw import failures, registry, torchrun
from robustfw.cli.analyze import analyze
from robustfw.cli.audit import audit
from robustfw.cli.check import check
from robustfw.cli.compare import compare
from robustfw.cli.craft import craft
from robustfw.cli.evaluate import evaluate
from robustfw.cli.plugins import plugins, show
from robustfw.cli.report import report
from robustfw.cli.reproduce import recipes, reproduce
from robustfw.cli.stopping import Stopped
from robustfw.cli.sweep import sweep
from robustfw.cli.train import train
from robustfw.errors import RobustfwError, RobustfwWarning, UsageError
from robustfw.files import printable


class _Commands(click.Group):
    """Commands whose errors are one sentence and an exit status: 2 for usage, 1 for failure, 130 after Ctrl-C."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (ClickException, Exit, Abort, BrokenPipeError):
            raise  # click knows what to do with these
        except KeyboardInterrupt as stop:
            click.echo("stopped", err=True)
            raise Exit(128 + signal.SIGINT) from stop
        except Stopped as stop:
            click.echo(str(stop), err=True, nl=bool(str(stop)))
            raise Exit(stop.exit_status) from stop
        except Exception as error:
            raise Exit(_report(error, debug=ctx.params["debug"])) from error


def _report(error: Exception, *, debug: bool) -> int:
    """Say in one line what went wrong; the exit status."""
    if debug:
        traceback.print_exception(error)
    known, message = failures.sentence(error), str(error)
    if known is not None:
        message = known
    elif isinstance(error, OSError):
        message = f"{error.filename}: {error.strerror}" if error.filename else error.strerror or message
    elif not isinstance(error, RobustfwError):  # a bug, here or in a plugin
        first = (message.splitlines() or [""])[0]
        message = f"{type(error).__name__}: {first} (unexpected: see robustfw --debug …)"
    click.echo(f"Error: {printable(' '.join(message.splitlines()))}", err=True)
    return error.exit_status if isinstance(error, RobustfwError) else 1


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(robustfw.__version__, prog_name="robustfw")
@click.option("--debug", is_flag=True, help="Show a traceback with errors.")
@click.pass_context
def cli(ctx: click.Context, debug: bool) -> None:
    """Train neural nets by robust optimization, and measure honestly what that bought.

    min over θ of Σ max over δ ∈ 𝒰(x) of J(θ, x + δ, y): data set, model, uncertainty set, attack and objective are
    plugins with names (robustfw plugins) and options (robustfw show KIND NAME), written name:key=value,key=value.
    """
    if ctx.invoked_subcommand != "train" and torchrun.follows():
        ctx.exit()  # the first of torchrun's processes measures and prints for all of them


PARTS = train, evaluate, audit, analyze, sweep, compare, craft, report, reproduce, recipes, plugins, show, check
for command in PARTS:
    cli.add_command(command)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run a command and exit with its status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    warnings.showwarning = _show_warning
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without δ shows ? instead of an error
    try:
        if not failures.has_directory():
            raise UsageError(failures.GONE)
        _add_plugin_commands()
    except RobustfwError as error:
        sys.exit(_report(error, debug="--debug" in arguments))
    cli.main(arguments, prog_name="robustfw", obj=arguments)


def _add_plugin_commands() -> None:
    """The commands that plugins bring; one that fails to bring them breaks nothing else."""
    for hook in registry.installed().hooks.robustfw_commands.get_hookimpls():
        try:
            hook.function(*[cli for _ in hook.argnames])
        except Exception as error:  # a stranger's code may raise anything
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            click.echo(f"Warning: the plugin {hook.plugin_name} could not add its commands: {reason}", err=True)


def _show_warning(message: Any, category: type[Warning], *_: Any, **__: Any) -> None:
    if issubclass(category, RobustfwWarning):
        click.echo(f"Warning: {message}", err=True)
