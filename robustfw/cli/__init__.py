"""The command line. Commands are thin: parse, call, hand the result to `robustfw.console`."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import click

import robustfw
from robustfw import registry
from robustfw.cli.check import check
from robustfw.cli.evaluate import evaluate
from robustfw.cli.plugins import plugins, show
from robustfw.cli.train import train
from robustfw.errors import RobustfwError, RobustfwWarning


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(robustfw.__version__, prog_name="robustfw")
@click.option("--debug", is_flag=True, help="Show a traceback with errors.")
def cli(debug: bool) -> None:
    """Train neural nets by robust optimization, and measure honestly what that bought.

    min over θ of Σ max over δ ∈ 𝒰(x) of J(θ, x + δ, y): data set, model, uncertainty set, attack and objective are
    plugins with names (robustfw plugins) and options (robustfw show KIND NAME), written name:key=value,key=value.
    """


for command in (train, evaluate, plugins, show, check):
    cli.add_command(command)


def main(arguments: list[str] | None = None) -> None:
    """Run a command; errors are one sentence and an exit status: 2 for usage, 1 for failure."""
    arguments = sys.argv[1:] if arguments is None else arguments
    warnings.showwarning = _show_warning
    try:
        registry.installed().hooks.robustfw_commands(cli=cli)
        cli.main(arguments, prog_name="robustfw")
    except RobustfwError as error:
        _fail(error, str(error), error.exit_status, arguments)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _fail(error, f"{where}{error.strerror or error}", 1, arguments)
    except Exception as error:  # a bug, here or in a plugin: say so, and keep the traceback for --debug
        _fail(error, f"{type(error).__name__}: {error} (unexpected: see robustfw --debug …)", 1, arguments)


def _fail(error: Exception, message: str, status: int, arguments: list[str]) -> None:
    if "--debug" in arguments:
        raise error
    click.echo(f"Error: {message}", err=True)
    sys.exit(status)


def _show_warning(message: Any, category: type[Warning], *_: Any, **__: Any) -> None:
    if issubclass(category, RobustfwWarning):
        click.echo(f"Warning: {message}", err=True)
