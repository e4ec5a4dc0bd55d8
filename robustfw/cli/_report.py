"""`robustfw report`: a page with tables and figures of runs."""

from __future__ import annotations

from pathlib import Path

import click

from robustfw.cli._foreign import NamedNet
from robustfw.errors import UsageError


@click.command(short_help="Write a page with tables and figures of runs.")
@click.argument("paths", metavar="[PATH]...", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--model",
    metavar="SPEC",
    help="A net of your own besides, or in the place of a PATH, with --dataset.",
)
@click.option("--dataset", metavar="SPEC", help="The data for --model.")
@click.option("--weights", metavar="FILE", help="The file of weights for --model.")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    help="Where data files are. [ROBUSTFW_DATA]",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="HTML file. [report.html in the run; here, if several]",
)
def report(
    paths: tuple[Path, ...],
    model: str | None,
    dataset: str | None,
    weights: str | None,
    data_dir: Path | None,
    out: Path | None,
) -> None:
    """Write one HTML page of what runs are and what was measured of them, with figures; it loads nothing.

    Each PATH is the directory of a training, of a transfer collection, or of one reproduction. The figures also lie
    beside the page, in figures/, as PNG and PDF. A report that is there already is made anew.
    """
    from robustfw import console
    from robustfw.report import write

    if model is None and (dataset is not None or weights is not None):
        raise UsageError("--dataset and --weights go with --model: a run has its own")
    if not paths and model is None:
        raise UsageError(
            "there is nothing to report: name the directory of a run, or a net of your own by --model and --dataset"
        )
    if model is not None:
        named = NamedNet(
            model=model,
            dataset=dataset,
            weights=weights,
            device="auto",
            threads=None,
            data_dir=data_dir,
            quiet=False,
        )
        paths = (*paths, named.adopt())
    page = write(paths, out)
    console.line(f"report: {page}")
