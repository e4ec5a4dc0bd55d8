"""A door for kinds of plugins that robustfw does not know: interfaces that a plugin brings for its own options."""

from __future__ import annotations

from abc import ABC
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from robustfw.testing.laws import Law


class Interface(ABC):
    """What an interface of a plugin's own derives from: a kind beside those of the formula.

    Classes that implement it are registered by ``add(name, cls)`` as all others are, by anybody; an option annotated
    with the interface then takes their specs: ``tangent:basis=(knn-pca:dim=8)``.
    """

    kind: ClassVar[str]
    """The name of the kind, as in ``robustfw show KIND NAME``."""

    @classmethod
    def laws(cls) -> tuple[Law, ...]:
        """What everything of this kind must obey; the contract kit runs them."""
        return ()


def interface_of(cls: type) -> type[Interface] | None:
    """The interface that a class implements: the one of its bases that is derived from `Interface` directly."""
    return next((base for base in cls.__mro__ if Interface in base.__bases__), None)
