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
"""Options that a name from the field may mean, in order: the first of them that a plugin has is taken.

The plugin's own names go first. A plugin declares more by ``attrs.field(metadata={"aliases": ("eps",)})``.
"""


def normalize(name: str) -> str:
    """A name in lower case without ``_``, ``-`` and blanks, so that ``L_inf`` and ``linf`` are equal."""
    return re.sub(r"[-_\s]", "", name).casefold()


def find(name: str, known: Iterable[str]) -> str | None:
    """The known name that is meant: the name itself, or the only one that differs from it in case, ``_`` and ``-``."""
    names = list(known)
    if name in names:
        return name
    matches = [
        known_name for known_name in names if normalize(known_name) == normalize(name)
    ]
    if len(matches) == 1:
        return matches[0]
    return None


def find_option(name: str, known: Mapping[str, Iterable[str]]) -> str | None:
    """The option that is meant, by its name, an alias that its plugin declares, or one that the field has for it.

    Args:
        name: what was typed.
        known: the aliases of each option, by its name.
    """
    # 1. its own name
    by_name = find(name, known)
    if by_name is not None:
        return by_name
    # 2. an alias that the plugin declares
    for option, aliases in known.items():
        if normalize(name) in map(normalize, aliases):
            return option
    # 3. a name that the field has for it
    for alias, options in OPTION_ALIASES.items():
        if normalize(alias) == normalize(name):
            return next((option for option in options if option in known), None)
    return None


def suggest(word: str, known: Iterable[str]) -> str:
    """Advice for a message: the known names that ``word`` may be a misspelling of, or else all of them."""
    names = sorted(set(known))
    close = find_close(word, names)
    if close:
        return f"did you mean {' or '.join(close)}?"
    listed = ", ".join(names) or "none"
    return f"known: {listed}"


def find_close(word: str, known: Iterable[str]) -> list[str]:
    """At most three known names that ``word`` may be a misspelling of, the nearest first."""
    close = []
    for name in known:
        distance = _distance(word, name)
        if distance is not None:
            close.append((distance, name))
    return [name for _, name in sorted(close)[:3]]


def _distance(word: str, name: str) -> int | None:
    """How many slips lie between a typed word and a name; None where it is another word rather than a misspelling.

    Another first letter or another number is another thing (kmnist is not mnist, cifar100 not cifar10), and so are two
    changes in a word of five letters: fgsm is not lbfgs.
    """
    typed = normalize(word)
    target = normalize(name)
    if not typed or not target:
        return None
    numbers = re.findall(r"\d+", typed)
    if numbers and numbers != re.findall(r"\d+", target):
        return None
    # the beginning of a name, or one of its words, counts as one slip
    words = re.split(r"[-_]", name.casefold())
    if len(typed) >= 3 and (target.startswith(typed) or typed in words):
        return 1
    edits = _count_edits(typed, target)
    most = min(2, len(typed) // 3)
    if typed[0] == target[0] and edits <= most:
        return edits
    return None


def _count_edits(one: str, other: str) -> int:
    """Letters to insert, delete, replace or swap with their neighbour (Damerau; restricted distance)."""
    # row[j] is the distance between the first i letters of one and the first j letters of the other
    row_above: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        row_two_above = row_above
        row_above = row
        row = [i]
        for j, other_letter in enumerate(other, 1):
            deletion = row_above[j] + 1
            insertion = row[j - 1] + 1
            replacement = row_above[j - 1] + (letter != other_letter)
            edits = min(deletion, insertion, replacement)
            # two neighbours that are swapped count as one edit
            if i > 1 and j > 1:
                last_two = one[i - 2 : i]
                other_last_two = other[j - 2 : j]
                if last_two == other_last_two[::-1]:
                    edits = min(edits, row_two_above[j - 2] + 1)
            row.append(edits)
    return row[-1]
