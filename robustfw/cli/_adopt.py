"""`robustfw adopt`: make a run of a net that was trained elsewhere."""

from __future__ import annotations

from pathlib import Path

import click

from robustfw.cli._foreign import show_adoption
from robustfw.cli._stdout import alone_on_stdout, print_json


@click.command(short_help="Make a run of a net that was trained elsewhere.")
@click.option(
    "--model",
    required=True,
    metavar="SPEC",
    help="What builds the net: timm:resnet18, torchscript:net.pt, python:file.py:build …",
)
@click.option(
    "--weights",
    metavar="FILE",
    help="Its weights: .safetensors, .pt. [those that the model brings]",
)
@click.option(
    "--dataset",
    required=True,
    metavar="SPEC",
    help="What it is measured on: folder:images, npz:file.npz, cifar10 …",
)
@click.option(
    "--uncertainty",
    metavar="SPEC",
    help="The set that it is measured against where no other is named.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Run directory. [one in runs/, the same for an equal net and equal data]",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda …")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    help="Where data files are. [ROBUSTFW_DATA]",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object, and nothing else."
)
def adopt(
    model: str,
    weights: str | None,
    dataset: str,
    uncertainty: str | None,
    out: Path | None,
    device: str,
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """Make a run of a net that was trained elsewhere, so that all commands take it.

    The run directory holds the weights, and a manifest with the hashes of weights and data, their source, and the
    normalisation. Clean accuracy is tried with this normalisation and with others: one that was forgotten, or is there
    twice, shows at once. The measuring commands do the same by themselves where --model and --dataset take the place of
    RUN.
    """
    from robustfw import adoption, console
    from robustfw.training import hardware

    with alone_on_stdout(as_json):
        hardware.keep_freed_memory()
        adopted = adoption.adopt(
            model,
            dataset,
            weights=weights,
            uncertainty=uncertainty,
            data_dir=data_dir,
            out=out,
            device=device,
        )
        show_adoption(adopted, quiet=as_json)
    manifest = adopted.run.manifest()
    if as_json:
        print_json({"run": str(adopted.run.path)} | manifest)
        return
    if adopted.fit is not None:
        correct = adopted.fit.correct[adopted.fit.in_effect]
        console.line(f"clean accuracy    {correct} of {adopted.fit.n} examples tried")
    console.line(f"now: robustfw evaluate {adopted.run.path}{_set_to_name(manifest)}")


def _set_to_name(manifest: dict[str, object]) -> str:
    """The flag that a first evaluation needs besides, where the run has no set of its own."""
    recipe = manifest["recipe"]
    if isinstance(recipe, dict) and "uncertainty" in recipe:
        return ""
    return " --uncertainty linf:radius=8/255"
