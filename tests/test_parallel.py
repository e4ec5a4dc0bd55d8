"""Several processes train one net: gloo on the CPU, started as torchrun starts them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from robustfw import UsageError
from robustfw.storage.runs import Run
from robustfw.training import _torchrun as torchrun

RECIPE = {part: {"use": part} for part in ("dataset", "model", "uncertainty", "attack", "objective", "train")}
MANIFEST = {"recipe": RECIPE, "data": {"hash": "abc", "spec": {}}}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def begun(processes, arguments):
    """Python in so many processes, with the environment that torchrun gives them."""
    port = free_port()
    return [
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


def together(processes, arguments):
    """What Python says in so many processes that are started together, and end well."""
    running = begun(processes, arguments)
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
        from robustfw.training import parallel
        parallel.start(torch.device("cpu"))
        net = parallel.wrap(torch.nn.Linear(2, 2))
        tasks = pathlib.Path("/proc/self/task")
        threads = lambda: sum("gloo_runloop" in (task / "comm").read_text() for task in tasks.iterdir())
        print(threads(), parallel.sum_over_processes(torch.ones(1)).item())
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
        "from robustfw.training import parallel; parallel.world = lambda: 3\n"
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


# Gone on with

RESUMED = """
import sys
import robustfw
import torch
from torch import nn

out, processes, stop = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
torch.manual_seed(0)
layers = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3), nn.Flatten(), nn.Linear(256, 10)
options = {"attack": "pgd:steps=2", "epochs": 2, "batch_size": 32 * processes, "validation_examples": 60, "ema": 0.9}
records = robustfw.train(
    model=nn.Sequential(*layers), out=out, steps=True, resume=True, threads=1, device="cpu", **options
)
for number, _ in enumerate(records, 1):
    if number == stop:
        break
records.close()
"""


@pytest.mark.parametrize("processes", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_a_resumed_training_is_the_uninterrupted_one(processes, tmp_path):
    """Bit for bit, also of three, where the order of a sum matters, with batch norm and an average."""
    for name, stop in (("whole", 0), ("run", 5), ("run", 0)):
        together(processes, ["-W", "ignore", "-c", RESUMED, str(tmp_path / name), str(processes), str(stop)])
    whole, run = (tmp_path / name / "checkpoints" / "last.safetensors" for name in ("whole", "run"))
    assert whole.read_bytes() == run.read_bytes()
    lines = [
        [json.loads(line) | {"seconds": 0} for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("whole", "run")
    ]
    assert lines[0] == lines[1]
    assert [line["passes_per_example"] for line in lines[0]] == [5.0, 5.0], "of all processes: two steps and the start"


def test_a_finished_training_is_gone_on_with_and_measured_by_the_first(tmp_path):
    out, _ = train(tmp_path, "run", 2, [*OPTIONS, "--epochs", "1"])
    weights = (out / "checkpoints" / "last.safetensors").read_bytes()
    answers = together(2, ["-m", "robustfw", "train", "--resume", "--out", str(out)])
    assert answers[0][0].startswith(f"the training in {out} is finished")
    assert answers[1] == ("", "")
    assert (out / "checkpoints" / "last.safetensors").read_bytes() == weights
    answers = together(2, ["-m", "robustfw", "evaluate", str(out), "--examples", "20", "--json"])
    assert json.loads(answers[0][0])["n"] == 20
    assert answers[1] == ("", "")


# What goes wrong


def test_one_that_is_left_alone_says_so(tmp_path):
    out = tmp_path / "run"
    running = begun(2, ["-m", "robustfw", "train", *OPTIONS, "--epochs", "500", "--out", str(out)])
    while not (out / "metrics.jsonl").exists() or not (out / "metrics.jsonl").stat().st_size:
        assert running[0].poll() is None, running[0].communicate()
        time.sleep(0.05)
    running[1].kill()
    _, said = running[0].communicate(timeout=60)
    running[1].communicate()
    assert running[0].returncode == 1
    (line,) = [line for line in said.splitlines() if line.startswith("Error")]
    assert line.startswith("Error: another process of this training has ended, so that this one cannot go on")
    assert Run.open(out).weights("last")


def test_a_run_that_is_there_is_refused_by_all(tmp_path):
    Run.create(tmp_path / "run", MANIFEST)
    running = begun(2, ["-m", "robustfw", "train", *OPTIONS, "--out", str(tmp_path / "run")])
    said = [process.communicate(timeout=60)[1] for process in running]
    assert [process.returncode for process in running] == [1, 1]
    assert all("holds a run already: go on with it by --resume" in each for each in said)


TOGETHER = """
import torch
from robustfw import RunError, TrainingError
from robustfw.training import parallel
from torch import nn

parallel.start(torch.device("cpu"))
torch.manual_seed(0)
net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2, dtype=torch.complex64))
parallel.check_equal(net)
assert parallel.broadcast(parallel.rank()) == 0
assert parallel.run_on_first(lambda: "done") == ("done" if parallel.rank() == 0 else None)
assert float(parallel.mean(torch.tensor(float(parallel.rank())))) == 0.5
net[1].running_mean += parallel.rank()
net[1].num_batches_tracked += parallel.rank()
parallel.share_buffers(net)
assert not net[1].running_mean.any() and not net[1].num_batches_tracked


def fail():
    raise RunError("no room")


try:
    parallel.run_on_first(fail)
except RunError as error:
    print(error)
if parallel.rank() == 1:
    with torch.no_grad():  # two swapped values: a sum of them would be the same
        net[0].weight[0, :2] = net[0].weight[0, :2].flip(0)
try:
    parallel.check_equal(net)
except TrainingError as error:
    print(error)
"""


def test_processes_agree_and_find_out_where_they_do_not():
    for answer, _ in together(2, ["-W", "ignore", "-c", TOGETHER]):
        failed, apart = answer.splitlines()
        assert failed == "no room"
        assert apart.startswith("the processes have come to different parameters (1 of 6, the first is 0.weight): ")


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE is 2, but RANK and MASTER_ADDR and MASTER_PORT are not set: start all"),
        ({"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "localhost"}, "but MASTER_PORT is not set: start all"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE is two, but RANK"),
        ({"WORLD_SIZE": "2", "RANK": "x", "MASTER_ADDR": "h", "MASTER_PORT": "1"}, "are not all whole numbers: start"),
        ({"WORLD_SIZE": "2", "RANK": "2", "MASTER_ADDR": "h", "MASTER_PORT": "1"}, "RANK is 2, and WORLD_SIZE 2"),
    ],
)
def test_half_of_what_torchrun_says_is_a_sentence(environment, words, monkeypatch):
    for name in torchrun.NEEDED:
        monkeypatch.delenv(name, raising=False)
    assert torchrun.launch() is None
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=words):
        torchrun.launch()
    assert not torchrun.follows()


def test_only_those_after_the_first_follow(monkeypatch):
    told = {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}
    for rank in (0, 1):
        for name, value in (told | {"RANK": str(rank)}).items():
            monkeypatch.setenv(name, value)
        assert torchrun.launch() == torchrun.Launch(rank, 2)
        assert torchrun.follows() == (rank == 1)
