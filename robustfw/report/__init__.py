"""The report: one HTML file with figures, of runs and what was measured of them. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from robustfw.report._figures import draw
from robustfw.report._folder import write_page
from robustfw.report._gather import gather
from robustfw.report._page import page

if TYPE_CHECKING:
    from robustfw.plugin.registry import Registry


def write(
    paths: Sequence[Path], out: Path | None = None, *, known: Registry | None = None
) -> Path:
    """Write the report of runs, transfer collections or a reproduction, and its figures beside it.

    Args:
        paths: Directories; see `robustfw.report._gather.gather`.
        out: The HTML file. Without it, ``report.html`` in the only directory, or here if there are several.
        known: The registry whose kinds of results are shown; the installed plugins' without it.

    Returns:
        The HTML file.

    Raises:
        RunError: there is no run, a file of it is damaged, or leads elsewhere, or the report cannot be written.
    """
    material = gather(paths, known)
    default = (paths[0] if len(paths) == 1 else Path()) / "report.html"
    file = out or default
    images = draw(material, file)
    html = page(
        material, images=images, paths=paths, out=None if file == default else file
    )
    write_page(file, html)
    return file
