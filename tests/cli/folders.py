"""What is in a folder."""

from __future__ import annotations


def contents(folder):
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
