"""The options of a class in words, as robustfw show prints them."""

from __future__ import annotations

from typing import Any

import attrs

from robustfw.plugin._fields import (
    aliases,
    default_of,
    fields,
    name_of,
)
from robustfw.plugin._option_types import (
    describe_type,
    help_text,
)
from robustfw.plugin._spelling import spell


@attrs.frozen
class Help:
    """One option as `robustfw show` prints it."""

    name: str
    type: str
    """The type in words, such as "a whole number"."""
    default: str
    """The default as a spec spells it, or "required"."""
    meaning: str
    """The help text of the option."""
    aliases: tuple[str, ...] = ()


def describe(cls: type, plain: Any) -> list[Help]:
    """The options of a class in words; ``plain`` turns a default into plain values (see `Registry.record`)."""
    options = []
    for field in fields(cls):
        option = Help(
            name=name_of(field),
            type=describe_type(field.type),
            default=_spell_default(field, plain),
            meaning=help_text(field.type),
            aliases=aliases(field),
        )
        options.append(option)
    return options


def _spell_default(field: attrs.Attribute[Any], plain: Any) -> str:
    """The default of an option in the grammar of specs, or "required"."""
    default = default_of(field)
    if default is attrs.NOTHING:
        return "required"
    return spell(plain(default))
