"""Image classifiers of transformers, from a folder or by the type of the model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from robustfw import DataError, DataSpec, UsageError
from robustfw.interop import Normalization
from robustfw_models.fitting import (
    adapt_net,
    first_line,
    missing_package,
    of_configuration,
    require_images,
)

if TYPE_CHECKING:
    from robustfw_models.models import Transformers

CONFIGURATION = "config.json"
PROCESSOR = "preprocessor_config.json"


def files(source: str) -> tuple[Path, ...]:
    """The configurations in a folder; none for a type of model."""
    paths = [Path(source) / name for name in (CONFIGURATION, PROCESSOR)]
    return tuple(path for path in paths if path.is_file())


def build(model: Transformers, spec: DataSpec, *, weights: bool) -> nn.Module:
    """The net behind its normalisation.

    Args:
        model: the options.
        spec: images.
        weights: whether to read the folder's weights, where it has any.

    Raises:
        UsageError: transformers is not installed, there is no such folder or type, or the net cannot take the data.
        DataError: the folder's files cannot be read, or its weights are not of the data's classes.
    """
    try:
        import transformers
    except ImportError as error:
        raise missing_package("transformers", error) from error
    require_images(spec, f"transformers:{model.source}")
    folder = Path(model.source)
    is_folder = folder.is_dir()
    configuration = _configuration(model.source, dict(model.arguments), spec, is_folder)
    auto = transformers.AutoModelForImageClassification
    has_weights = is_folder and any(folder.glob("*.safetensors"))
    if has_weights and configuration.num_labels != spec.outputs:
        raise DataError(
            f"the weights in {folder} are of {configuration.num_labels} classes, the data has {spec.outputs}: take "
            "data of as many classes"
        )
    if is_folder and weights and not has_weights and any(folder.glob("*.bin")):
        raise DataError(
            f"the weights in {folder} are no safetensors: save them again by save_pretrained(folder)"
        )
    configuration.num_labels = spec.outputs
    transformers.utils.logging.disable_progress_bar()
    try:
        if has_weights and weights:
            net = auto.from_pretrained(
                folder,
                config=configuration,
                local_files_only=True,
                use_safetensors=True,
            )
        else:
            net = auto.from_config(configuration)
    except (TypeError, ValueError, RuntimeError, OSError, KeyError) as error:
        raise UsageError(
            f"transformers cannot build {model.source}: {first_line(error)}"
        ) from error

    def automatic() -> Normalization | None:
        return _of_processor(folder, spec) if is_folder else None

    return adapt_net(net, spec, model.normalize, model.output, model.input, automatic)


def _configuration(
    source: str, arguments: dict[str, Any], spec: DataSpec, is_folder: bool
) -> Any:
    """The configuration of a folder, or that of a type for the data's size and channels; arguments change either."""
    import transformers

    if is_folder:
        if not (Path(source) / CONFIGURATION).is_file():
            raise UsageError(
                f"there is no {CONFIGURATION} in {source}: give a folder of save_pretrained"
            )
        configuration = transformers.AutoConfig.from_pretrained(
            source, local_files_only=True
        )
    elif source in transformers.CONFIG_MAPPING:
        configuration = transformers.AutoConfig.for_model(source)
        fitted = {"image_size": spec.shape[1], "num_channels": spec.shape[0]}
        if spec.shape[1] != spec.shape[2]:
            fitted["image_size"] = spec.shape[1:]  # type: ignore[assignment]  # height and width
        for name, value in fitted.items():
            if hasattr(configuration, name):
                setattr(configuration, name, value)
    else:
        raise UsageError(
            f"{source!r} is no folder, and no type of model in transformers such as vit or resnet: give one, or "
            f"hf-hub:{source} for what is on the hub"
        )
    for name, value in arguments.items():
        if not hasattr(configuration, name):
            raise UsageError(f"the configuration of {source} has no option {name!r}")
        setattr(configuration, name, list(value) if isinstance(value, tuple) else value)
    return configuration


def _of_processor(folder: Path, spec: DataSpec) -> Normalization | None:
    """The normalisation that a folder's image processor states; None where it states none."""
    path = folder / PROCESSOR
    if not path.is_file():
        return None
    try:
        settings = json.loads(path.read_text())
        mean = settings.get("image_mean")
        std = settings.get("image_std")
        normalizes = settings.get("do_normalize", True)
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"{path} cannot be read: {first_line(error)}") from error
    if not normalizes or not mean or not std:
        return None
    return of_configuration(mean, std, spec, f"{PROCESSOR} of {folder.name}")
