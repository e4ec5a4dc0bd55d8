"""f_θ: the interface of a model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Self

if TYPE_CHECKING:
    from torch import nn

    from robustfw.data.spec import DataSpec
    from robustfw.data.splits import Split


class Model(ABC):
    """A recipe for a net; the net itself is a plain ``torch.nn.Module``.

    A subclass is a frozen attrs class whose fields are its options; every field has a default.
    """

    shapes: ClassVar[tuple[tuple[int, ...], ...] | None] = None
    """Shapes of one example that the laws try, for a model that takes none of the usual ones; None: the kit's own."""

    @abstractmethod
    def build(self, spec: DataSpec) -> nn.Module:
        """A net from x of shape (batch, *spec.shape), in the data's own range, to outputs (batch, spec.outputs).

        Outputs are what the data's task takes: logits of classes, numbers. Standardisation is a layer of the net. Fresh
        weights come from torch's global generator, which the caller has seeded.
        """

    def build_untrained(self, spec: DataSpec) -> nn.Module:
        """A net of the layers of `build`, whose weights a checkpoint is about to replace.

        By default `build` itself. Override it where first weights cost something that the checkpoint makes needless,
        such as a download: a run then opens without a network. The names and shapes in its ``state_dict``, and all
        that is not in it, are those of `build`.
        """
        return self.build(spec)

    def fitted(self, train: Split) -> Self:
        """The recipe after a look at the training examples, as `robustfw.UncertaintySet.fitted`; by default itself.

        For first weights that depend on the data. Whoever loads a checkpoint builds the net without it: what was
        learnt must be in the net's ``state_dict``.
        """
        return self
