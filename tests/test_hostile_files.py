"""Damaged and hostile files of a run or a collection: one sentence, whatever has been done to them."""

from __future__ import annotations

import json
import random
import shutil
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

import robustfw
from robustfw import DataError, RunError
from robustfw.errors import RobustfwError, RobustfwWarning
from robustfw.evaluation._crafting import Examples
from robustfw.storage.collections import EXAMPLES, MANIFEST, Collection
from robustfw.storage.runs import Run
from robustfw.training._state import State
from robustfw.training.recipe import TrainOptions

MUTATIONS = 120
"""Mutated files of each kind; each takes a few milliseconds."""
ODD = [
    None, True, -1, 0, 3, 1e308, "", "x", "\x00\x1b[31m", "../../x", [], [[]], {}, {"use": 3}, "9" * 20, 10**250,
    "__class__", ["linf"], float("nan"), -(10**30),
]  # fmt: skip


def fresh():
    return State.fresh(lambda: nn.Linear(2, 2), TrainOptions(epochs=2, ema=0.9), torch.device("cpu"), updates=4)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of two epochs, whose last state is that of a small net."""
    path = tmp_path_factory.mktemp("whole") / "run"
    options = {"model": "linear", "attack": "single-step", "epochs": 2, "batch_size": 400, "validation_examples": 20}
    list(robustfw.train(out=path, **options))
    epochs = (path / "metrics.jsonl").read_bytes()
    list(Run(path).keep(iter(()), fresh()))
    (path / "metrics.jsonl").write_bytes(epochs)
    return path


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "collection"
    n = 3
    x = torch.rand(n, 2)
    index, which = torch.arange(n), torch.zeros(n, dtype=torch.long)
    examples = Examples(x, x + 0.1, torch.full((n, 2), 0.1), index, index + 1, torch.rand(n, 2), index + 0, which)
    facts = {
        "source": {"run": "runs/it"}, "data": {"hash": "abc", "split": "test"}, "bounds": [0, 1],
        "sets": [{"uncertainty": "linf", "n": n}],
    }  # fmt: skip
    return Collection.create(path, examples, facts).path


def read_run(path):
    """All that the program reads of a run."""
    run = Run.open(path)
    run.manifest()
    run.metrics()
    run.weights("best")
    run.weights("last")
    run.restore(fresh())


def read_collection(path):
    known = robustfw.plugin.registry.installed()
    found = Collection.open(path)
    assert found.split in ("train", "validation", "test")
    assert found.bounds is None or found.bounds[0] <= found.bounds[0]
    assert isinstance(found.source, str)
    found.threats(known, robustfw.make("dataset", "digits").load(Path()))


def altered_bytes(content, chance):
    """A few bytes changed, cut out, repeated or put in."""
    content = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(content))
        match chance.randrange(4):
            case 0:
                content[at] = chance.randrange(256)
            case 1:
                del content[at : at + chance.randint(1, 40)]
            case 2:
                content[at:at] = content[at : at + chance.randint(1, 40)]
            case 3:
                content[at:at] = chance.choice([b"\x00", b"9" * 5000, b"[" * 5000, b"\x1b[31m", b"\xff", b"null"])
        if not content:
            break
    return bytes(content)


def altered_value(value, chance):
    """A JSON value with one part of it replaced, removed or doubled."""
    if isinstance(value, dict) and value and chance.random() < 0.85:
        key = chance.choice(sorted(value))
        if chance.random() < 0.15:
            return {name: part for name, part in value.items() if name != key}
        return value | {key: altered_value(value[key], chance)}
    if isinstance(value, list) and value and chance.random() < 0.85:
        at = chance.randrange(len(value))
        return [*value[:at], altered_value(value[at], chance), *value[at + 1 :]]
    return chance.choice(ODD)


def altered_header(content, chance):
    """A safetensors file with another header."""
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    if "__metadata__" in header and "facts" in header["__metadata__"] and chance.random() < 0.7:
        facts = altered_value(json.loads(header["__metadata__"]["facts"]), chance)
        header["__metadata__"]["facts"] = json.dumps(facts)
    else:
        header = altered_value(header, chance)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content[8 + size :]


def altered_lines(content, chance):
    lines = content.splitlines()
    at = chance.randrange(len(lines))
    lines[at] = json.dumps(altered_value(json.loads(lines[at]), chance)).encode()
    return b"\n".join(lines) + b"\n"


def altered_json(content, chance):
    return json.dumps(altered_value(json.loads(content), chance)).encode()


BY_KIND = {".json": altered_json, ".jsonl": altered_lines, ".safetensors": altered_header}


@pytest.mark.parametrize("how", ["bytes", "values"])
@pytest.mark.parametrize("kind", ["run", "collection"])
def test_whatever_is_done_to_a_file_only_sentences_come_out(kind, how, whole, collection, tmp_path):
    source, read = (whole, read_run) if kind == "run" else (collection, read_collection)
    shutil.copytree(source, tmp_path / "it")
    files = sorted(path for path in (tmp_path / "it").rglob("*") if path.is_file())
    chance, refused = random.Random(f"{kind} {how}"), 0
    for number in range(MUTATIONS):
        path = files[number % len(files)]
        before = path.read_bytes()
        alter = altered_bytes if how == "bytes" else BY_KIND[path.suffix]
        path.write_bytes(alter(before, chance))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RobustfwWarning)
            try:
                read(tmp_path / "it")
            except RobustfwError as error:
                refused += bool(str(error).strip())  # and says something
            except Exception as error:
                kept = Path(shutil.copy(path, tmp_path / f"culprit{path.suffix}"))
                raise AssertionError(f"mutation {number} of {path.name}, kept as {kept}: {error!r}") from error
        path.write_bytes(before)
    assert refused > MUTATIONS / 10
    read(tmp_path / "it")


def test_a_run_whose_record_was_altered_is_loaded_and_resumed_or_refused(tmp_path):
    options = {"model": "linear", "attack": "single-step", "epochs": 1, "batch_size": 400, "out": tmp_path}
    list(robustfw.train(**options))
    path, chance = tmp_path / "manifest.json", random.Random(1)
    before = path.read_bytes()
    for number in range(MUTATIONS // 2):
        path.write_bytes(altered_json(before, chance))
        for use in (lambda: robustfw.load(tmp_path), lambda: robustfw.train(resume=True, **options)):
            try:
                use()
            except RobustfwError as error:
                told = str(error)
            except Exception as error:
                raise AssertionError(f"mutation {number}: {path.read_text()}") from error
    path.write_bytes(b"[]")
    with pytest.raises(RunError, match="is not the manifest of a run"):
        robustfw.load(tmp_path)
    assert told


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data": {"hash": "abc", "split": "__class__"}}, "data.split is none of train, validation, test"),
        ({"data": {"hash": "abc", "split": ["test"]}}, "data.split is none of"),
        ({"data": None}, "data.split is none of"),
        ({"bounds": [0]}, "bounds are no pair of numbers"),
        ({"bounds": "01"}, "bounds are no pair of numbers"),
        ({"sets": []}, "sets is no list of uncertainty sets"),
        ({"sets": {"uncertainty": "linf"}}, "sets is no list of uncertainty sets"),
        ({"source": "x"}, "source.run is no text"),
    ],
)
def test_a_collection_whose_manifest_says_something_else(change, words, collection, tmp_path):
    path = Path(shutil.copytree(collection, tmp_path / "it"))
    manifest = json.loads((path / MANIFEST).read_text())
    (path / MANIFEST).write_text(json.dumps(manifest | change))
    with pytest.raises(DataError, match=rf"{words}.*; the collection was altered: craft it again"):
        Collection.open(path)


def test_examples_that_are_missing_are_not_a_missing_collection(collection, tmp_path):
    path = Path(shutil.copytree(collection, tmp_path / "it"))
    (path / EXAMPLES).unlink()
    with pytest.raises(RunError, match=r"examples.safetensors is missing"):
        Collection.open(path)


def test_a_collection_belongs_to_its_data_and_their_range(collection):
    splits = robustfw.make("dataset", "digits").load(Path())
    found = Collection.open(collection)
    with pytest.raises(DataError, match="belong to other data"):
        found.originals(splits)
    found.manifest["data"]["hash"] = splits.fingerprint()
    assert found.originals(splits) is splits.test
    found.manifest["bounds"] = [0, 2]
    with pytest.raises(DataError, match=r"keep the range \(0.0, 2.0\), and the data \(0.0, 1.0\)"):
        found.originals(splits)


def test_weights_that_are_no_numbers_are_told(tmp_path):
    parts = {part: {"use": part} for part in ("dataset", "model", "uncertainty", "attack", "objective", "train")}
    run, state = Run.create(tmp_path, {"recipe": parts, "data": {"hash": "abc", "spec": {}}}), fresh()
    state.average = None
    with torch.no_grad():
        state.model.weight[0, 0] = float("nan")
    list(run.keep(iter(()), state))
    with pytest.warns(RobustfwWarning, match=r"1 of the last weights .* are not numbers \(NaN\), the first .* weight"):
        run.weights("last")
