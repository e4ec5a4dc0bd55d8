"""Examples that other libraries hold: rows of a torch or a datasets.Dataset, and the batches of a DataLoader."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Mapping
from typing import Any, final

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, RandomSampler, SequentialSampler
from torch.utils.data import Dataset as TorchDataset

from robustfw.data._loaded import LoadedSplit
from robustfw.data._split import Batch, Split, TensorSplit
from robustfw.data.values import as_tensor
from robustfw.errors import DataError

EXAMPLE_NAMES = (
    "x", "image", "img", "pixel_values", "images", "input", "inputs", "features", "data",
)  # fmt: skip
"""Names under which rows and batches hold an example, in the order in which they are looked for."""
TARGET_NAMES = (
    "y", "label", "labels", "target", "targets", "class", "fine_label", "coarse_label",
)  # fmt: skip
"""Names under which rows and batches hold a target."""
SAMPLED = 64
"""Number of rows that the hash of a data set read as needed is made of."""


@final
class Rows(TorchDataset[Batch]):
    """The rows of a map-style data set as (x, target), x floating point with channels first.

    Args:
        source: has a length and gives rows by index: pairs, or mappings.
        example: name of the example in a row that is a mapping; None: a usual one.
        target: name of the target in a row that is a mapping; None: a usual one.
    """

    def __init__(
        self, source: Any, example: str | None = None, target: str | None = None
    ) -> None:
        self.source = source
        self.example = example
        self.target = target

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Batch:
        x, y = pick_pair(self.source[index], self.example, self.target)
        return read_example(x), as_tensor(y, "a target")


def pick_pair(
    row: Any, example: str | None = None, target: str | None = None
) -> tuple[Any, Any]:
    """The example and the target of a row or a batch that is a pair or a mapping; what else it holds is left.

    Args:
        row: the row, or the batch.
        example: name of the example in a mapping; None: a usual one.
        target: name of the target in a mapping; None: a usual one.

    Raises:
        DataError: it has no two parts, or no part of such a name.
    """
    if isinstance(row, Mapping):
        return _pick(row, example, EXAMPLE_NAMES, "example"), _pick(
            row, target, TARGET_NAMES, "target"
        )
    if isinstance(row, list | tuple) and len(row) >= 2:
        return row[0], row[1]
    raise DataError(
        f"a row of the data is a {type(row).__name__}: rows are (x, y), or a mapping with names such as x and y"
    )


def _pick(
    row: Mapping[str, Any], name: str | None, usual: tuple[str, ...], role: str
) -> Any:
    """The part of a row by its name, or by the first of the usual names that it has."""
    names = usual if name is None else (name,)
    for candidate in names:
        if candidate in row:
            return row[candidate]
    raise DataError(
        f"rows have {', '.join(map(str, row))}, and none of these is the {role} ({', '.join(names)}): name it, or give "
        "rows (x, y)"
    )


def read_example(value: Any) -> Tensor:
    """An example as a floating-point tensor: pictures with channels first, bytes as shares of 255."""
    if hasattr(value, "getbands"):
        # a picture as PIL has it: palettes, masks and transparency become grey or colours
        grey = len(value.getbands()) == 1 and value.mode != "P"
        pixels = np.array(value.convert("L" if grey else "RGB"))
        picture = torch.from_numpy(pixels)
        value = picture[None] if grey else picture.permute(2, 0, 1)
    x = as_tensor(value, "an example")
    if x.dtype == torch.uint8:
        return x.float() / 255
    return x if x.is_floating_point() and x.dtype != torch.float64 else x.float()


def lazy_split(
    source: Any,
    *,
    workers: int = 0,
    example: str | None = None,
    target: str | None = None,
) -> LoadedSplit:
    """The split of a map-style data set, whose rows are read when they are asked for.

    Args:
        source: has a length and gives rows by index.
        workers: processes that read.
        example: name of the example in a row that is a mapping; None: a usual one.
        target: name of the target in a row that is a mapping; None: a usual one.
    """
    rows = Rows(source, example, target)
    return LoadedSplit(rows, _identity(rows), workers)


def _identity(rows: Rows) -> str:
    """A text that tells data sets apart: their length, and a hash of rows spread over them."""
    count = len(rows)
    digest = hashlib.sha256()
    stride = max(1, count // SAMPLED)
    for index in range(0, count, stride):
        for part in rows[index]:
            digest.update(part.contiguous().numpy().tobytes())
    return f"{count} examples {digest.hexdigest()}"


def read_rows(rows: Iterable[Any], examples: int | None) -> TensorSplit:
    """The rows of an iterable data set in memory, to its end or the first so many."""
    xs = []
    ys = []
    for row in itertools.islice(rows, examples):
        x, y = pick_pair(row)
        xs.append(read_example(x))
        ys.append(as_tensor(y, "a target"))
    if not xs:
        raise DataError("the data set gave not one example")
    return TensorSplit(_stack(xs), torch.stack(ys))


def _stack(examples: list[Tensor]) -> Tensor:
    """Examples of one shape as a batch."""
    shapes = sorted({tuple(x.shape) for x in examples})
    if len(shapes) > 1:
        raise DataError(
            f"examples have different shapes, {shapes[0]} and {shapes[1]}: bring them to one, by a transform or size=…"
        )
    return torch.stack(examples)


def loader_split(loader: DataLoader[Any], examples: int | None) -> Split:
    """The examples of a DataLoader, for a measurement.

    With torch's own sampler and collation, rows are read from its data set as needed, those of a shuffled loader in an
    order that is always the same. Any other loader is read to its end, or to the first so many examples.
    """
    source = loader.dataset
    is_plain = loader.collate_fn is torch.utils.data.default_collate and hasattr(
        source, "__len__"
    )
    is_plain = is_plain and not loader.drop_last
    sampler = loader.sampler
    known = type(sampler) is SequentialSampler or (
        type(sampler) is RandomSampler
        and not sampler.replacement
        and len(sampler) == len(source)  # type: ignore[arg-type]
    )
    if is_plain and known and loader.batch_size is not None:
        split: Split = lazy_split(source, workers=loader.num_workers)
        if type(sampler) is RandomSampler:
            generator = torch.Generator().manual_seed(0)
            split = split.subset(torch.randperm(len(split), generator=generator))
        return split.first(examples)
    xs = []
    ys = []
    count = 0
    for batch in loader:
        x, y = read_batch(batch)
        xs.append(x)
        ys.append(y)
        count += len(y)
        if examples is not None and count >= examples:
            break
    if not count:
        raise DataError("the loader gave not one example")
    return TensorSplit(_join(xs), torch.cat(ys)).first(examples)


def _join(batches: list[Tensor]) -> Tensor:
    """Batches of examples of one shape as one."""
    shapes = sorted({tuple(x.shape[1:]) for x in batches})
    if len(shapes) > 1:
        raise DataError(
            f"examples have different shapes, {shapes[0]} and {shapes[1]}: bring them to one, by a transform or a mask"
        )
    return torch.cat(batches)


def read_batch(batch: Any) -> Batch:
    """A loader's batch as floating-point x and y of one length."""
    pair = pick_pair(batch)
    x = as_tensor(pair[0], "x")
    y = as_tensor(pair[1], "y")
    if x.dtype == torch.uint8:
        x = x.float() / 255
    if not x.is_floating_point() or x.dtype == torch.float64:
        x = x.float()
    if not y.dim() or len(x) != len(y):
        raise DataError(
            f"a batch has {len(x)} examples and targets of shape {tuple(y.shape)}"
        )
    return x, y


def class_label_names(source: Any) -> list[str] | None:
    """The names of the classes that a ``datasets.Dataset`` declares."""
    features = getattr(source, "features", None)
    if not isinstance(features, Mapping):
        return None
    for name in TARGET_NAMES:
        names = getattr(features.get(name), "names", None)
        if names is not None:
            return list(names)
    return None
