"""Runs, collections and a reproduction as other commands leave them, small and made up."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from .sample_results import (
    L0,
    LINF,
    PGD,
    audit,
    comparison,
    distinguishability,
    evaluation,
    fooling,
    lipschitz,
    manifest,
    sweep,
    transfer,
)


def write(path: Path, value: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return path


def make_images(run: Path, *shape: int) -> Path:
    """What the searches of `fooling` found."""
    images = np.random.default_rng(0).uniform(0, 1, (10, *(shape or (1, 8, 8)))).astype(np.float32)
    save_file({"gradient": images, "evolution": 1 - images}, run / "results" / "fooling.safetensors")
    return run


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
