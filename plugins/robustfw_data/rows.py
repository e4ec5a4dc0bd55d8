"""Splits of the datasets library's rows: which columns are what, pictures of one size, and names of classes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import attrs
from torch.utils.data import Dataset as TorchDataset

from robustfw import DataError, DataSpec, UsageError
from robustfw.data.convert import as_split
from robustfw.data.cutting import cut_splits, shuffle
from robustfw.data.splits import LoadedSplit, Split, Splits
from robustfw.data.targets import read_targets
from robustfw.data.values import scale_values

if TYPE_CHECKING:
    from robustfw_data.hub import Disk, Hub

VALIDATION_NAMES = ("validation", "valid", "val", "dev")
"""Names that validation splits have."""
LABEL_NAMES = ("label", "labels", "fine_label", "target", "y", "class")
"""Names that columns of targets have."""
IMAGE_NAMES = ("image", "img", "x", "pixel_values", "features", "input")
"""Names that columns of examples have."""
INSPECTED = 32
"""Number of rows by which shape and range are told."""


def load_hub(options: Hub, root: Path) -> Splits:
    """The splits of a data set on the hub.

    Raises:
        UsageError: the datasets library is not installed.
        DataError: there is no such data set, or it cannot be downloaded.
    """
    datasets = _import_datasets()

    def read() -> Any:
        return datasets.load_dataset(
            options.name,
            options.config,
            revision=options.revision,
            cache_dir=str(root / "huggingface"),
        )

    advice = "check the name and the network, or name a folder written by save_to_disk as disk:folder"
    return _make_splits(options, _read(read, options.name, advice))


def load_disk(options: Disk, folder: Path) -> Splits:
    """The splits of a folder that the datasets library has written.

    Raises:
        UsageError: the datasets library is not installed.
        DataError: the folder holds no such data set.
    """
    datasets = _import_datasets()
    advice = "name a folder that save_to_disk has written"
    return _make_splits(
        options,
        _read(lambda: datasets.load_from_disk(str(folder)), str(folder), advice),
    )


def _import_datasets() -> Any:
    """The datasets library.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import datasets
    except ImportError as error:
        raise UsageError(
            "data sets of the hub need the datasets library: pip install 'robustfw[interop]'"
        ) from error
    return datasets


def _read(read: Callable[[], Any], name: str, advice: str) -> Any:
    """What ``read`` gives, without progress bars.

    Raises:
        DataError: it raised anything.
    """
    with _without_bars():
        try:
            return read()
        # the library raises whatever its many readers raise
        except Exception as error:
            reason = (str(error).splitlines() or [""])[0]
            raise DataError(
                f"{name} cannot be read ({type(error).__name__}: {reason}): {advice}"
            ) from error


@contextlib.contextmanager
def _without_bars() -> Iterator[None]:
    """Switch the library's progress bars off inside the context."""
    import datasets

    were_on = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if were_on:
            datasets.enable_progress_bars()


def _make_splits(options: Hub | Disk, data: Any) -> Splits:
    """Train, validation and test of a data set, or of a mapping of data sets."""
    parts = dict(data) if isinstance(data, dict) else {"train": data}
    source = parts.get("train", next(iter(parts.values())))
    columns = list(source.column_names)
    image = _choose_column(
        options.image, columns, IMAGE_NAMES, "image", source, "Image"
    )
    label = _choose_column(
        options.label, columns, LABEL_NAMES, "label", source, "ClassLabel"
    )
    names = getattr(source.features[label], "names", None)

    # 1. what the rows are
    splits: dict[str, Split] = {}
    for name, rows in parts.items():
        splits[name] = _split(
            rows.select_columns([image, label]), image, label, options
        )
    train = splits.get("train", next(iter(splits.values())))
    x, _ = next(train.first(INSPECTED).iterate(INSPECTED))
    _, bounds = scale_values(x, "auto")
    task = None if isinstance(options.task, str) else options.task
    classes = options.classes if names is None else len(names)
    targets = read_targets(list(source[label]), task, classes=classes, labels=names)
    spec = DataSpec(
        tuple(x.shape[1:]),
        targets.classes,
        bounds=bounds,
        labels=targets.labels,
        task=targets.task,
    )

    # 2. train, validation, test
    own_validation = next(
        (splits[name] for name in VALIDATION_NAMES if name in splits), None
    )
    cut = cut_splits(
        train,
        spec,
        validation=0.0 if own_validation is not None else options.validation,
        test=splits.get("test", options.test)
        if "train" in splits or len(splits) == 1
        else 1.0,
        seed=options.seed,
    )
    if own_validation is not None:
        cut = attrs.evolve(cut, validation=shuffle(own_validation, options.seed))
    cut.check()
    return cut


def _choose_column(
    given: str | None,
    columns: list[str],
    usual: tuple[str, ...],
    option: str,
    source: Any,
    feature: str,
) -> str:
    """The column of examples or of targets.

    Args:
        given: the option's value.
        columns: the columns that there are.
        usual: names that such columns have.
        option: name of the option.
        source: the data set, whose features have types.
        feature: the type that such a column has.

    Raises:
        UsageError: there is no such column, or none that looks like it.
    """
    if given is not None:
        if given not in columns:
            raise UsageError(
                f"there is no column {given!r}: the data has {', '.join(columns)}"
            )
        return given
    typed = [
        name for name in columns if type(source.features[name]).__name__ == feature
    ]
    if len(typed) == 1:
        return typed[0]
    for name in usual:
        if name in columns:
            return name
    raise UsageError(
        f"nothing tells the column of {option}s among {', '.join(columns)}: give {option}=…"
    )


def _split(rows: Any, image: str, label: str, options: Hub | Disk) -> LoadedSplit:
    """The split of rows (example, target), decoded when they are asked for."""
    split = as_split(Pairs(rows, image, label, options.size))
    if not isinstance(split, LoadedSplit):
        raise DataError("the data set gave not one example")
    return LoadedSplit(
        split.dataset, f"{rows.info.dataset_name} {split.identity}", options.workers
    )


@final
class Pairs(TorchDataset[tuple[Any, Any]]):
    """Rows as pairs of an example, resized where it is a picture, and a target.

    Args:
        rows: the data set.
        image: its column of examples.
        label: its column of targets.
        size: side of the square that pictures are resized and cut to; None: as they are.
    """

    def __init__(self, rows: Any, image: str, label: str, size: int | None) -> None:
        self.rows = rows
        self.image = image
        self.label = label
        self.size = size

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        row = self.rows[index]
        picture = row[self.image]
        if self.size is not None and hasattr(picture, "resize"):
            picture = _cut_square(picture, self.size)
        return picture, row[self.label]


def _cut_square(picture: Any, size: int) -> Any:
    """A picture resized so that its shorter side has ``size`` pixels, and cut to a square from its centre."""
    width, height = picture.size
    factor = size / min(width, height)
    wide = max(size, round(width * factor))
    high = max(size, round(height * factor))
    left = (wide - size) // 2
    top = (high - size) // 2
    palette = picture.mode in ("P", "1")
    smooth = picture.convert("RGB") if palette else picture
    return smooth.resize((wide, high), 2).crop((left, top, left + size, top + size))
