"""Nets and data that a program passes in as objects: as parts of a recipe, and in training."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from torch import nn

from robustfw.data._loader_stream import LoaderStream
from robustfw.data.convert import as_splits
from robustfw.data.spec import DataSpec
from robustfw.data.splits import Splits
from robustfw.dataset import Dataset
from robustfw.errors import UsageError
from robustfw.model import Model
from robustfw.records import Epoch, Record

if TYPE_CHECKING:
    from robustfw.training._session import Session


@final
class GivenModel(Model):
    """The recipe of a net that exists already, and is trained in place."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def build(self, spec: DataSpec) -> nn.Module:
        """The net itself."""
        return self.module


@final
class GivenDataset(Dataset):
    """A data set whose splits are in memory already."""

    def __init__(self, splits: Splits) -> None:
        self.splits = splits

    def load(self, root: Path) -> Splits:
        """The splits themselves."""
        return self.splits


def load_given(data: Any, options: dict[str, Any]) -> Any:
    """The data set of examples that a program has in any form; a data set, a spec or None as it is.

    Args:
        data: what `robustfw.train` was given.
        options: the options of the training; for a DataLoader, its batch size is added.

    Raises:
        UsageError: another batch size than the loader's is asked for.
    """
    is_spec = isinstance(data, str) or (isinstance(data, Mapping) and "use" in data)
    if data is None or isinstance(data, Dataset) or is_spec:
        return data
    splits = as_splits(data, stream=True)
    if isinstance(splits.train, LoaderStream):
        size = splits.train.batch_size
        if options.setdefault("batch_size", size) != size:
            raise UsageError(
                f"the loader's batches have {size} examples: leave out batch_size={options['batch_size']}"
            )
    return GivenDataset(splits)


def yield_records(session: Session, *, steps: bool) -> Iterator[Record]:
    """Yield the records that are asked for; at the end, give a net that was passed in its final weights."""
    with contextlib.closing(session.records()) as records:
        for record in records:
            if steps or isinstance(record, Epoch):
                yield record
    state = session.state
    # the net that is trained in place ends with the average, where there is one
    if isinstance(session.recipe.model, GivenModel) and state.average is not None:
        state.model.load_state_dict(state.weights())
    state.model.eval()
