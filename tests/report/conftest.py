"""Runs, results, collections and a reproduction as other commands leave them, small and made up."""

from __future__ import annotations

import contextlib
import io
import json
import math
from pathlib import Path
from types import SimpleNamespace

import attrs
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from robustfw.cli import main

LINF = "linf:radius=0.1"
L0 = "l0:radius=1.0"
PGD = "pgd:steps=10,step=none,direction=support,random_start=true,momentum=0.0,result=best"


def write(path: Path, value: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return path


def near(share: float) -> list[float]:
    return [max(0.0, share - 0.04), min(1.0, share + 0.04)]


def manifest(**other) -> dict:
    parts = {
        "dataset": {"use": "digits", "validation": 0.15},
        "model": {"use": "mlp", "hidden": [256, 256]},
        "uncertainty": {"use": "linf", "radius": 0.1},
        "attack": {"use": "pgd", "steps": 7, "step": None},
        "objective": {"use": "robust"},
        "train": {"epochs": 3, "batch_size": 128, "optimizer": {"use": "sgd", "momentum": 0.9}, "seed": 0},
    }
    labels = [str(i) for i in range(10)]
    return {
        "robustfw": "0.1.0",
        "commit": "abc1234",
        "recipe": parts,
        "plugins": {"attack": "robustfw 0.1.0"},
        "data": {"hash": "3cf519d5" * 8, "train": 1222, "test": 200, "spec": {"shape": [1, 8, 8], "labels": labels}},
        "ascent_mode": "eval",
        "bounds": [0.0, 1.0],
        "hardware": {"processor": "a processor", "torch": "2.15.0", "threads": 2},
    } | other


def evaluation(**other) -> dict:
    per_class = [[20, 20 - i % 3, 15 - i] for i in range(10)]
    correct, robust = (sum(counts[i] for counts in per_class) for i in (1, 2))
    return {
        "kind": "evaluation",
        "command": "robustfw evaluate runs/a --attack pgd:steps=100",
        "robustfw": "0.1.0",
        "run": "runs/a",
        "uncertainty": LINF,
        "attacks": ["pgd:steps=100", "random"],
        "radius": 0.1,
        "split": "test",
        "weights": "best",
        "seed": 0,
        "bounds": [0.0, 1.0],
        "n": 200,
        "correct": correct,
        "robust": robust,
        "clean_accuracy": correct / 200,
        "robust_accuracy": robust / 200,
        "clean_interval": near(correct / 200),
        "interval": near(robust / 200),
        "per_class": per_class,
        "zero_gradients": 0,
        "seconds": 1.5,
    } | other


def sweep(*, strength: float = 1.0, **other) -> dict:
    radii = [0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3]
    correct = [round(195 * math.exp(-((radius * 6 / strength) ** 2))) for radius in radii]
    return {
        "kind": "sweep",
        "command": "robustfw sweep runs/a",
        "robustfw": "0.1.0",
        "run": "runs/a",
        "uncertainty": LINF,
        "attack": "pgd:steps=40",
        "n": 200,
        "radii": radii,
        "correct": correct,
        "accuracy": [count / 200 for count in correct],
        "intervals": [near(count / 200) for count in correct],
        "minimal_radius": {"median": 0.137, "quartiles": [0.062, None], "beyond": correct[-1]},
    } | other


def transfer(**other) -> dict:
    sets = [
        {"uncertainty": LINF, "n": 20, "correct": 12, "accuracy": 0.6, "interval": near(0.6)},
        {"uncertainty": L0, "n": 20, "correct": 19, "accuracy": 0.95, "interval": near(0.95)},
    ]
    return {
        "kind": "transfer",
        "command": "robustfw evaluate runs/b --transfer transfer/a",
        "robustfw": "0.1.0",
        "run": "runs/b",
        "collection": "transfer/a",
        "source": "runs/a",
        "n": 40,
        "correct": 31,
        "accuracy": 0.775,
        "interval": near(0.775),
        "accuracy_8bit": 0.75,
        "sets": sets,
    } | other


def comparison(**other) -> dict:
    def pairs(both: int, first: int, second: int) -> dict:
        counts = {"both": both, "only_first": first, "only_second": second, "neither": 200 - both - first - second}
        difference = (second - first) / 200
        return counts | {"difference": difference, "interval": [difference - 0.03, difference + 0.03], "p": 0.0002}

    return {
        "kind": "comparison",
        "command": "robustfw compare runs/a runs/b",
        "robustfw": "0.1.0",
        "runs": ["runs/a", "runs/b"],
        "uncertainty": LINF,
        "attacks": ["pgd:steps=40"],
        "n": 200,
        "clean": pairs(180, 3, 9),
        "robust": pairs(90, 40, 12),
    } | other


def audit(**other) -> dict:
    lines = [
        {"name": "more steps find no more", "verdict": "passed", "found": "52.1 % and 52.0 %", "advice": ""},
        {"name": "a radius without limit fools all", "verdict": "failed", "found": "12 % left", "advice": "raise it"},
        {"name": "random search finds less", "verdict": "not checked", "found": "", "advice": ""},
    ]
    return {
        "kind": "audit",
        "command": "robustfw audit runs/a",
        "robustfw": "0.1.0",
        "run": "runs/a",
        "uncertainty": LINF,
        "verdict": "suspicious",
        "lines": lines,
    } | other


def distinguishability(**other) -> dict:
    def pair(first: int, second: int) -> dict:
        far = 1 + 0.1 * first + 0.05 * second
        found = {"linear": 0.5 * far, "quadratic": 2 * far, "measured": None, "risk": None, "bound": None}
        return {"first": first, "second": second, "n": [20, 20]} | found

    data = [pair(i, j) for i in range(10) for j in range(i + 1, 10)]
    features = [each | {"measured": 0.4 * each["linear"], "risk": 0.01, "bound": 2.0} for each in data]
    return {
        "kind": "distinguishability",
        "command": "robustfw analyze runs/a",
        "robustfw": "0.1.0",
        "run": "runs/a",
        "split": "test",
        "examples": 200,
        "spaces": [
            {"name": "data", "dimension": 64, "pairs": data},
            {"name": "features", "dimension": 256, "pairs": features},
        ],
    } | other


def fooling(**other) -> dict:
    """Without its images: `make_images` makes them."""
    reached = {"name": "gradient", "budget": 200, "reached": 10, "confidence": [0.991] * 10, "rounds": [17] * 10}
    failed = {"name": "evolution", "budget": 50, "reached": 9, "confidence": [0.999] * 9 + [0.42]}
    return {
        "kind": "fooling",
        "command": "robustfw analyze runs/a",
        "robustfw": "0.1.0",
        "run": "runs/a",
        "target": 0.99,
        "range": [0.0, 1.0],
        "shape": [1, 8, 8],
        "images": "fooling.safetensors",
        "searches": [reached, failed | {"rounds": [31] * 9 + [50]}],
    } | other


def make_images(run: Path, *shape: int) -> Path:
    """What the searches of `fooling` found."""
    images = np.random.default_rng(0).uniform(0, 1, (10, *(shape or (1, 8, 8)))).astype(np.float32)
    save_file({"gradient": images, "evolution": 1 - images}, run / "results" / "fooling.safetensors")
    return run


def lipschitz(**other) -> dict:
    layers = [("0", "Standardize", 2.659, "iteration"), ("2", "Linear", 3.5, "exact"), ("3", "ReLU", 1.0, "known")]
    return {
        "kind": "lipschitz",
        "command": "robustfw analyze runs/a",
        "robustfw": "0.1.0",
        "run": "runs/a",
        "split": "test",
        "layers": [dict(zip(("name", "kind", "bound", "how"), layer, strict=True)) for layer in layers],
        "unbounded": [],
        "upper": 9.3065,
        "n": 200,
        "levels": [0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0],
        "quantiles": [1.1, 1.3, 1.7, 2.2, 2.6, 3.7, 4.4],
    } | other


def make_run(path: Path, *results: dict, epochs: int = 3, shift: float = 0.0, **other) -> Path:
    """A run directory with results."""
    write(path / "manifest.json", manifest(**other))
    lines = [
        {
            "epoch": i + 1,
            "loss": 2.3 * 0.6**i + shift,
            "clean_accuracy": 0.98 - 0.4 * 0.5**i - shift,
            "robust_accuracy": 0.8 - 0.6 * 0.6**i - shift,
            "attacked": 200,
            "warnings": [],
        }
        for i in range(epochs)
    ]
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for i, result in enumerate(results):
        write(path / "results" / f"{result['kind']}-{i}.json", result)
    return path


def make_collection(path: Path, originals: np.ndarray, y: np.ndarray, *, pixels: int = 1, **other) -> Path:
    """For each original one example with all pixels changed a little, and one with some of them inverted."""
    generator = np.random.default_rng(0)
    n = len(originals)
    dense = np.clip(originals + generator.choice([-0.1, 0.1], originals.shape), 0, 1).astype(np.float32)
    sparse = originals.copy()
    for i in range(n):
        for row, column in generator.permutation(np.argwhere(originals[i, 0] >= 0))[:pixels]:
            sparse[i, :, row, column] = 1 - np.round(originals[i, :, row, column])
    tensors = {
        "original": np.concatenate([originals, originals]),
        "adversarial": np.concatenate([dense, sparse]),
        "y": np.concatenate([y, y]).astype(np.int64),
        "label": np.concatenate([(y + 1) % 10, (y + 3) % 10]).astype(np.int64),
        "confidence": generator.uniform(0.5, 1.0, (2 * n, 2)).astype(np.float32),
        "set": np.repeat([0, 1], n).astype(np.int64),
        "index": np.arange(2 * n, dtype=np.int64),
    }
    path.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path / "examples.safetensors")
    sets = [{"uncertainty": LINF, "attack": "pgd", "n": n}, {"uncertainty": L0, "attack": "single-step", "n": n}]
    command = "robustfw craft runs/a --out transfer/a"
    write(path / "manifest.json", {"source": {"run": "runs/a"}, "sets": sets, "n": 2 * n, "command": command} | other)
    return path


def change_tensors(path: Path, **tensors) -> None:
    """Other tensors in a collection; None takes one away."""
    changed = load_file(path / "examples.safetensors") | tensors
    kept = {name: value for name, value in changed.items() if value is not None}
    save_file(kept, path / "examples.safetensors")


def digits(n: int = 20, channels: int = 1, size: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Pictures of bars, and classes in turn."""
    x = np.zeros((n, channels, size, size), dtype=np.float32)
    for i in range(n):
        x[i, i % channels, :, i % size] = 0.9
        x[i, :, i % 10 % size] += 0.1
    return x, np.arange(n) % 10


def make_reproduction(path: Path, originals: np.ndarray, y: np.ndarray, *, seeds: int = 3) -> Path:
    """Nets of several seeds that were trained, swept and attacked by each other's examples."""
    nets = [
        {"name": "plain", "label": "plain"},
        {"name": "linf", "label": "robust, ℓ∞"},
        {"name": "l2", "label": "robust, ℓ2"},
    ]
    runs = [
        {"path": f"runs/{net['name']}-{i}", "net": net["name"], "seed": i, "mode": "full"}
        for net in nets
        for i in range(seeds)
    ]
    for k, run in enumerate(runs):
        strength = (0.5, 1.6, 1.1)[k // seeds] + 0.1 * run["seed"]
        own = {"command": f"robustfw sweep {run['path']}"}
        crossed = [
            transfer(
                source=f"runs/{net['name']}-0",
                collection=f"transfer/{net['name']}-0",
                accuracy=0.3 + 0.07 * j * strength,
            )
            for j, net in enumerate(nets)
        ]
        results = [evaluation(), sweep(strength=strength, **own), *crossed]
        make_run(path / run["path"], *results, epochs=8, shift=0.03 * (k // seeds) + 0.004 * run["seed"])
    for net in nets:
        make_collection(path / f"transfer/{net['name']}-0", originals, y, source={"run": f"runs/{net['name']}-0"})
    claims = [
        {
            "claim": "Robust training withstands more",
            "paper": "79.96 %",
            "ours": "81.2 %",
            "verdict": "confirmed",
        },
        {
            "claim": "It generalises better",
            "paper": "",
            "ours": "",
            "verdict": "not confirmed",
        },
        {
            "claim": "It generalises better",
            "net": "robust, ℓ2",
            "paper": "+0.3",
            "ours": "-0.4",
            "verdict": "not confirmed",
        },
        {"claim": "One pixel is enough", "paper": "yes", "ours": "–", "verdict": "undecided"},
    ]
    table = {
        "title": "Table 1",
        "columns": ["net", "clean"],
        "rows": [["plain", "98.9 %"]],
        "note": "of 3 seeds",
        "command": "x",
    }
    write(
        path / "reproduction.json",
        {
            "title": "Understanding adversarial training on MNIST",
            "summary": ["Robust training raised accuracy at radius 0.1 from 20.1 % to 81.2 %."],
            "mode": "full",
            "budget": "4 minutes a run",
            "seeds": seeds,
            "nets": nets,
            "runs": runs,
            "collections": [f"transfer/{net['name']}-0" for net in nets],
            "tables": [table],
            "claims": claims,
        },
    )
    return path


def make_full_run(folder: Path) -> Path:
    """A run with a result of each kind."""
    results = evaluation(), sweep(), transfer(), comparison(), audit(), distinguishability(), fooling(), lipschitz()
    end = evaluation(attacks=[PGD])
    return make_images(make_run(folder / "runs" / "b", *results, result=end))


def make_report(folder: Path, *arguments: object) -> tuple[int, str, str]:
    """Call ``robustfw report`` in a folder: the status, what was printed and the page that was made."""
    printed = io.StringIO()
    with (
        contextlib.chdir(folder),
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(printed),
        pytest.raises(SystemExit) as ended,
    ):
        main(["report", *(str(argument) for argument in arguments)])
    said = printed.getvalue()
    page = folder / said.removeprefix("report: ").strip() if said.startswith("report: ") else None
    return ended.value.code or 0, said, page.read_text(encoding="utf-8") if page else ""


@pytest.fixture
def run(tmp_path):
    """A run with a result of each kind."""
    return make_full_run(tmp_path)


@pytest.fixture
def small_run(tmp_path):
    """A run with two figures besides that of its training, for tests of files."""
    return make_run(tmp_path / "runs" / "b", evaluation(), sweep(), transfer())


@pytest.fixture
def collection(tmp_path):
    """A collection that results of the run name."""
    return make_collection(tmp_path / "transfer" / "a", *digits())


@pytest.fixture
def reproduction(tmp_path):
    return make_reproduction(tmp_path / "reproduction", *digits())


@pytest.fixture
def report(tmp_path, monkeypatch):
    """``report(path, …)``, called where the test is: the status, what was printed and the page that was made."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: make_report(Path.cwd(), *arguments)


@attrs.frozen
class Reported:
    """A folder, whose page was made once for all tests that only read it."""

    folder: Path
    path: Path
    page: str


@pytest.fixture(scope="session")
def reported_run(tmp_path_factory) -> Reported:
    """The page of the run with a result of each kind, and with the collection that they name."""
    folder = tmp_path_factory.mktemp("reported")
    path = make_full_run(folder)
    make_collection(folder / "transfer" / "a", *digits())
    status, _, page = make_report(folder, path)
    assert status == 0
    return Reported(folder, path, page)


@pytest.fixture(scope="session")
def reported_reproduction(tmp_path_factory) -> Reported:
    """The page of the reproduction."""
    folder = tmp_path_factory.mktemp("reported")
    path = make_reproduction(folder / "reproduction", *digits())
    status, _, page = make_report(folder, path)
    assert status == 0
    return Reported(folder, path, page)


@pytest.fixture
def make():
    """The functions above, by name."""
    analyses = distinguishability, fooling, lipschitz, make_images
    results = evaluation, sweep, transfer, comparison, audit, *analyses
    makers = *results, manifest, make_run, make_collection, change_tensors, digits
    return SimpleNamespace(**{maker.__name__: maker for maker in makers})
