"""Does a net that was trained elsewhere get its own number by one command?

Question: a script that knows nothing of robustfw trains a net and measures it; does `robustfw evaluate` give the same
numbers for the file that it saves?

Claim: the counts are equal, whether the normalisation is a layer of the net or was applied outside of it; and where it
is forgotten, the command says so. The exit status is 1 if not.

Method: `benchmarks/plain_script.py` is such a script, in torch and torchvision alone: ResNet-18 on CIFAR-10, clean
accuracy, and accuracy under the fast gradient sign method at 8/255 by a loop of its own. The names in its checkpoint
are as ``DataParallel`` leaves them.

    python -m benchmarks.plain_training [--epochs N] [--keep DIR] [--data-dir DIR] [--out FILE] [--json]

``--keep`` is where the weights are left; what is there already is not trained again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.circumstances import circumstances
from benchmarks.plain_script import build, load, measure, train
from benchmarks.tables import add_flags, leave, stream
from robustfw.dataset import data_root


def trained(file: Path, root: str, *, inside: bool, epochs: int) -> tuple[int, int]:
    """Train a net and save it, if the file is not there; then its correct and its robust test images."""
    net = build(inside)
    if not file.exists():
        torch.manual_seed(0)
        net = build(inside)
        train(net, *load(root, train=True), epochs=epochs, inside=inside)
        state = {f"module.{name}": value for name, value in net.state_dict().items()}
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"epoch": epochs, "state_dict": state}, file)
    saved = torch.load(file, weights_only=True)["state_dict"]
    net.load_state_dict({name.removeprefix("module."): saved[name] for name in saved})
    return measure(net, *load(root, train=False), inside)


SCRIPT = Path(__file__).resolve().with_name("plain_script.py")
MODELS = {
    "outside": "torchvision:resnet18,normalize=cifar10",
    "inside": f"python:{SCRIPT}:build",
}
"""The net of each file, as --model has it."""
FORGOTTEN = "torchvision:resnet18,normalize=none"
COLUMNS = {
    "normalisation": "normalisation",
    "script": "correct and robust of 10000, by the script",
    "command": "by robustfw evaluate",
    "warned": "warned of the normalisation",
}


def by_command(file: Path, model: str, root: str) -> tuple[int, int, bool]:
    """Correct and robust test images by `robustfw evaluate`, and whether it warns of the normalisation."""
    flags = ["--uncertainty", "linf:radius=8/255", "--attack", "single-step", "--json"]
    net = ["--model", model, "--weights", str(file), "--dataset", "cifar10"]
    command = [sys.executable, "-m", "robustfw", "evaluate", *net, *flags]
    with tempfile.TemporaryDirectory() as folder:
        answer = subprocess.run(
            [*command, "--data-dir", root],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        )
    result = json.loads(answer.stdout)
    warned = "normalisation was probably forgotten" in answer.stderr
    return result["correct"], result["robust"], warned


def rows(folder: Path, root: str, epochs: int) -> Iterator[dict[str, Any]]:
    """A row for each net, and one for a net whose normalisation is forgotten."""
    for name, model in MODELS.items():
        file = folder / f"{name}.pt"
        script = trained(file, root, inside=name == "inside", epochs=epochs)
        *command, warned = by_command(file, model, root)
        yield {
            "normalisation": f"{name} the net",
            "script": list(script),
            "command": command,
            "warned": warned,
        }
    *command, warned = by_command(folder / "outside.pt", FORGOTTEN, root)
    yield {
        "normalisation": "forgotten",
        "script": "",
        "command": command,
        "warned": warned,
    }


def holds(table: list[dict[str, Any]]) -> bool:
    """Whether the numbers are equal, and the forgotten normalisation alone is warned of."""
    *nets, forgotten = table
    are_equal = all(row["script"] == row["command"] for row in nets)
    return are_equal and forgotten["warned"] and not any(row["warned"] for row in nets)


def main() -> int:
    """Print and keep the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.plain_training",
        description=__doc__.splitlines()[0],
    )
    parser.add_argument("--epochs", type=int, default=6, help="[6]")
    parser.add_argument("--keep", type=Path, help="where weights are left [nowhere]")
    add_flags(parser)
    options = parser.parse_args()
    root = str(data_root(options.data_dir))
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        table = stream(options, rows(folder, root, options.epochs), COLUMNS)
    leave(
        options,
        "plain_training",
        [],
        table,
        circumstances(["torchvision"], epochs=options.epochs),
    )
    return 0 if holds(table) else 1


if __name__ == "__main__":
    sys.exit(main())
