"""Two processes together learn what one alone does, by each objective that is installed, whatever it draws."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

from safetensors.torch import load_file

SCRIPT = """
import sys
import torch
from safetensors.torch import save_file
import robustfw
from robustfw.training import parallel
from robustfw.plugin.registry import Registry

torch.set_num_threads(1)
out = sys.argv[1]
for entry in Registry.installed().entries_of_kind("objective"):
    records = robustfw.train(
        dataset="digits", model="mlp:hidden=[12]", uncertainty="l2:radius=0.5", objective=entry.name,
        attack="pgd:steps=2,random_start=false", epochs=1, batch_size=64, seed=3, validation_examples=60,
    )
    model = list(records)[-1].model
    if parallel.rank() == 0:
        save_file({k: v.contiguous() for k, v in model.state_dict().items()}, f"{out}/{entry.name}.safetensors")
"""


# An ℓ2 set: the sign steps of ℓ∞ make much of rounding where a gradient is almost 0.


def start(folder, processes, rank, port):
    folder.mkdir(exist_ok=True)
    given = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes)}
    given |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder)],
        env=os.environ | given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def weights(folder, processes):
    """The weights of each objective's training by so many processes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    running = [start(folder, processes, rank, port) for rank in range(processes)]
    said = [process.communicate(timeout=300)[0] for process in running]
    assert [process.returncode for process in running] == [0] * processes, said
    return {file.stem: load_file(file) for file in folder.glob("*.safetensors")}


def test_two_processes_learn_what_one_does_by_every_objective(tmp_path):
    one, two = weights(tmp_path / "one", 1), weights(tmp_path / "two", 2)
    assert one.keys() == two.keys()
    assert {"robust", "trades", "vat", "noise", "dropout", "contractive"} <= one.keys()
    for objective, expected in one.items():
        for name, value in expected.items():
            apart = float((two[objective][name] - value).abs().max())
            assert apart <= 2e-4, f"{objective}: {name} is {apart:.2g} apart"
    different = {
        float(next(value for name, value in net.items() if name.endswith("weight")).sum()) for net in one.values()
    }
    assert len(different) == len(one), "two objectives teach the net the same"
