"""Makes a run directory of a net that was trained elsewhere."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import torch
from torch import nn

from robustfw.adoption._fit import NormalizationFit, fit_normalization, spell
from robustfw.data.splits import Split, Splits, StreamedSplit
from robustfw.dataset import Dataset, data_root
from robustfw.errors import RunError, UsageError
from robustfw.interop import (
    Normalization,
    normalization_in_effect,
    read_weights,
    split_entry,
)
from robustfw.model import Model
from robustfw.plugin.registry import Registry, installed
from robustfw.storage._locks import NewDirectory, claim
from robustfw.storage.collections import hash_weights
from robustfw.storage.files import hash_file
from robustfw.storage.runs import Run
from robustfw.training import parallel
from robustfw.training._manifest import describe, describe_circumstances
from robustfw.training._net import build_net, check_net

if TYPE_CHECKING:
    from robustfw.interop import Weights
    from robustfw.plugin.options import Spec
    from robustfw.uncertainty import UncertaintySet

SEEDS = (0, 1)
"""Seeds under which a net without a weights file is built: its weights are its own if both give the same."""


@attrs.frozen(eq=False)
class Adoption:
    """A net that was made a run, and what was found out about it."""

    run: Run
    """The run directory; `robustfw.load` and every command take it."""
    is_new: bool
    """Whether it was made just now; an equal net with equal data is adopted once only."""
    weights: str
    """Where the weights come from, in words."""
    normalization: str
    """The normalisation in the net, as the option ``normalize`` spells it, and where it comes from."""
    fit: NormalizationFit | None
    """The clean accuracy with this normalisation and with others; None where the data are no images."""
    data: str
    """How many examples there are for what, in words."""

    @classmethod
    def read(cls, run: Run) -> Adoption:
        """What the manifest of an adopted run says.

        Raises:
            RunError: the manifest has no record of an adoption.
        """
        manifest = run.manifest()
        facts = manifest.get("adopted")
        if not isinstance(facts, dict):
            raise RunError(f"the run in {run.path} was trained here, not adopted")
        fit = facts["fit"]
        return cls(
            run=run,
            is_new=False,
            weights=facts["weights"]["words"],
            normalization=facts["normalization"]["words"],
            fit=None if fit is None else NormalizationFit(**fit),
            data=_count_examples(manifest["data"]),
        )


def adopt(
    model: Model | Spec,
    dataset: Dataset | Spec,
    *,
    weights: str | Path | None = None,
    uncertainty: UncertaintySet | Spec | None = None,
    data_dir: str | Path | None = None,
    out: str | Path | None = None,
    device: str = "auto",
    registry: Registry | None = None,
) -> Adoption:
    """Make a run of a net that was trained elsewhere, with the data that it is measured on.

    The run directory holds the weights and a manifest: hashes of weights, files and data, the normalisation, and the
    clean accuracy with this normalisation and with others. All commands take it, and `robustfw.load`.

    Args:
        model: what builds the net, or its spec, such as ``"timm:resnet18"``.
        dataset: the data set, or its spec.
        weights: a file of weights, or ``file::entry``; None where the model brings its own.
        uncertainty: the set that it is measured against by default, or its spec.
        data_dir: where data files are.
        out: the run directory; by default one in ``runs``, which is the same for an equal net and equal data.
        device: where the normalisation is tried.
        registry: makes the parts from their specs; by default that of the installed plugins.

    Raises:
        UsageError: a part does not exist, or the net has random weights.
        DataError: weights or data are missing, damaged, or do not fit the net.
        RunError: ``out`` holds a run already, or cannot be written.
    """
    # 1. the parts and the data
    registry = registry or installed()
    if isinstance(model, nn.Module):
        raise UsageError(
            "a net in memory cannot be built again from a run directory: name what builds it, python:file.py:build for "
            "instance (robustfw.evaluate takes the net as it is)"
        )
    model_made = registry.make("model", model)
    dataset_made = registry.make("dataset", dataset)
    recipe = {
        "dataset": registry.record(dataset_made),
        "model": registry.record(model_made),
    }
    if uncertainty is not None:
        recipe["uncertainty"] = registry.record(
            registry.make("uncertainty", uncertainty)
        )
    root = data_root(None if data_dir is None else Path(data_dir))
    splits = dataset_made.load(root)
    splits.check()

    # 2. the net with its weights
    place = parallel.usable_device(device)
    net, source = _build(model_made, splits, weights)
    check_net(net.to(place), splits, place)
    net.eval()

    # 3. an equal one that was adopted before, with the same set by default
    state_hash = hash_weights(net.state_dict())
    record = describe(recipe, registry)
    data_hash = splits.fingerprint()
    identity = _hash_json([record, state_hash, data_hash])
    directory: Path | NewDirectory
    if out is not None:
        directory = Path(out)
    else:
        names = [registry.name_of(part) for part in (dataset_made, model_made)]
        directory = NewDirectory(Path("runs"), "-".join(names))
        earlier = _find_earlier(directory, identity)
        if earlier is not None:
            return Adoption.read(earlier)

    # 4. which normalisation fits
    in_effect = normalization_in_effect(net)
    examples = _measurable(splits)
    fit = None
    if examples is not None:
        fit = fit_normalization(net, examples, splits.spec, in_effect)

    # 5. the run directory
    manifest = describe_circumstances(record, registry, splits, place)
    if data_dir is not None:
        manifest["data"]["folder"] = str(root.resolve())
    manifest["adopted"] = {
        "identity": identity,
        "weights": source | {"state_sha256": state_hash},
        "files": {str(path): hash_file(path) for path in model_made.files},
        "normalization": _describe_normalization(in_effect),
        "fit": None if fit is None else fit.describe(),
    }
    lock = claim(directory, "written")
    try:
        run = Run.create(lock.path, manifest, lock)
        run.save_weights(net.state_dict())
    finally:
        lock.release()
    return attrs.evolve(Adoption.read(attrs.evolve(run, lock=None)), is_new=True)


def _build(
    model: Model, splits: Splits, weights: str | Path | None
) -> tuple[nn.Module, dict[str, Any]]:
    """The net with its weights, and the record of where these come from.

    Raises:
        UsageError: no weights are given, and the net is built with random ones.
    """
    if weights is not None:
        path, entry = split_entry(str(weights))
        read = read_weights(path, entry)
        net = build_net(model, splits, has_weights=True)
        sentence = read.load_into(net)
        return net, _describe_weights(read, sentence)

    hashes = []
    for seed in SEEDS:
        torch.manual_seed(seed)
        net = build_net(model, splits, has_weights=False)
        hashes.append(hash_weights(net.state_dict()))
    if len(set(hashes)) > 1:
        raise UsageError(
            "the net has random weights, so that there is nothing to measure: name the file of its weights by "
            "--weights FILE (.safetensors, .pt), or a model that brings its own"
        )
    return net, {"words": "those that the model brings", "path": None, "sha256": None}


def _describe_weights(weights: Weights, sentence: str) -> dict[str, Any]:
    return {
        "words": sentence,
        "path": str(weights.path.resolve()),
        "sha256": weights.sha256,
        "entry": weights.entry,
    }


def _describe_normalization(in_effect: Normalization | None) -> dict[str, Any]:
    """The normalisation as JSON takes it, with ``words`` for people."""
    if in_effect is None:
        return {"words": "none in front of the net", "mean": None, "std": None}
    return {
        "words": f"(x − mean)/std by {spell(in_effect)} ({in_effect.source})",
        "mean": list(in_effect.mean),
        "std": list(in_effect.std),
        "source": in_effect.source,
    }


def _count_examples(data: Mapping[str, Any]) -> str:
    """The sizes of the splits in words: what is measured, and what is kept for training."""
    words = f"{data['test']} test examples"
    others = []
    for name in ("train", "validation"):
        if data[name]:
            others.append(f"{data[name]} for {'training' if name == 'train' else name}")
    if others:
        words += f", besides {' and '.join(others)}"
    return words


def _measurable(splits: Splits) -> Split | None:
    """Test examples, or else validation or training examples; None where there are none that can be indexed."""
    for split in (splits.test, splits.validation, splits.train):
        if not isinstance(split, StreamedSplit) and len(split):
            return split
    return None


def _find_earlier(place: NewDirectory, identity: str) -> Run | None:
    """The run of an equal net that was adopted under this name, or with a number behind it."""
    for manifest_path in sorted(place.parent.glob(f"{place.name}*/manifest.json")):
        run = Run(manifest_path.parent)
        try:
            adopted = run.manifest().get("adopted")
        except RunError:
            # what cannot be read is nobody's earlier run
            continue
        if isinstance(adopted, Mapping) and adopted.get("identity") == identity:
            return run
    return None


def _hash_json(value: Any) -> str:
    text = json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
