"""Two processes learn by strangers' objectives, updates and optimizers what one does."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

SCRIPT = """
import sys
import torch
from safetensors.torch import save_file
import robustfw
from robustfw.training import parallel

torch.set_num_threads(1)
for name, options in {
    "mart": {"objective": "mart"},
    "groups": {"objective": "group-dro:eta=1"},
    "awp": {"update": "awp:gamma=0.1"},
    "free": {"update": "free:replays=2"},
    "sam": {"optimizer": "sam:rho=0.5"},
}.items():
    # an ℓ2 set: the sign steps of ℓ∞ make much of rounding where a gradient is almost 0
    records = robustfw.train(
        dataset="digits", model="mlp:hidden=[12]", uncertainty="l2:radius=0.5", attack="pgd:steps=2,random_start=false",
        epochs=1, batch_size=64, seed=3, validation_examples=20, device="cpu", **options,
    )
    model = list(records)[-1].model
    if parallel.rank() == 0:
        save_file({k: v.contiguous() for k, v in model.state_dict().items()}, f"{sys.argv[1]}/{name}.safetensors")
"""
NAMES = "mart", "groups", "awp", "free", "sam"


def started(environment, folder, processes):
    """A training by so many processes, under way."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    given = {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(folder)],
            env=environment | given | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(processes)
    ]


@pytest.fixture(scope="module")
def weights(environment, tmp_path_factory):
    """By one process and by two, the weights by name."""
    folders = [tmp_path_factory.mktemp(f"by{processes}") for processes in (1, 2)]
    running = [each for processes in (1, 2) for each in started(environment, folders[processes - 1], processes)]
    said = [process.communicate(timeout=300)[0] for process in running]
    assert [process.returncode for process in running] == [0] * 3, said
    return [{file.stem: load_file(file) for file in folder.glob("*.safetensors")} for folder in folders]


@pytest.mark.parametrize("name", NAMES)
def test_two_processes_learn_what_one_does(weights, name):
    one, two = weights
    for layer, value in one[name].items():
        torch.testing.assert_close(two[name][layer], value, atol=2e-4, rtol=0)


def test_each_learns_something_else(weights):
    one, _ = weights
    first = {name: next(value for layer, value in one[name].items() if layer.endswith("weight")) for name in NAMES}
    assert len({round(float(value.double().square().sum()), 6) for value in first.values()}) == len(NAMES)
