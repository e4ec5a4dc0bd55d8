"""The base of interfaces that plugins bring: kinds of plugins beside those of the formula."""

from __future__ import annotations

from abc import ABC
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from robustfw.testing.laws import Law


class Interface(ABC):
    """The base class of an interface that a plugin defines, which is then a kind of plugins.

    Any plugin may register classes that implement it, by ``add(name, cls)``. An option annotated with the interface
    takes their specs: ``tangent:basis=(knn-pca:n_components=8)``.
    """

    kind: ClassVar[str]
    """The name of the kind, as in ``robustfw show KIND NAME``."""

    @classmethod
    def laws(cls) -> tuple[Law, ...]:
        """The laws that every class of this kind must obey; the contract kit runs them. By default there are none."""
        return ()


def interface_of(cls: type) -> type[Interface] | None:
    """The plugin-defined interface of a class: the base of it that derives directly from `Interface`, or None."""
    for base in cls.__mro__:
        if Interface in base.__bases__:
            return base
    return None
