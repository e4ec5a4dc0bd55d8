"""Names that people type: matched without regard to case, ``_`` and ``-``, by aliases, and corrected where close."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

OPTION_ALIASES: dict[str, tuple[str, ...]] = {
    "eps": ("radius", "epsilon"),
    "epsilon": ("radius",),
    "lr": ("learning_rate",),
    "wd": ("weight_decay",),
    "step_size": ("step",),
    "stepsize": ("step",),
    "eps_iter": ("step",),
    "iters": ("steps", "iterations"),
    "iter": ("steps", "iterations"),
    "iterations": ("steps",),
    "n_iter": ("steps", "iterations"),
    "nb_iter": ("steps", "iterations"),
    "num_iter": ("steps", "iterations"),
    "max_iter": ("steps", "iterations"),
    "num_steps": ("steps",),
    "n_steps": ("steps",),
    "nb_epochs": ("epochs",),
    "num_epochs": ("epochs",),
    "n_epochs": ("epochs",),
    "rand_init": ("random_start",),
    "random_init": ("random_start",),
}
"""Other names that the field has for an option: the first of these that a plugin has, and only if it has none so named.

A plugin declares more by ``attrs.field(metadata={"aliases": ("eps",)})``.
"""


def plain(name: str) -> str:
    """A name without case, ``_``, ``-`` and blanks: ``L_inf`` and ``linf`` are one."""
    return re.sub(r"[-_\s]", "", name).casefold()


def find(name: str, known: Iterable[str]) -> str | None:
    """The known name that is meant: the very one, or the only one that differs by case, ``_`` and ``-`` alone."""
    names = list(known)
    if name in names:
        return name
    alike = [each for each in names if plain(each) == plain(name)]
    return alike[0] if len(alike) == 1 else None


def find_option(name: str, known: Mapping[str, Iterable[str]]) -> str | None:
    """The option that is meant, by its name, an alias that its plugin declares, or one that the field has for it.

    Args:
        name: what was typed.
        known: the aliases of each option, by its name.
    """
    by_name = find(name, known)
    if by_name is not None:
        return by_name
    for option, aliases in known.items():
        if plain(name) in {plain(alias) for alias in aliases}:
            return option
    for alias, options in OPTION_ALIASES.items():
        if plain(alias) == plain(name):
            return next((option for option in options if option in known), None)
    return None


def suggest(word: str, known: Iterable[str]) -> str:
    """The names that a slip of the finger makes of ``word``, or all of them."""
    names = sorted(set(known))
    close = find_close(word, names)
    return f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(names) or 'none'}"


def find_close(word: str, known: Iterable[str]) -> list[str]:
    """At most three names that a slip of the finger makes of ``word``, the nearest first."""
    close = sorted((distance, name) for name in known if (distance := _distance(word, name)) is not None)
    return [name for _, name in close[:3]]


def _distance(word: str, name: str) -> int | None:
    """How far a name is from a word; None where it is another word rather than a slip.

    Another first letter or another number is another thing (kmnist is not mnist, cifar100 not cifar10), and so are two
    changes in a word of five letters: fgsm is not lbfgs.
    """
    typed, there = plain(word), plain(name)
    if not typed or not there:
        return None
    numbers = re.findall(r"\d+", typed)
    if numbers and numbers != re.findall(r"\d+", there):
        return None
    if len(typed) >= 3 and (there.startswith(typed) or typed in re.split(r"[-_]", name.casefold())):
        return 1
    distance = _edits(typed, there)
    return distance if typed[0] == there[0] and distance <= min(2, len(typed) // 3) else None


def _edits(one: str, other: str) -> int:
    """Letters to insert, delete, replace or swap with their neighbour (Damerau; restricted distance)."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        before, last, row = row, before, [i]
        for j, there in enumerate(other, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != there))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == there:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
    return row[-1]
