"""Several processes train one net: gloo on the CPU, started as torchrun starts them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def together(processes, arguments):
    """What Python says in so many processes, with the environment that torchrun gives them."""
    port = free_port()
    running = [
        subprocess.Popen(
            [sys.executable, *arguments],
            env=os.environ
            | {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes)}
            | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(processes)
    ]
    answers = [process.communicate(timeout=120) for process in running]
    assert [process.returncode for process in running] == [0] * processes, answers
    return answers


def train(tmp_path, name, processes, arguments):
    """`robustfw train` in so many processes."""
    out = tmp_path / name
    return out, together(processes, ["-m", "robustfw", "train", "--out", str(out), "--threads", "1", *arguments])


OPTIONS = [
    "--model", "mlp:hidden=[16]", "--attack", "pgd:steps=2,random_start=false", "--epochs", "2", "--batch-size", "64",
]  # fmt: skip


@pytest.mark.parametrize("objective", ["robust", "[mixed,input-gradient,operator-norm,(contractive:probes=16)]"])
def test_two_processes_learn_what_one_does(tmp_path, objective):
    """Halves of each batch, gradients averaged: the same net up to the order of sums, also where it is run again."""
    one, _ = train(tmp_path, "one", 1, [*OPTIONS, "--objective", objective])
    two, answers = train(tmp_path, "two", 2, [*OPTIONS, "--objective", objective])
    for name in ("best", "last"):
        weights = [load_file(run / "checkpoints" / f"{name}.safetensors") for run in (one, two)]
        for key, value in weights[0].items():
            if key.startswith(("model", "0", "1", "2", "3")):
                torch.testing.assert_close(value, weights[1][key], atol=1e-4, rtol=1e-3)
    assert "clean accuracy" in answers[0][0]
    assert answers[1][0] == ""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted in /proc")
def test_no_thread_that_holds_tensors_outlives_python():
    """One that still gave a tensor back while Python ended aborted about one process in twenty."""
    code = textwrap.dedent("""
        import atexit, pathlib, torch
        from robustfw import parallel
        parallel.start(torch.device("cpu"))
        net = parallel.wrapped(torch.nn.Linear(2, 2))
        tasks = pathlib.Path("/proc/self/task")
        threads = lambda: sum("gloo_runloop" in (task / "comm").read_text() for task in tasks.iterdir())
        print(threads(), parallel.summed(torch.ones(1)).item())
        atexit._run_exitfuncs()
        print(threads())
    """)
    for answer, _ in together(2, ["-c", code]):
        before, total, after = map(float, answer.split())
        assert total == 2
        assert after == before / 2  # those of the gradients' group stay: they hold no tensor of Python's


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path):
    out = tmp_path / "odd"
    environment = os.environ | {"RANK": "0", "WORLD_SIZE": "1"}
    assert not out.exists()
    code = (
        "from robustfw import parallel; parallel.world = lambda: 3\n"
        "from robustfw.cli import main; main(['train', '--batch-size', '64'])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 2
    assert "a batch of 64 cannot be shared by 3 processes alike" in answer.stderr


def test_fewer_validation_examples_than_processes(tmp_path):
    """A process without one could not take part, so that nothing is validated."""
    _, answers = train(tmp_path, "few", 2, [*OPTIONS, "--validation-examples", "1"])
    assert "validation: no examples" in answers[0][0]
