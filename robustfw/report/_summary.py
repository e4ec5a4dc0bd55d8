"""What a report says first, and what it says of the circumstances of its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from robustfw.report._schema import Reproduction
from robustfw.results._audit import AuditFields
from robustfw.results._comparison import ComparisonFields
from robustfw.results._evaluation_fields import EvaluationFields, strongest
from robustfw.results._material import Material, ReportedCollection, ReportedRun
from robustfw.results._table import Table
from robustfw.results._words import (
    abbreviate_attacks,
    count_of,
    join_words,
    percent,
    points,
    spell_value,
)


@attrs.frozen
class Summary:
    """What a report says first: findings, and what makes numbers doubtful."""

    sentences: Sequence[str]
    """The findings."""
    warnings: Sequence[str]
    """What makes numbers doubtful, and what is not shown."""


def summarize(material: Material) -> Summary:
    """The findings of a reproduction in its own words, or of each run in ours; then what makes numbers doubtful."""
    reproduction = material.reproduction
    sentences: list[str] = []
    if reproduction:
        sentences += reproduction.summary
        sentences += _describe_reproduction(reproduction)
    if not reproduction or not reproduction.summary:
        for run in material.runs:
            sentences.append(_describe_run(run))
            sentences += _describe_comparisons(material, run)
    if not material.runs:
        sentences += [
            _describe_collection(material, collection)
            for collection in material.collections
        ]
    warnings = [warning for run in material.runs for warning in _warnings(run)]
    return Summary(sentences, [*warnings, *material.notes])


def _describe_reproduction(reproduction: Reproduction) -> list[str]:
    """How many claims are confirmed, and what was spent on it."""
    sentences = []
    claims = [claim for claim in reproduction.claims if not claim.net]
    if claims:
        verdicts = [claim.verdict for claim in claims]
        counts = []
        for word in ("confirmed", "not confirmed", "undecided"):
            counts.append(f"{verdicts.count(word)} {word}")
        all_claims = count_of(len(claims), "claim")
        sentences.append(f"Of {all_claims}: {', '.join(counts)}.")
    effort = []
    if reproduction.mode:
        effort.append(f"mode: {reproduction.mode}")
    if reproduction.budget:
        effort.append(f"budget: {reproduction.budget}")
    if reproduction.seeds:
        effort.append(count_of(reproduction.seeds, "seed"))
    if reproduction.runs:
        effort.append(count_of(len(reproduction.runs), "run"))
    if effort:
        sentences.append(f"{'; '.join(effort).capitalize()}.")
    return sentences


def _describe_collection(material: Material, collection: ReportedCollection) -> str:
    """What a collection holds, where there is no run to speak of."""
    manifest = collection.manifest
    sets = join_words([member.uncertainty for member in manifest.sets])
    source = material.name_of(manifest.source.run)
    examples = count_of(manifest.n, "adversarial example")
    return (
        f"{collection.name} holds {examples} crafted against {source}, within {sets}."
    )


def _describe_run(run: ReportedRun) -> str:
    """The strongest evaluation of a run in words; without one, its last epoch."""
    evaluation = strongest(run)
    if evaluation:
        low, high = evaluation.interval
        ends = f"{100 * low:.1f} to {100 * high:.1f}"
        robust = f"{percent(evaluation.robust_accuracy)} ({ends})"
        attacks = abbreviate_attacks(evaluation.attacks)
        clean_words = _describe_clean_accuracy(run, evaluation)
        return f"{clean_words}; {robust} withstand {evaluation.uncertainty} under {attacks}."
    if run.is_adopted:
        return (
            f"{run.name}, a net that was trained elsewhere, has not been evaluated yet."
        )
    if not run.epochs:
        return f"{run.name} has not finished an epoch yet."
    last = run.epochs[-1]
    return (
        f"{run.name} has not been evaluated on test examples; after epoch {last.epoch} it classified "
        f"{percent(last.clean_accuracy)} of validation examples correctly; {percent(last.robust_accuracy)} withstood."
    )


def _describe_comparisons(material: Material, run: ReportedRun) -> list[str]:
    """What distinguishes a run from the ones that it was compared with, such as the net that it began as."""
    sentences = []
    for result in run.results_of(ComparisonFields):
        first, second = (material.name_of(path) for path in result.runs)
        clean = points(result.clean.difference, result.clean.interval)
        robust = points(result.robust.difference, result.robust.interval)
        sentences.append(
            f"{second} against {first}, on the same {result.n} examples: {clean} of clean accuracy, {robust} of robust "
            f"accuracy in {result.uncertainty}."
        )
    return sentences


def _describe_clean_accuracy(run: ReportedRun, evaluation: EvaluationFields) -> str:
    share = percent(evaluation.clean_accuracy)
    examples = f"{evaluation.n} {evaluation.split} examples"
    if evaluation.right == "within tolerance":
        return f"{run.name} is within tolerance on {share} of {examples}"
    if evaluation.right == "all labels right":
        return f"{run.name} has all labels right on {share} of {examples}"
    if evaluation.right:
        return f"{run.name} is right on {share} of {examples}"
    return f"{run.name} classifies {share} of {examples} correctly"


def _warnings(run: ReportedRun) -> list[str]:
    """What makes the numbers of a run doubtful, each sentence once."""
    warnings = []
    for audit in run.results_of(AuditFields):
        if audit.verdict == "suspicious":
            warnings.append(
                f"{run.name}: the audit in {audit.uncertainty} finds its robust accuracy suspicious."
            )
    evaluations = run.evaluations()
    for evaluation in evaluations:
        if evaluation.zero_gradients:
            warnings.append(
                f"{run.name}: at {evaluation.zero_gradients} of {evaluation.correct} correct examples the loss has no "
                f"gradient, so that robust accuracy in {evaluation.uncertainty} may be overstated."
            )
    for evaluation in evaluations:
        if evaluation.not_numbers:
            warnings.append(
                f"{run.name}: at {evaluation.not_numbers} of {evaluation.n} {evaluation.split} examples an output is "
                "not a finite number."
            )
    for epoch in run.epochs:
        warnings += [
            f"{run.name}, epoch {epoch.epoch}: {text}" for text in epoch.warnings
        ]
    return list(dict.fromkeys(warnings))


def circumstances(material: Material) -> list[Table]:
    """Versions, hardware, hashes and recipes: what all runs have in common, and in what they differ."""
    facts = {run.name: _facts(run) for run in material.runs}
    recipes = {run.name: _spell_recipe(run.manifest["recipe"]) for run in material.runs}
    return _compare_facts("Versions, hardware and data", facts) + _compare_facts(
        "Recipe", recipes
    )


def _facts(run: ReportedRun) -> dict[str, str]:
    """Versions, hardware and data of a run, by what they are called in the report; without what is not known."""
    manifest = run.manifest
    data = manifest["data"]
    counts = []
    for split in ("train", "validation", "test"):
        if split in data:
            counts.append(f"{data[split]} {split}")
    facts = {
        "robustfw": manifest.get("robustfw"),
        "commit": manifest.get("commit"),
        "created": manifest.get("created"),
        "examples": ", ".join(counts),
        "hash of the data": data.get("hash"),
        "inner maximum in mode": manifest.get("ascent_mode"),
        "range of the data": manifest.get("bounds"),
        "processes": manifest.get("processes"),
    }
    adopted = _dict_or_empty(manifest.get("adopted"))
    facts["weights"] = _dict_or_empty(adopted.get("weights")).get("words")
    facts["hash of the weights"] = _dict_or_empty(adopted.get("weights")).get("sha256")
    facts["normalisation"] = _dict_or_empty(adopted.get("normalization")).get("words")
    facts |= _dict_or_empty(manifest.get("hardware"))
    for kind, version in _dict_or_empty(manifest.get("plugins")).items():
        facts[f"plugin of the {kind}"] = version
    return {
        name: spell_value(value)
        for name, value in facts.items()
        if value not in (None, "")
    }


def _dict_or_empty(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _spell_recipe(recipe: Mapping[str, Any]) -> dict[str, str]:
    """The parts of a recipe as specs, and the engine's options by their names."""
    parts = {}
    for kind, part in recipe.items():
        if kind != "train":
            parts[kind] = spell_value(part)
    train = {}
    for name, value in recipe.get("train", {}).items():
        train[name.replace("_", " ")] = spell_value(value)
    return parts | train


def _compare_facts(title: str, facts: Mapping[str, Mapping[str, str]]) -> list[Table]:
    """A table of what is the same in all runs, and one of what differs with a row for each run.

    Args:
        title: of the first table.
        facts: for each run by its name, its facts by theirs.
    """
    # each name once, in the order of the runs
    names: dict[str, None] = {}
    for facts_of_run in facts.values():
        names |= dict.fromkeys(facts_of_run)
    same = []
    different = []
    for name in names:
        values = {facts_of_run.get(name, "–") for facts_of_run in facts.values()}
        if len(values) == 1:
            same.append((name, *values))
        else:
            different.append(name)
    tables = []
    if same:
        head = "value" if len(facts) == 1 else "in all runs"
        tables.append(Table(title, ("", head), same))
    if different:
        rows = []
        for run, facts_of_run in facts.items():
            values_of_run = [facts_of_run.get(name, "–") for name in different]
            rows.append((run, *values_of_run))
        tables.append(Table(f"{title}, where runs differ", ("run", *different), rows))
    return tables
