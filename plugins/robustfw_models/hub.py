"""Nets of the Hugging Face hub: which library builds one, its configuration says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from robustfw import DataError, DataSpec
from robustfw_models import timm_nets, transformers_nets
from robustfw_models.fitting import first_line, missing_package, require_images

if TYPE_CHECKING:
    from robustfw_models.models import HfHub


def build(model: HfHub, spec: DataSpec, *, weights: bool) -> nn.Module:
    """The net behind its normalisation.

    Args:
        model: the options.
        spec: images.
        weights: whether to load the pretrained weights; without them, only what is in the hub's cache is read.

    Raises:
        UsageError: the library is not installed, or the net cannot take the data.
        DataError: the files could not be downloaded, or are not in the cache.
    """
    try:
        import huggingface_hub
    except ImportError as error:
        raise missing_package("huggingface_hub", error) from error
    require_images(spec, f"hf-hub:{model.repository}")
    options: dict[str, Any] = {"local_files_only": not weights}
    try:
        path = huggingface_hub.hf_hub_download(
            model.repository, "config.json", **options
        )
        configuration = json.loads(Path(path).read_text())
    except Exception as error:  # the hub's client and the network below it raise much
        where = "downloaded" if weights else "found in the hub's cache"
        raise DataError(
            f"{model.repository} could not be {where} ({first_line(error)}): check the name and the network, or give "
            "the files by transformers:FOLDER, or timm:NAME with a weights file"
        ) from error
    if "architecture" in configuration:
        name = f"hf-hub:{model.repository}"
        return timm_nets.create(name, {}, spec, model, pretrained=weights)
    try:
        folder = huggingface_hub.snapshot_download(
            model.repository, allow_patterns=["*.json", "*.safetensors"], **options
        )
    except Exception as error:  # the client and the network, again
        raise DataError(
            f"{model.repository} could not be downloaded: {first_line(error)}"
        ) from error
    from robustfw_models.models import Transformers

    local = Transformers(source=folder, normalize=model.normalize, output=model.output)
    return transformers_nets.build(local, spec, weights=weights)
