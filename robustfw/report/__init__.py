"""The report: one HTML file with figures, of runs and what was measured of them. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from robustfw.errors import RunError
from robustfw.report.figures import draw
from robustfw.report.gather import gather
from robustfw.report.page import page


def write(paths: Sequence[Path], out: Path | None = None) -> Path:
    """Write the report of runs, transfer collections or a reproduction, and its figures beside it; where it is.

    Args:
        paths: Directories; see `robustfw.report.gather.gather`.
        out: The HTML file. Without it, ``report.html`` in the only directory, or here if there are several.

    Raises:
        RunError: there is no run, a file of it is damaged, or the report cannot be written.
    """
    material = gather(paths)
    out = out or (paths[0] if len(paths) == 1 else Path()) / "report.html"
    images = draw(material, out.parent / "figures")
    html = page(material, images, paths, out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(html.encode("utf-8"))
    except OSError as error:
        raise RunError(f"cannot write {out}: {error.strerror}; choose another --out") from error
    return out
