"""The file of each example's outcome, which `robustfw evaluate --outcomes` writes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from robustfw.errors import UsageError

if TYPE_CHECKING:
    from robustfw.evaluation import Verdicts


def check_outcomes(path: Path, collection: Path | None) -> None:
    """Raise a `UsageError` where outcomes cannot be written: before the measurement, not after it."""
    if collection is not None:
        raise UsageError("--outcomes is of attacked examples: leave it out, or --on")
    if path.suffix not in (".csv", ".safetensors"):
        raise UsageError(f"--outcomes {path} must end in .csv or .safetensors")
    if path.is_dir() or not path.resolve().parent.is_dir():
        raise UsageError(
            f"--outcomes {path} cannot be written: name a file in a folder that is there"
        )


def write_outcomes(path: Path, verdicts: Verdicts) -> None:
    """A row for each example: its place in the split, whether it is right, and whether it stays so under attack."""
    from robustfw.storage.files import write_whole

    if path.suffix == ".csv":
        lines = ["index,correct,robust"]
        outcomes = zip(verdicts.clean.tolist(), verdicts.robust.tolist(), strict=True)
        for index, (correct, robust) in enumerate(outcomes):
            lines.append(f"{index},{int(correct)},{int(robust)}")
        content = ("\n".join(lines) + "\n").encode()
    else:
        from safetensors.torch import save

        tensors = {
            "y": verdicts.y,
            "correct": verdicts.clean,
            "robust": verdicts.robust,
            "clean_measure": verdicts.clean_measure,
            "robust_measure": verdicts.robust_measure,
        }
        content = save(
            {
                name: tensor.contiguous()
                for name, tensor in tensors.items()
                if tensor is not None
            }
        )
    write_whole(path, content)
