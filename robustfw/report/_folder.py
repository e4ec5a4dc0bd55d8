"""The files of a report: written whole, and never in the place of a file that is not the report's own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from robustfw.errors import RunError
from robustfw.results._reading import parse_json
from robustfw.storage.files import json_bytes, write_whole

LISTING = ".robustfw-report.json"
"""The file that lists, for each page, the figures that were written for it."""
NAME = re.compile(r"[a-z0-9][a-z0-9-]*\.(png|pdf)")
"""Names that a figure may have; others in the list are ignored."""


def write_page(out: Path, html: str) -> None:
    """Write the HTML file by a rename, which takes the place of a link instead of following it.

    Raises:
        RunError: it cannot be written.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.is_dir():
            raise IsADirectoryError(0, "it is a folder")
        write_whole(out, html.encode("utf-8"))
    except OSError as error:
        raise RunError(
            f"cannot write {out}: {error.strerror}; choose another --out"
        ) from error


class FigureFolder:
    """The folder of a page's figures, which may hold files of others.

    A file is the page's own if an earlier report of the same page listed it. Only such files are overwritten and
    removed; where a name is taken by another file, the figure gets another name.
    """

    def __init__(self, folder: Path, page: str) -> None:
        """Look at what is there.

        Args:
            folder: of the figures; it may not be there yet.
            page: the name of the HTML file.

        Raises:
            RunError: the folder is a link or a file.
        """
        self._folder = folder
        self._page = page
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            raise RunError(
                f"cannot write figures to {folder}, which is no folder: move it away or choose another --out"
            )
        self._listed = self._read_listing()

    def write(self, figures: Mapping[str, tuple[bytes, bytes]]) -> dict[str, str]:
        """Write figures in place of those of an earlier report of this page.

        Args:
            figures: PNG and PDF by the name that is asked for.

        Returns:
            The name that each was given.

        Raises:
            RunError: they cannot be written.
        """
        old_files = set(self._listed.get(self._page, ()))
        if not figures and not old_files:
            return {}
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            names = self._free_names(figures)
            files = {}
            for wanted, (png, pdf) in figures.items():
                files[f"{names[wanted]}.png"] = png
                files[f"{names[wanted]}.pdf"] = pdf
            # the list first: a file must not be left that no list knows
            self._write_listing(old_files | set(files))
            for name, content in files.items():
                write_whole(self._folder / name, content)
            for name in old_files - set(files):
                (self._folder / name).unlink(missing_ok=True)
            self._write_listing(set(files))
        except OSError as error:
            why = f"cannot write figures to {self._folder}: {error.strerror}"
            raise RunError(f"{why}; choose another --out") from error
        return names

    def _free_names(self, figures: Mapping[str, tuple[bytes, bytes]]) -> dict[str, str]:
        """A free name for each that is asked for: itself, or itself with a number."""
        names: dict[str, str] = {}
        for wanted, pair in figures.items():
            number = 1
            name = wanted
            while (
                name in names.values()
                or (name != wanted and name in figures)
                or not self._is_free(name, pair)
            ):
                number += 1
                name = f"{wanted}-{number}"
            names[wanted] = name
        return names

    def _is_free(self, name: str, pair: tuple[bytes, bytes]) -> bool:
        """Whether nothing is lost by writing: no file, one of this page, or one with the same content."""
        own_files = self._listed.get(self._page, ())
        for ending, content in zip(("png", "pdf"), pair, strict=True):
            file = self._folder / f"{name}.{ending}"
            if file.name in own_files:
                continue
            if file.is_symlink():
                return False
            if file.exists() and not file.is_file():
                return False
            if file.exists() and file.read_bytes() != content:
                return False
        return True

    def _read_listing(self) -> dict[str, list[str]]:
        """The figures of each page; none where the list is missing, a link or not ours."""
        file = self._folder / LISTING
        if file.is_symlink() or not file.is_file():
            return {}
        try:
            value = parse_json(file.read_bytes())
        except (OSError, ValueError):
            return {}
        if not isinstance(value, dict):
            return {}
        listing = {}
        for page, names in value.items():
            if isinstance(names, list):
                listing[page] = [
                    name
                    for name in names
                    if isinstance(name, str) and NAME.fullmatch(name)
                ]
        return listing

    def _write_listing(self, names: set[str]) -> None:
        self._listed[self._page] = sorted(names)
        pages = {}
        for page in sorted(self._listed):
            if self._listed[page]:
                pages[page] = self._listed[page]
        write_whole(self._folder / LISTING, json_bytes(pages))
