"""Results that commands leave beside a run, each with the command that gives it again."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from robustfw.errors import RobustfwWarning, RunError
from robustfw.storage.files import (
    advice,
    json_bytes,
    json_value,
    read_json,
    refuse_links,
    remove_leftovers,
    write_whole,
)
from robustfw.version import __version__

if TYPE_CHECKING:
    from torch import Tensor

FOLDER = "results"
"""The folder of a run directory that results are kept in."""
WORST_CASES = 10
"""Examples that are kept of an evaluation, at most."""


@attrs.frozen(eq=False)
class Pictures:
    """A row of pictures (count, channels, height, width), and what stands below each."""

    name: str
    """Stands at the left of the row."""
    pictures: Tensor
    """(count, channels, height, width), with values in [0, 1]; changes, in [−1, 1], where ``diverging``."""
    words: Sequence[str]
    """What stands below each picture."""
    diverging: bool = False
    """Whether the pictures are changes: drawn blue below 0, white at 0, red above."""


def keep(
    run: Path,
    kind: str,
    circumstances: Mapping[str, Any],
    measured: Mapping[str, Any],
    command: str,
) -> Path | None:
    """Write a result; the same measurement, taken again, takes the place of the earlier one.

    Numbers that were measured are worth more than the file: where it cannot be written (a full disk, a run that may
    only be read) a `RobustfwWarning` says so, and the caller goes on to show them.

    Args:
        run: the run directory that was measured.
        kind: the name of a registered `ResultKind`, whose ``fields`` name what it reads of the other two.
        circumstances: what was measured, how, and on what; a file's name is made from them.
        measured: the numbers.
        command: what to type to get them again.

    Returns:
        The file; None where it could not be written.
    """
    facts = {"kind": kind, "command": command, "robustfw": __version__} | dict(
        circumstances
    )
    return _write(
        run,
        path=path_of(run, kind, circumstances),
        content=json_bytes(facts | dict(measured)),
    )


def _write(run: Path, path: Path, content: bytes) -> Path | None:
    """Write a file into the results of a run; None, with a warning, where that cannot be done."""
    try:
        refuse_links(path, run)
        path.parent.mkdir(exist_ok=True)
        remove_leftovers(path.parent)
        write_whole(path, content, within=run)
    except OSError as error:
        warnings.warn(
            f"the result could not be kept in {path} ({error.strerror}): {advice(error)}, and measure again to have it "
            "in the report",
            RobustfwWarning,
            stacklevel=3,
        )
        return None
    return path


def keep_pictures(
    run: Path,
    circumstances: Mapping[str, Any],
    said: Mapping[str, str],
    rows: Sequence[Pictures],
    command: str,
) -> Path | None:
    """Leave rows of pictures, which `robustfw report` draws as a figure, one picture in each of five columns.

    Args:
        run: the run directory that they belong to.
        circumstances: what was drawn, and of what; the files' names are made from them.
        said: ``title``, ``caption``, and ``alt`` for those who do not see them.
        rows: from top to bottom; all pictures have one shape.
        command: what to type to get them again.

    Returns:
        The file that describes them; None where it could not be written.

    Raises:
        ValueError: the pictures are not of one shape.
    """
    if len({tuple(row.pictures.shape[1:]) for row in rows}) != 1:
        raise ValueError("the pictures are not of one shape")
    tensors = {str(i): row.pictures for i, row in enumerate(rows)}
    images = _keep_tensors(
        run, kind="pictures", circumstances=circumstances, tensors=tensors
    )
    if images is None:
        return None
    facts = {
        **said,
        "shape": list(rows[0].pictures.shape[1:]),
        "images": images.name,
        "rows": [
            {"name": row.name, "words": list(row.words), "diverging": row.diverging}
            for row in rows
        ],
    }
    return keep(
        run,
        kind="pictures",
        circumstances=circumstances,
        measured=facts,
        command=command,
    )


def keep_worst_cases(
    run: Path,
    circumstances: Mapping[str, Any],
    originals: Tensor,
    adversarials: Tensor,
    before: Sequence[str],
    after: Sequence[str],
    command: str,
    *,
    bounds: tuple[float, float] | None = (0.0, 1.0),
) -> Path | None:
    """Leave up to ten examples that fool the net, which `robustfw report` draws, or lists where they are no images.

    Args:
        run: the run directory that was measured.
        circumstances: what was measured and how, with ``uncertainty``, ``attacks`` and ``split`` among it; the files'
            names are made from them.
        originals: examples (n, *shape).
        adversarials: the examples after the attack, (n, *shape).
        before: for each example a word or two: its target, or what the net says of it.
        after: for each example what the net says of it after the attack.
        command: what to type to get them again.
        bounds: the values that are drawn black and white; without them, the extremes of both tensors.

    Returns:
        The file that was written; None where there is no example, or where it could not be written.

    Raises:
        ValueError: the arguments are not of the same examples.
    """
    if not originals.shape == adversarials.shape or not len(originals) == len(
        before
    ) == len(after):
        raise ValueError(
            "originals, adversarials and the words about them are not of the same examples"
        )
    if not len(originals):
        return None
    x = originals[:WORST_CASES].detach().double().cpu()
    perturbed = adversarials[:WORST_CASES].detach().double().cpu()
    images = _keep_tensors(
        run,
        kind="worst-cases",
        circumstances=circumstances,
        tensors={"original": x, "adversarial": perturbed},
    )
    if images is None:
        return None
    examples = []
    for i, change in enumerate((perturbed - x).abs().flatten(1)):
        examples.append(
            {
                "before": before[i],
                "after": after[i],
                "largest": float(change.max()),
                "changed": int(change.gt(0).sum()),
            }
        )
    if bounds is None:
        low = min(x.min().item(), perturbed.min().item())
        high = max(x.max().item(), perturbed.max().item())
    else:
        low, high = bounds
    facts = {
        "shape": list(x.shape[1:]),
        "range": [low, high],
        "images": images.name,
        "examples": examples,
    }
    return keep(
        run,
        kind="worst-cases",
        circumstances=circumstances,
        measured=facts,
        command=command,
    )


def _keep_tensors(
    run: Path,
    kind: str,
    circumstances: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
) -> Path | None:
    """Tensors in float32, in a safetensors file beside the result of the same kind and circumstances, if it can be."""
    from safetensors.torch import save

    path = path_of(run, kind, circumstances).with_suffix(".safetensors")
    content = save(
        {name: tensor.float().cpu().contiguous() for name, tensor in tensors.items()}
    )
    return _write(run, path, content)


def path_of(run: Path, kind: str, circumstances: Mapping[str, Any]) -> Path:
    """Where a result is kept.

    Args:
        run: the run directory that was measured.
        kind: the name of a registered `ResultKind`.
        circumstances: what was measured, how, and on what; their hash is part of the file's name.
    """
    facts = json.dumps(json_value(dict(circumstances)), sort_keys=True).encode()
    digest = hashlib.sha256(facts).hexdigest()[:10]
    return run / FOLDER / f"{kind}-{digest}.json"


def load_results(run: str | Path, kinds: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The results beside a run, by file name; of these kinds only, if any are given.

    Raises:
        RunError: a file there is no result.
    """
    results = []
    for path in sorted((Path(run) / FOLDER).glob("*.json")):
        try:
            result = read_json(path)
            kind = result["kind"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise RunError(
                f"{path} is no result of robustfw ({type(error).__name__}): move it away"
            ) from error
        if not kinds or kind in kinds:
            results.append(result)
    return results
