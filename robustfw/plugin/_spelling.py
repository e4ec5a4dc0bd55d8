"""Recorded values written in the grammar of specs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from robustfw.errors import UsageError
from robustfw.plugin._grammar import read_value


def spell(value: Any) -> str:
    """Write a recorded value in the grammar of specs; for a mapping, the inverse of `parse`."""
    if isinstance(value, Mapping):
        name = str(value["use"])
        options = {}
        for key, part in value.items():
            if key != "use":
                options[key] = part
        items = [f"{key}={_spell_part(part)}" for key, part in options.items()]
        if items:
            return f"{name}:{','.join(items)}"
        return name
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_spell_part, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "none"
    return str(value)


def _spell_part(value: Any) -> str:
    """Write a value beside others: specs in brackets, words that would be read as something else in quotes."""
    if isinstance(value, Mapping):
        return f"({spell(value)})"
    if isinstance(value, str):
        return quote(value)
    return spell(value)


def quote(word: str) -> str:
    """A word as `read_value` reads it back: in quotes where it must have them."""
    import json

    has_special_characters = re.search(r"[\s,()\[\]{}\"'=#\x00-\x1f\x7f]", word)
    if word and not has_special_characters:
        try:
            if read_value(word) == word:
                return word
        except UsageError:
            pass
    return json.dumps(word, ensure_ascii=False).replace("\x7f", "\\u007f")
