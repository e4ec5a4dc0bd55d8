"""Architectures of timm for the data's size, channels and classes."""

from __future__ import annotations

import difflib
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
    from robustfw_models.models import Timm


def build(model: Timm, spec: DataSpec, *, pretrained: bool) -> nn.Module:
    """The net behind its normalisation.

    Args:
        model: the options.
        spec: images, of any number of channels.
        pretrained: whether to download timm's weights.

    Raises:
        UsageError: timm is not installed, has no such architecture, or that cannot take the data.
        DataError: the weights could not be downloaded.
    """
    try:
        import timm
    except ImportError as error:
        raise missing_package("timm", error) from error
    name = model.architecture
    require_images(spec, name)
    if not timm.is_model(name.partition(".")[0]):
        close = difflib.get_close_matches(name, timm.list_models(), n=5)
        advice = "see timm.list_models()"
        if close:
            advice = f"there are {', '.join(close)}, …"
        raise UsageError(f"timm has no architecture {name!r}: {advice}")
    return create(name, dict(model.arguments), spec, model, pretrained=pretrained)


def create(
    name: str,
    arguments: dict[str, Any],
    spec: DataSpec,
    model: Any,
    *,
    pretrained: bool,
) -> nn.Module:
    """The net of ``timm.create_model``, adapted to the data.

    Args:
        name: an architecture, or ``hf-hub:owner/name``.
        arguments: more arguments of ``timm.create_model``.
        spec: images.
        model: has the options ``normalize`` and ``output``.
        pretrained: whether to download the weights.
    """
    import timm

    options: dict[str, Any] = {"num_classes": spec.outputs, "in_chans": spec.shape[0]}
    if _has_fixed_size(name):
        options["img_size"] = spec.shape[1:]
    try:
        net: nn.Module = timm.create_model(
            name, pretrained=pretrained, **(options | arguments)
        )
    except (TypeError, ValueError, AssertionError, RuntimeError, OSError) as error:
        if pretrained:
            raise DataError(
                f"the weights of {name} could not be downloaded ({first_line(error)}): try again with a network, or "
                "give a weights file"
            ) from error
        raise UsageError(
            f"{name} cannot be built for {spec.shape}: {first_line(error)}"
        ) from error
    configuration = getattr(net, "pretrained_cfg", {})

    def automatic() -> Normalization | None:
        if not configuration.get("mean"):
            return None
        source = f"timm's configuration of {name}"
        return of_configuration(
            configuration["mean"], configuration["std"], spec, source
        )

    return adapt_net(net, spec, model.normalize, model.output, None, automatic)


def _has_fixed_size(name: str) -> bool:
    """Whether the architecture is built for one size of images, as ViTs and mixers are."""
    from timm.models import get_pretrained_cfg, is_model

    if not is_model(name.partition(".")[0]):
        return False
    configuration = get_pretrained_cfg(name, allow_unregistered=True)
    return configuration is not None and bool(configuration.fixed_input_size)
