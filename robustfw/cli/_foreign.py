"""A net that is no run's, by --model, --weights and --dataset: it becomes a run, and is measured as one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from robustfw.errors import UsageError

if TYPE_CHECKING:
    from robustfw.adoption import Adoption


@attrs.frozen
class NamedNet:
    """A net that flags name, with its weights and its data."""

    model: Any
    """Spec of the model."""
    dataset: Any
    """Spec of the data."""
    weights: str | None
    """A file of weights; None: those that the model brings."""
    device: str
    """Where it is tried."""
    threads: int | None
    """torch's threads; None: its own choice."""
    data_dir: Path | None
    """Where data files are; None: where the environment says."""
    quiet: bool
    """Whether warnings alone are printed."""

    def adopt(self) -> Path:
        """The run directory of the net; one that was adopted before has one already.

        Raises:
            UsageError: no net is named, or no data for it.
        """
        from robustfw.adoption import adopt
        from robustfw.training import hardware

        if self.model is None:
            raise UsageError(
                "there is no net: name a RUN that robustfw train made, or a net of your own by --model and --dataset"
            )
        if self.dataset is None:
            raise UsageError(
                "--model needs --dataset, the examples for the net: folder:images, npz:file.npz, cifar10 …"
            )
        if self.weights == "last":
            raise UsageError(
                "last is the name of a run's weights: with --model, --weights takes a file"
            )
        hardware.use_threads(self.threads)
        hardware.keep_freed_memory()
        adoption = adopt(
            self.model,
            self.dataset,
            weights=self.weights,
            data_dir=self.data_dir,
            device=self.device,
        )
        show_adoption(adoption, quiet=self.quiet)
        return adoption.run.path


def show_adoption(adoption: Adoption, *, quiet: bool) -> None:
    """Print where the net is, its weights and its normalisation, and warn where another one fits better.

    Args:
        adoption: the net that became a run.
        quiet: print the warning alone.
    """
    from robustfw import console

    if not quiet:
        console.line(f"net               {adoption.run.path}")
        console.line(f"weights           {adoption.weights}")
        console.line(f"normalisation     {adoption.normalization}")
        console.line(f"data              {adoption.data}")
    if adoption.fit is not None and adoption.fit.warning is not None:
        console.problem(adoption.fit.warning)


def read_normalization(manifest: Mapping[str, Any]) -> str | None:
    """The normalisation that the manifest of an adopted net states; None where the net was trained here."""
    adopted = manifest.get("adopted")
    if adopted is None:
        return None
    return str(adopted["normalization"]["words"])
