"""f_θ: the interface of a model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Self

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from robustfw.data.spec import DataSpec
    from robustfw.data.splits import Split


class Model(ABC):
    """A recipe for a net; the net itself is a plain ``torch.nn.Module``.

    A subclass is a frozen attrs class whose fields are its options; every field has a default.
    """

    shapes: ClassVar[tuple[tuple[int, ...], ...] | None] = None
    """Shapes of one example with which the laws of `robustfw.testing` try the model; None: the kit's own shapes."""

    @property
    def files(self) -> tuple[Path, ...]:
        """Files that the net is built from, such as its code or its graph, whose hashes are recorded; by default none.

        Files that a checkpoint replaces, pretrained weights for instance, are not among them.
        """
        return ()

    @abstractmethod
    def build(self, spec: DataSpec) -> nn.Module:
        """A net that maps x, (batch, *spec.shape), in the data's own range, to outputs (batch, spec.outputs).

        Outputs have the form that the data's task takes: logits of classes, numbers. Standardisation is a layer of the
        net. Fresh weights come from torch's global generator, which the caller has seeded.
        """

    def build_untrained(self, spec: DataSpec) -> nn.Module:
        """A net with the layers of `build` whose weights a checkpoint is about to replace; by default that of `build`.

        Override it where the first weights are costly, such as a download: a saved run then opens without a network
        connection. The names and shapes in its ``state_dict``, and everything that is not in it, are those of `build`.
        """
        return self.build(spec)

    def fit(self, train: Split) -> Self:
        """The recipe fitted to the training examples, for first weights that depend on the data; by default itself.

        It is called under the rules of `robustfw.UncertaintySet.fit`. A net for a checkpoint is built from a recipe
        that is not fitted, so everything learnt must be in the net's ``state_dict``.
        """
        return self
