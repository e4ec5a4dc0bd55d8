"""`robustfw report`: a page with tables and figures of runs."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(short_help="Write a page with tables and figures of runs.")
@click.argument(
    "paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="HTML file. [report.html in the run; here, if several]",
)
def report(paths: tuple[Path, ...], out: Path | None) -> None:
    """Write one HTML page of what runs are and what was measured of them, with figures; it loads nothing.

    Each PATH is the directory of a training, of a transfer collection, or of one reproduction. The figures also lie
    beside the page, in figures/, as PNG and PDF. A report that is there already is made anew.
    """
    from robustfw import console
    from robustfw.report import write

    page = write(paths, out)
    console.line(f"report: {page}")
