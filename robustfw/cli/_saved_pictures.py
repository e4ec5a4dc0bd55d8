"""--save: adversarial examples as image files, which are read back and measured again."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from robustfw.cli._picture_facts import describe_pictures, summarize_pictures
from robustfw.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from robustfw.cli.subject import Subject
    from robustfw.evaluation._rounding import Levels
    from robustfw.inner.threat import Threat

INDEX = "index.csv"
"""The table of the pictures, which makes a folder one of pictures."""
PAGE = "index.html"
"""The page of the pictures."""

save_option = click.option(
    "--save",
    type=click.Path(path_type=Path, file_okay=False),
    help="A new folder for images: PNG files, a table and a page of them.",
)
"""--save, for each command that makes adversarial examples."""


@attrs.frozen(eq=False)
class PictureCase:
    """Adversarial examples of one set, with words about each."""

    threat: Threat
    """The set within the data range."""
    uncertainty: str
    """The spec of the set."""
    stems: tuple[str, ...]
    """What the names of each example's files begin with."""
    labels: tuple[str, ...]
    """What each example is."""
    x: Tensor
    """The originals, (n, channels, height, width)."""
    perturbed: Tensor
    """x̃, (n, channels, height, width)."""
    y: Tensor
    """Targets in the form of the task."""


def check_pictures(shape: Sequence[int], folder: Path | None) -> None:
    """Raise a `UsageError` unless examples are images and a folder is free for them: before the attack, not after it.

    Args:
        shape: of an example.
        folder: where the images go; None: they are not written.
    """
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise UsageError(
            f"examples of shape {tuple(shape)} are no images of 1 or 3 channels, height and width: --save and "
            "robustfw attack are for images"
        )
    if (
        folder is not None
        and folder.exists()
        and (not folder.is_dir() or any(folder.iterdir()))
    ):
        raise UsageError(f"{folder} is not empty: give another folder to --save")


def save_pictures(
    folder: Path,
    subject: Subject,
    cases: Sequence[PictureCase],
    title: str,
) -> dict[str, Any]:
    """Write the images with a table and a page, read them back and measure them.

    Args:
        folder: a new one, which `check_pictures` has looked at.
        subject: the net that is asked again.
        cases: adversarial examples, set by set.
        title: of the page.

    Returns:
        How many images there are, how many still fool the net, and how many left their set.
    """
    from robustfw.evaluation._rounding import Levels, round_inside
    from robustfw.report._picture_page import picture_page
    from robustfw.storage.files import write_whole

    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    cards = []
    for case in cases:
        if not len(case.x):
            continue
        levels = Levels.over(subject.spec.bounds, case.x, case.perturbed)
        rounded = round_inside(case.x, case.perturbed, case.threat, levels)
        names = _write_files(folder, case.stems, levels, case.x, rounded.levels)
        measured, said = _measure_files(folder, names, subject, case, levels)
        for i, measure in enumerate(measured):
            how = "towards the original" if rounded.towards[i] else "nearest"
            row = {
                "example": case.stems[i],
                "set": case.uncertainty,
                "label": case.labels[i],
            }
            rows.append(row | measure | {"rounding": how} | names[i])
            cards.append(_card(folder, case, i, rows[-1], said[i]))
    facts = summarize_pictures(rows)
    write_whole(folder / INDEX, _table(rows))
    page = picture_page(title, describe_pictures(facts), cards)
    write_whole(folder / PAGE, page.encode())
    return {"folder": str(folder)} | facts


def stem_of(number: object, *words: str) -> str:
    """The beginning of a file's name: a number and words, without characters that a file system may refuse."""
    parts = [str(number)]
    for word in words:
        parts.append(re.sub(r"[^\w.+]+", "_", word)[:30].strip("_."))
    return "-".join(part for part in parts if part)


def say_class(subject: Subject, outputs: Tensor) -> str:
    """What the outputs for one example say: the class with its probability; nothing where there are no classes."""
    if not subject.task.labelled:
        return ""
    label = int(outputs.argmax())
    probability = float(outputs.double().softmax(0)[label])
    return f"{name_class(subject, label)}, {probability:.1%}"


def name_class(subject: Subject, label: int) -> str:
    """The name of a class, or its number."""
    names = subject.spec.labels
    return names[label] if names and label < len(names) else str(label)


def _write_files(
    folder: Path, stems: Sequence[str], levels: Levels, x: Tensor, adversarial: Tensor
) -> list[dict[str, Any]]:
    """Write three files for each example: original, adversarial, and their difference around grey, times a factor.

    Args:
        folder: where the files go.
        stems: what their names begin with.
        levels: the values of a file.
        x: the originals.
        adversarial: x̃ in 8 bits.

    Returns:
        The names of the files, and the factor, of each example.
    """
    from robustfw.results._picture_grid import magnification
    from robustfw.storage._image_files import write_png

    originals = levels.encode(x)
    names = []
    for i, stem in enumerate(stems):
        delta = (adversarial[i].float() - originals[i].float()) / 255
        factor = magnification(delta.numpy())
        difference = 127.5 + 127.5 * factor * delta
        files = {
            "original": (f"{stem}-original.png", originals[i]),
            "adversarial": (f"{stem}-adversarial.png", adversarial[i]),
            "difference": (
                f"{stem}-difference-x{factor}.png",
                difference.round().clamp(0, 255).byte(),
            ),
        }
        row: dict[str, Any] = {"factor": factor}
        for kind, (name, pixels) in files.items():
            write_png(folder / name, pixels)
            row[kind] = name
        names.append(row)
    return names


def _measure_files(
    folder: Path,
    names: Sequence[Mapping[str, Any]],
    subject: Subject,
    case: PictureCase,
    levels: Levels,
) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    """Read the files back: whether the net has them right, what it says of both, and whether they lie in the set."""
    from robustfw.evaluation._rounding import find_outputs, measure_excess
    from robustfw.storage._image_files import read_pngs

    outputs = {}
    files = {}
    for kind in ("original", "adversarial"):
        pixels = read_pngs([folder / row[kind] for row in names])
        files[kind] = levels.decode(pixels)
        outputs[kind] = find_outputs(
            subject.model, files[kind], subject.task, subject.choices.batch_size
        )
    y = case.y.cpu()
    original_wrong = subject.task.wrong(outputs["original"], y)
    wrong = subject.task.wrong(outputs["adversarial"], y)
    excess = measure_excess(case.x, files["adversarial"], case.threat)
    rows = []
    said = []
    for i in range(len(names)):
        before = say_class(subject, outputs["original"][i])
        after = say_class(subject, outputs["adversarial"][i])
        said.append((before, after))
        rows.append(
            {
                "before": before,
                "after": after,
                "original_correct": int(not original_wrong[i]),
                "fools": int(wrong[i]),
                "largest_change": float(
                    (files["adversarial"][i] - files["original"][i]).abs().max()
                ),
                "outside": None if excess is None else float(excess[i]),
            }
        )
    return rows, said


def _card(
    folder: Path,
    case: PictureCase,
    i: int,
    row: Mapping[str, Any],
    said: tuple[str, str],
) -> Any:
    """One example on the page."""
    from robustfw.report._picture_page import PictureCard

    files = []
    for kind in ("original", "difference", "adversarial"):
        files.append((folder / row[kind]).read_bytes())
    before, after = said
    title = case.stems[i]
    if not row["fools"]:
        title += " (does not fool in 8 bits)"
    original, difference, adversarial = files
    return PictureCard(
        title=title,
        pictures=(original, difference, adversarial),
        before=before,
        difference=f"×{row['factor']} around grey, at most {row['largest_change']:.3g}",
        after=after,
    )


def _table(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """The rows as CSV."""
    stream = io.StringIO()
    if rows:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return stream.getvalue().encode()
