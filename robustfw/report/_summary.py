"""What a report says first, and what it says of the circumstances of its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from robustfw.report._schema import Reproduction
from robustfw.results._audit import AuditFields
from robustfw.results._evaluation import EvaluationFields, strongest
from robustfw.results._material import Material, ReportedCollection, ReportedRun
from robustfw.results._table import Table
from robustfw.results._words import abbreviate, count_of, join_words, percent, spell_value


@attrs.frozen
class Summary:
    """Sentences, and those among them that are warnings."""

    sentences: Sequence[str]
    warnings: Sequence[str]


def summarize(material: Material) -> Summary:
    """The findings of a reproduction in its own words, or of each run in ours; then what makes numbers doubtful."""
    made = material.reproduction
    sentences = list(made.summary) + _effort(made) if made else []
    if not made or not made.summary:
        sentences += [_finding(run) for run in material.runs]
    if not material.runs:
        sentences += [_holding(material, collection) for collection in material.collections]
    return Summary(sentences, [*(w for run in material.runs for w in _warnings(run)), *material.notes])


def _effort(made: Reproduction) -> list[str]:
    words = [f"mode: {made.mode}"] if made.mode else []
    words += [f"budget: {made.budget}"] if made.budget else []
    words += [count_of(made.seeds, "seed")] if made.seeds else []
    words += [count_of(len(made.runs), "run")] if made.runs else []
    whole = [claim for claim in made.claims if not claim.net]
    counts = [
        f"{sum(claim.verdict == verdict for claim in whole)} {verdict}"
        for verdict in ("confirmed", "not confirmed", "undecided")
    ]
    claims = [f"Of {count_of(len(whole), 'claim')}: {', '.join(counts)}."] if whole else []
    return claims + ([f"{'; '.join(words).capitalize()}."] if words else [])


def _holding(material: Material, collection: ReportedCollection) -> str:
    """What a collection holds, where there is no run to speak of."""
    manifest = collection.manifest
    sets = join_words([part.uncertainty for part in manifest.sets])
    source = material.name_of(manifest.source.run)
    return f"{collection.name} holds {count_of(manifest.n, 'adversarial example')} crafted against {source}, within {sets}."


def _finding(run: ReportedRun) -> str:
    """The strongest evaluation of a run in words; without one, its last epoch."""
    evaluation = strongest(run)
    if evaluation:
        low, high = evaluation.interval
        withstood = f"{percent(evaluation.robust_accuracy)} ({100 * low:.1f} to {100 * high:.1f})"
        attacks = join_words([abbreviate(attack) for attack in evaluation.attacks])
        return f"{_clean_finding(run, evaluation)}; {withstood} withstand {evaluation.uncertainty} under {attacks}."
    if not run.epochs:
        return f"{run.name} has not finished an epoch yet."
    last = run.epochs[-1]
    return (
        f"{run.name} has not been evaluated on test examples; after epoch {last.epoch} it classified "
        f"{percent(last.clean_accuracy)} of validation examples correctly; {percent(last.robust_accuracy)} withstood."
    )


def _clean_finding(run: ReportedRun, evaluation: EvaluationFields) -> str:
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
    suspicious = [audit for audit in run.results_of(AuditFields) if audit.verdict == "suspicious"]
    told = [
        f"{run.name}: the audit in {audit.uncertainty} finds its robust accuracy suspicious." for audit in suspicious
    ]
    told += [
        f"{run.name}: at {each.zero_gradients} of {each.correct} correct examples the loss has no gradient, so that "
        f"robust accuracy in {each.uncertainty} may be overstated."
        for each in run.evaluations()
        if each.zero_gradients
    ]
    told += [
        f"{run.name}: at {each.not_numbers} of {each.n} {each.split} examples an output is not a finite number."
        for each in run.evaluations()
        if each.not_numbers
    ]
    trained = [f"{run.name}, epoch {epoch.epoch}: {text}" for epoch in run.epochs for text in epoch.warnings]
    return list(dict.fromkeys(told + trained))


def circumstances(material: Material) -> list[Table]:
    """Versions, hardware, hashes and recipes: what all runs have in common, and in what they differ."""
    facts = {run.name: _facts(run) for run in material.runs}
    recipes = {run.name: _recipe(run.manifest["recipe"]) for run in material.runs}
    return _shared("Versions, hardware and data", facts) + _shared("Recipe", recipes)


def _facts(run: ReportedRun) -> dict[str, str]:
    manifest, data = run.manifest, run.manifest["data"]
    hardware, plugins = (_table(manifest.get(name)) for name in ("hardware", "plugins"))
    counts = [f"{data[split]} {split}" for split in ("train", "validation", "test") if split in data]
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
    told = facts | hardware | {f"plugin of the {kind}": version for kind, version in plugins.items()}
    return {name: spell_value(value) for name, value in told.items() if value not in (None, "")}


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _recipe(recipe: Mapping[str, Any]) -> dict[str, str]:
    parts = {kind: spell_value(part) for kind, part in recipe.items() if kind != "train"}
    return parts | {name.replace("_", " "): spell_value(value) for name, value in recipe["train"].items()}


def _shared(title: str, facts: Mapping[str, Mapping[str, str]]) -> list[Table]:
    """A table of what is the same in all runs, and one of the rest with a row for each run."""
    names = list(dict.fromkeys(name for each in facts.values() for name in each))
    values = {name: {each.get(name, "–") for each in facts.values()} for name in names}
    same = [(name, *values[name]) for name in names if len(values[name]) == 1]
    rest = [name for name in names if len(values[name]) > 1]
    all_runs = "value" if len(facts) == 1 else "in all runs"
    tables = [Table(title, ("", all_runs), same)] if same else []
    if rest:
        rows = [(run, *(each.get(name, "–") for name in rest)) for run, each in facts.items()]
        tables.append(Table(f"{title}, where runs differ", ("run", *rest), rows))
    return tables
