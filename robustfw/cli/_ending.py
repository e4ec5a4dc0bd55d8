"""The measurement of a net at the end of its training, and of what fine-tuning cost and bought."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from robustfw.cli._records import (
    attack_facts,
    command_line,
    keep_worst_cases,
    task_facts,
)
from robustfw.cli._summary import summarize_verdicts
from robustfw.errors import RunError

if TYPE_CHECKING:
    from torch import nn

    from robustfw.evaluation import Verdicts
    from robustfw.storage.runs import Run
    from robustfw.training._session import Session

TESTED = 2000
"""Test examples attacked at the end of a training; `robustfw evaluate` takes all."""
STRONGER = "restarts:n=10,attack=(pgd:steps=100)"
"""The attack that the last line of a training recommends."""


def measure_end(session: Session, run: Run, *, quiet: bool) -> dict[str, Any]:
    """Evaluate on test examples, which training never saw, and say where everything is."""
    from robustfw import console
    from robustfw.evaluation import describe
    from robustfw.evaluation._gallery import Gallery
    from robustfw.training import _reopen

    recipe = session.recipe
    splits = session.splits
    known = session.registry
    if not len(splits.test):
        console.problem(f"there are no test examples; the net is in {run.path}")
        return {"run": str(run.path)}
    # 1. measure
    attack = recipe.train.validation_attack or recipe.attack
    weights = _which_weights(run)
    model = _reopen.rebuild(run, known, session.state.model, weights=weights)
    gallery = Gallery(splits.spec.task, splits.spec.labels)
    evaluation = summarize_verdicts(
        _verdicts(session, model, see=gallery),
        split=splits.test.first(TESTED),
        name="test",
        spec=splits.spec,
        quiet=quiet,
    )
    facts = {"split": "test", "weights": weights} | task_facts(known, splits.spec.task)
    circumstances = facts | attack_facts(known, recipe.uncertainty, [attack])
    result = circumstances | describe(evaluation)

    # 2. show
    if not quiet:
        console.show(
            "evaluation", result | {"attacks": [known.spell(attack, brief=True)]}
        )
    if evaluation.verdicts is not None:
        _compare_with_start(
            session, run, evaluation.verdicts, circumstances, quiet=quiet
        )
    if not quiet:
        console.line(f"run: {run.path}")
        stronger = shlex.join(
            ["robustfw", "evaluate", str(run.path), "--attack", STRONGER]
        )
        console.line(f"a stronger attack on all test examples: {stronger}")

    # 3. keep
    try:
        run.write_manifest(run.manifest() | {"result": result})
    except RunError as error:
        # the numbers are worth more than their record
        console.problem(str(error))
    keep_worst_cases(
        run.path,
        circumstances={"run": str(run.path)} | circumstances,
        gallery=gallery,
        spec=splits.spec,
    )
    return {"run": str(run.path)} | result


def _verdicts(session: Session, model: nn.Module, **options: Any) -> Any:
    """The verdicts on the first test examples, batch by batch, under the attack of the validation."""
    from robustfw.evaluation import verdicts
    from robustfw.inner.threat import Threat

    recipe = session.recipe
    spec = session.splits.spec
    return verdicts(
        model,
        session.splits.test.first(TESTED),
        threat=Threat.on(recipe.uncertainty, spec),
        attacks=[recipe.train.validation_attack or recipe.attack],
        classes=spec.classes,
        task=spec.task,
        loss=recipe.train.loss,
        **options,
    )


def _compare_with_start(
    session: Session,
    run: Run,
    end: Verdicts,
    circumstances: dict[str, Any],
    *,
    quiet: bool,
) -> None:
    """Measure the net that the training began with in the same way, and keep what changed, by McNemar's test.

    Args:
        session: the training.
        run: its run directory.
        end: what became of the examples at the end.
        circumstances: how they were measured.
        quiet: print nothing.
    """
    from robustfw import console, results
    from robustfw.evaluation import Comparison, Verdicts
    from robustfw.storage.runs import Run
    from robustfw.training import _reopen
    from robustfw.training.fine_tuning import FineTuned

    model = session.recipe.model
    if not isinstance(model, FineTuned) or model.run is None:
        return
    if model.classes not in (None, session.splits.spec.classes):
        if not quiet:
            console.line(
                "the net began with other classes: there is no start to compare with"
            )
        return
    start_net = _reopen.rebuild(
        Run.open(model.run), session.registry, weights=model.weights
    )
    device = next(session.state.model.parameters()).device
    text = "attacking the net as it was at the start"
    n = len(end)
    batches = console.batches(
        _verdicts(session, start_net.to(device)), n, text, quiet=quiet
    )
    start = Verdicts.concatenate(batches)
    measured = {
        "n": n,
        "clean": attrs.asdict(Comparison.from_masks(start.clean, end.clean)),
        "robust": attrs.asdict(Comparison.from_masks(start.robust, end.robust)),
    }
    facts = circumstances | {
        "run": str(run.path),
        "runs": [_from_here(model.run), str(run.path)],
        "examples": n,
    }
    if not quiet:
        shown = facts | measured
        console.show("comparison", shown, session.splits.spec.labels)
    results.keep(run.path, "comparison", facts, measured, command_line())


def _from_here(path: Path) -> str:
    """A path as one would type it: relative where it is in the present folder."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _which_weights(run: Run) -> str:
    """best, or last where no epoch counts as the best."""
    from robustfw import console

    if run.checkpoint_path("best").exists():
        return "best"
    console.problem(
        "no epoch counts as the best, since all were overfitted: the last weights are evaluated"
    )
    return "last"
