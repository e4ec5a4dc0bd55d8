"""Results of each kind, made up, as the commands write them."""

from __future__ import annotations

import math

LINF = "linf:radius=0.1"
L0 = "l0:radius=1.0"
PGD = "pgd:steps=10,step=none,direction=support,random_start=true,momentum=0.0,result=best"


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
