"""Parts of a recipe that remember earlier batches: their state goes into checkpoints."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

import attrs


class Stateful(ABC):
    """A second base for an objective, an attack, an update, a sampler or a data set whose work depends on its past.

    Its state is saved with each checkpoint and restored when a training is resumed, so that the resumed training is the
    uninterrupted one. Of several processes, the first one's state is saved.
    """

    @abstractmethod
    def state_dict(self) -> Mapping[str, Any]:
        """The state: tensors, and values that JSON can hold, by name."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state that `state_dict` gave."""


def stateful_parts(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The parts of a recipe, at any depth, that have a state, each with its path, such as ``attack.attack``.

    A part has a state if it derives from `Stateful`, or has both of its methods.
    """
    if _has_state(value):
        yield path, value
    for part_path, part in _list_parts(value, path):
        yield from stateful_parts(part, part_path)


def forgetful_parts(value: Any, path: str = "") -> Iterator[str]:
    """The paths of parts that hold something no checkpoint saves: fields that are neither options nor learnt."""
    if attrs.has(type(value)):
        fields = attrs.fields(type(value))
        unsaved = [
            field for field in fields if not field.init and field.default is not None
        ]
        if unsaved and not _has_state(value):
            yield path
    for part_path, part in _list_parts(value, path):
        yield from forgetful_parts(part, part_path)


def _list_parts(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """The members of a list or the options of a part, each with its path."""
    if isinstance(value, list | tuple):
        for index, part in enumerate(value):
            yield f"{path}.{index}", part
    elif attrs.has(type(value)):
        for field in attrs.fields(type(value)):
            if field.init:
                yield f"{path}.{field.name}".lstrip("."), getattr(value, field.name)


def _has_state(value: Any) -> bool:
    """Whether an object, not a class, has a state to save."""
    if isinstance(value, Stateful):
        return True
    has_methods = callable(getattr(value, "state_dict", None)) and callable(
        getattr(value, "load_state_dict", None)
    )
    return has_methods and not isinstance(value, type) and attrs.has(type(value))
