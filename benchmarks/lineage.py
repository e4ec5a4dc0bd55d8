"""What does each idea of the paper's bibliography buy, and what does it cost?

Question: the same net, trained on MNIST with the same batches for the same epochs, by each objective and on each
set of the norms and of tangents: how often is it right on clean images, under the fast method (single-step, ℓ∞),
under PGD-40 (ℓ∞ and ℓ2), on adversarial examples that were made against another net, and under random noise; and how
long does an update take, relative to the one of `clean`?

Claim: of all nets, one that was trained on worst cases (not by a penalty, not by random inputs) has the highest mean
accuracy under PGD-40 in ℓ∞. The exit status is 1 if not.

Method: every strength is one stated value, not tuned. Sets and attacks have one size: ℓ∞ 0.1, ℓ2 1, ℓ1 4, ten pixels.
The transfer set of a seed is made by single steps in ℓ∞, ℓ2 and ℓ1 against the clean net of the next seed. Noise is the
worst of ten uniform draws in ℓ∞ 0.3. All nets are attacked within [0, 1]; those on tangent sets are trained without a
data range, for within it a black and white image has next to no tangent moves. The second table has the tangent set
of radius 1 and the ℓ2 ball of radius 1 attacked by PGD-20, both without a data range. Costs are medians of ratios of
turns of ten updates, clean and other in turn, in one process.

Nets and measurements are kept in --nets: run it again to go on.

    python -m benchmarks.lineage --nets DIR [--only NAME …] [--seeds N] [--epochs N] [--attacked N] [--processes N]
        [--model SPEC] [--dataset SPEC] [--data-dir DIR] [--json] [--out FILE]
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any

import attrs
from torch import nn

import robustfw
from benchmarks.circumstances import circumstances
from benchmarks.tables import add_flags, asked, leave, markdown, say
from benchmarks.turns import Spread, in_turns, ratios
from robustfw import Splits
from robustfw.dataset import data_root
from robustfw.evaluation._crafting import Examples, craft
from robustfw.evaluation._transfer import Transfer
from robustfw.inner.threat import Threat
from robustfw.plugin.registry import installed
from robustfw.results._seed_means import Mean
from robustfw.storage.runs import Run
from robustfw.training import hardware
from robustfw.training._reopen import rebuild

LINF = "linf:radius=0.1"
L2 = "l2:radius=1"
L1 = "l1:radius=4"
L0 = "l0:radius=10,unit=pixel"
RANDOM = "random inputs"
PENALTY = "penalty"
WORST = "worst case"


@attrs.frozen
class Idea:
    """A way to train."""

    name: str
    source: str
    kind: str
    objective: tuple[str, ...] = ("robust",)
    uncertainty: str = LINF
    attack: str = "single-step"
    unbounded: bool = False
    """Trained without a data range."""


def _tangent(basis: str) -> Idea:
    spec = f"tangent:radius=1,basis=({basis})"
    return Idea(
        f"robust, tangents by {basis}",
        "eqs. 12-13",
        WORST,
        uncertainty=spec,
        unbounded=True,
    )


IDEAS = (
    Idea("clean", "", "", ("clean",)),
    Idea("noise:scale=0.1", "Bishop 1995", RANDOM, ("noise:scale=0.1",)),
    Idea("dropout:rate=0.2", "Srivastava 2014", RANDOM, ("dropout:rate=0.2",)),
    Idea(
        "operator-norm:beta=0.01",
        "Szegedy 2013",
        PENALTY,
        ("clean", "operator-norm:beta=0.01"),
    ),
    Idea(
        "contractive:beta=0.01", "Gu 2014", PENALTY, ("clean", "contractive:beta=0.01")
    ),
    Idea(
        "input-gradient:beta=0.1",
        "Drucker 1992",
        PENALTY,
        ("clean", "input-gradient:beta=0.1"),
    ),
    Idea("vat:epsilon=1", "Miyato 2015", PENALTY, ("clean", "vat:epsilon=1")),
    Idea(
        "tangent-prop, transform",
        "Simard 1998",
        PENALTY,
        ("clean", "tangent-prop:beta=0.1"),
    ),
    Idea(
        "tangent-prop, knn-pca",
        "eq. 4",
        PENALTY,
        ("clean", "tangent-prop:beta=0.1,basis=(knn-pca:dim=5)"),
    ),
    Idea("mixed, ℓ∞", "eq. 3", WORST, ("mixed:alpha=0.5",)),
    Idea("trades:beta=6, ℓ∞", "Zhang 2019", WORST, ("trades:beta=6",)),
    Idea(
        "trades:beta=6, ℓ∞, pgd:steps=3",
        "Zhang 2019",
        WORST,
        ("trades:beta=6",),
        attack="pgd:steps=3",
    ),
    Idea("robust, ℓ∞", "eq. 11", WORST),
    Idea("robust, ℓ2", "eq. 11", WORST, uncertainty=L2),
    Idea("robust, ℓ1", "eq. 11", WORST, uncertainty=L1),
    Idea("robust, ten pixels", "eq. 11", WORST, uncertainty=L0),
    _tangent("transform"),
    _tangent("knn-pca"),
    _tangent("cae"),
    _tangent("decoder"),
    Idea("robust, ℓ∞, pgd:steps=2", "Madry 2018", WORST, attack="pgd:steps=2"),
    Idea("robust, ℓ∞, pgd:steps=3", "Madry 2018", WORST, attack="pgd:steps=3"),
    Idea(
        "robust, ℓ∞, restarts",
        "Madry 2018",
        WORST,
        attack="restarts:n=2,attack=(pgd:steps=1)",
    ),
    Idea(
        "robust, ℓ∞, and input-gradient",
        "eqs. 4, 11",
        WORST,
        ("robust", "input-gradient:beta=0.01"),
    ),
)
NOISE = "linf:radius=0.3"
TANGENTS = {
    "tangent, transform": "tangent:radius=1",
    "tangent, knn-pca": "tangent:radius=1,basis=knn-pca",
    "ℓ2": L2,
}
COLUMNS = ("clean", "fast method", "PGD-40 ℓ∞", "PGD-40 ℓ2", "transfer", "noise")
TURNS = 15
UPDATES = 10


@attrs.frozen
class Setting:
    """What all nets have in common."""

    nets: Path
    dataset: str
    model: str
    epochs: int
    seeds: int
    attacked: int
    data_dir: Path | None

    def training(self, idea: Idea, seed: int, **more: Any) -> Iterator[Any]:
        """The records of one training."""
        unbounded = "," if ":" in self.dataset else ":"
        return robustfw.train(
            dataset=self.dataset + (f"{unbounded}box=false" if idea.unbounded else ""),
            model=self.model,
            objective=list(idea.objective),
            uncertainty=idea.uncertainty,
            attack=idea.attack,
            epochs=self.epochs,
            batch_size=100,
            learning_rate=0.05,
            optimizer="sgd:weight_decay=5e-4",
            schedule="one-cycle:pct_start=0.2",
            validation_attack="single-step",
            validation_examples=1,  # nothing is chosen by it
            on_overfitting="ignore",
            seed=seed,
            data_dir=self.data_dir,
            **more,
        )

    def run(self, idea: Idea, seed: int) -> Path:
        """Where a net is kept."""
        letters = "".join(
            letter if letter.isalnum() else " "
            for letter in idea.name.replace("∞", "inf")
        )
        return self.nets / f"{'-'.join(letters.split())}-{seed}"

    def net(self, idea: Idea, seed: int) -> nn.Module:
        """The net of a training that has ended."""
        return rebuild(Run.open(self.run(idea, seed)), installed(), weights="last")

    def next(self, seed: int) -> int:
        """Whose clean net a seed's transfer set is made against."""
        return (seed + 1) % self.seeds


@cache
def _data(setting: Setting) -> Splits:
    splits: Splits = robustfw.make("dataset", setting.dataset).load(
        data_root(setting.data_dir)
    )
    return splits


@cache
def _set(setting: Setting, spec: str) -> Any:
    return robustfw.make("uncertainty", spec).fit(_data(setting).train)


@cache
def _transfer_set(setting: Setting, victim: int) -> Examples:
    threats = [Threat(_set(setting, spec)) for spec in (LINF, L2, L1)]
    attack = robustfw.make("attack", "single-step")
    net = setting.net(IDEAS[0], victim)
    return Examples.concatenate(
        list(craft(net, _data(setting).test, threats=threats, attack=attack))
    )


def train(setting: Setting, idea: Idea, seed: int) -> None:
    """One training, or what is left of it."""
    run = setting.run(idea, seed)
    for _ in setting.training(idea, seed, out=run, resume=True, threads=1):
        pass


def measure(setting: Setting, idea: Idea, seed: int) -> dict[str, Any]:
    """Accuracies of one net, kept beside it."""
    kept = setting.run(idea, seed) / f"lineage-{setting.attacked}.json"
    if kept.exists():
        found: dict[str, Any] = json.loads(kept.read_text())
        return found
    net, splits = setting.net(idea, seed), _data(setting)

    def under(
        spec: str,
        attack: str,
        *,
        first: int = setting.attacked,
        bounds: Any = (0.0, 1.0),
    ) -> Any:
        return robustfw.evaluate(
            net,
            splits.test.first(first),
            uncertainty=_set(setting, spec),
            attack=attack,
            classes=splits.spec.classes,
            bounds=bounds,
            seed=seed,
        )

    fast = under(LINF, "single-step", first=len(splits.test))
    examples = _transfer_set(setting, setting.next(seed))
    accuracies = {
        "clean": fast.clean_accuracy,
        "fast method": fast.robust_accuracy,
        "PGD-40 ℓ∞": under(LINF, "pgd:steps=40").robust_accuracy,
        "PGD-40 ℓ2": under(L2, "pgd:steps=40").robust_accuracy,
        "transfer": Transfer.measure(
            net, examples, [LINF, L2, L1], (0.0, 1.0)
        ).accuracy,
        "noise": under(NOISE, "random").robust_accuracy,
    }
    if idea.name in ("clean", "robust, ℓ2") or "tangent" in idea.name:
        accuracies |= {
            name: under(spec, "pgd:steps=20", bounds=None).robust_accuracy
            for name, spec in TANGENTS.items()
        }
    kept.write_text(json.dumps(accuracies, indent=2, ensure_ascii=False))
    return accuracies


def cost(setting: Setting, idea: Idea) -> Spread:
    """Time of an update relative to one of `clean`."""
    updates = {
        name: itertools.chain.from_iterable(_epochs(setting, each))
        for name, each in _beside_clean(idea)
    }
    ways = {name: partial(next, update) for name, update in updates.items()}
    return ratios(in_turns(ways, TURNS, UPDATES), "idea", "clean")


def _beside_clean(idea: Idea) -> tuple[tuple[str, Idea], ...]:
    return ("clean", IDEAS[0]), ("idea", idea)


def _epochs(setting: Setting, idea: Idea) -> Iterator[Iterator[Any]]:
    """Trainings without end."""
    while True:
        yield setting.training(idea, 0, steps=True)


def row(idea: Idea, measured: Sequence[dict[str, Any]], cost: Spread) -> dict[str, Any]:
    """Over seeds: each accuracy in percent, with its mean and half its interval; and the cost."""
    means = {
        name: Mean(tuple(100 * each[name] for each in measured)) for name in measured[0]
    }
    return {
        "idea": idea.name,
        "source": idea.source,
        "kind": idea.kind,
        "trained by": {
            "objective": list(idea.objective),
            **(
                {"uncertainty": idea.uncertainty, "attack": idea.attack}
                if idea.kind == WORST
                else {}
            ),
        },
        "accuracies": {name: list(mean.values) for name, mean in means.items()},
        "spelled": {name: mean.spell("", 1) for name, mean in means.items()},
        "cost": cost.median,
        "costs": [cost.least, cost.most],
    }


def holds(table: Sequence[dict[str, Any]]) -> bool:
    """Whether the best under PGD-40 in ℓ∞ was trained on worst cases."""
    best = max(
        table, key=lambda each: statistics.fmean(each["accuracies"]["PGD-40 ℓ∞"])
    )
    return bool(best["kind"] == WORST)


def texts(table: Sequence[dict[str, Any]]) -> list[str]:
    """Two tables: all ideas; what tangents have to do with tangent sets."""
    lines = [
        {"idea": each["idea"], "source": each["source"], "cost": each["cost"]}
        | each["spelled"]
        for each in table
    ]
    alike = {name: name for name in (*COLUMNS, *TANGENTS)}
    first = (
        {"idea": "trained by", "source": "source"}
        | {name: alike[name] for name in COLUMNS}
        | {"cost": "cost"}
    )
    second = {"idea": "trained by", "clean": "clean"} | {
        name: alike[name] for name in TANGENTS
    }
    return [
        markdown(lines, first),
        "",
        markdown([line for line in lines if "ℓ2" in line], second),
    ]


def every(
    work: Callable[..., Any],
    setting: Setting,
    ideas: Sequence[Idea],
    pool: ProcessPoolExecutor,
) -> dict[Idea, list[Any]]:
    """What a function gives for each idea and seed, worked off by the processes."""
    asked = {
        (idea, seed): pool.submit(work, setting, idea, seed)
        for seed in range(setting.seeds)
        for idea in ideas
    }
    found: dict[Idea, list[Any]] = {idea: [] for idea in ideas}
    for (idea, seed), answer in asked.items():
        found[idea].append(answer.result())
        say(f"{work.__name__}: {idea.name}, seed {seed}")
    return found


def prepare() -> None:
    """Settings of a process that works."""
    hardware.use_threads(1)
    hardware.keep_freed_memory()


def compared(
    setting: Setting, ideas: Sequence[Idea], processes: int
) -> list[dict[str, Any]]:
    """The rows."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, spawn, prepare) as pool:
        every(
            train,
            setting,
            [IDEAS[0], *(idea for idea in ideas if idea != IDEAS[0])],
            pool,
        )
        measured = every(measure, setting, ideas, pool)
    prepare()
    table = []
    for idea in ideas:
        table.append(row(idea, measured[idea], cost(setting, idea)))
        say(f"cost: {idea.name}, {table[-1]['cost']:.2f}")
    return table


def main() -> int:
    """Print and keep the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.lineage", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "--nets", type=Path, required=True, help="where nets and measurements are kept"
    )
    parser.add_argument(
        "--only", action="append", metavar="NAME", help="an idea; may be repeated [all]"
    )
    parser.add_argument(
        "--seeds", type=int, default=3, help="trainings of each kind [3]"
    )
    parser.add_argument("--epochs", type=int, default=4, help="of each training [4]")
    parser.add_argument(
        "--attacked",
        type=int,
        default=1000,
        help="test images for PGD and noise [1000]",
    )
    parser.add_argument(
        "--processes", type=int, default=2, help="of one thread each [2]"
    )
    parser.add_argument("--model", default="paper-mnist", help="spec [paper-mnist]")
    parser.add_argument("--dataset", default="mnist", help="spec [mnist]")
    add_flags(parser)
    options = parser.parse_args()
    ideas = [idea for idea in IDEAS if not options.only or idea.name in options.only]
    unknown = set(options.only or ()) - {idea.name for idea in IDEAS}
    if unknown:
        parser.error(
            f"no idea is called {', '.join(sorted(unknown))}: {'; '.join(idea.name for idea in IDEAS)}"
        )
    nets = options.nets.resolve()
    setting = Setting(
        nets,
        options.dataset,
        options.model,
        options.epochs,
        options.seeds,
        options.attacked,
        options.data_dir,
    )
    try:
        nets.mkdir(parents=True, exist_ok=True)
        table = compared(setting, ideas, options.processes)
    except (robustfw.RobustfwError, OSError) as error:
        parser.error(str(error))
    leave(
        options,
        "lineage",
        texts(table),
        table,
        circumstances([], **asked(options) | {"nets": nets.name}),
    )
    return 0 if holds(table) else 1


if __name__ == "__main__":
    sys.exit(main())
