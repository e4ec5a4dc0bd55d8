"""The classifiers of torchvision, apart from our nets, since torchvision takes as long to import as torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias
from urllib.error import URLError

import torch
import torchvision
from torch import Tensor, nn
from torch.func import functional_call

from robustfw import DataError, DataSpec, UsageError
from robustfw.interop import Adapter, Normalization
from robustfw_kernels.layers import Standardize
from robustfw_vision.nets import require_answer_per_example
from robustfw_vision.pixels import standardize

Head: TypeAlias = Literal["auto", "keep", "new"]


class ThreeChannels(nn.Module):
    """Grey images repeated to three channels."""

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 3, height, width) of x (batch, 1, height, width)."""
        return x.expand(-1, 3, -1, -1)


class PretrainedStandardize(Standardize):
    """(x − mean)/std per channel, as pretrained weights expect it; grey images become three channels.

    A checkpoint without statistics is from a version that did not standardise; loaded, it does not do so either.
    """

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any
    ) -> None:
        """Torch's hook for this module's part of a state: statistics that are absent become 0 and 1."""
        for name, default in (("mean", 0.0), ("std", 1.0)):
            stored = state_dict.get(prefix + name, torch.tensor([[[default]]]))
            state_dict[prefix + name] = stored.expand(3, 1, 1)
        super()._load_from_state_dict(state_dict, prefix, *args)


def classifier(
    spec: DataSpec, builder: str, weights: str | None, head: Head
) -> nn.Sequential:
    """The builder's net for this data, with pretrained weights where they are named.

    Args:
        spec: images of one or three channels.
        builder: a name in ``torchvision.models.list_models(torchvision.models)``.
        weights: a name in ``torchvision.models.get_model_weights(builder)``, downloaded where they are not in torch's
            cache; None for fresh weights.
        head: ``keep`` the pretrained last layer, make it ``new``, or ``auto``: keep it where the data has as many
            classes as the weights.

    Raises:
        UsageError: a name that does not exist, or data that the net cannot take.
        DataError: the weights could not be downloaded.
    """
    pretrained = _find_weights(builder, weights)
    _require_images(spec, builder, pretrained)
    if pretrained is None:
        return architecture(spec, builder, weights, head)
    keep_head = _keeps_head(spec, pretrained, head)
    try:
        net = torchvision.models.get_model(builder, weights=pretrained)
    except (URLError, OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"the weights {pretrained.name} of {builder} could not be read or downloaded ({reason}): try again with a "
            f"network, or put the file of {pretrained.url} into {torch.hub.get_dir()}/checkpoints"
        ) from error
    # GoogLeNet's builder removes its auxiliary outputs by itself, Inception's does not
    if builder == "inception_v3":
        net.aux_logits = False
        net.AuxLogits = None
    if not keep_head:
        net = _replace_head(net, spec.outputs)
    return _assemble(spec, builder, net, pretrained)


def architecture(
    spec: DataSpec, builder: str, weights: str | None, head: Head
) -> nn.Sequential:
    """The net of `classifier` with fresh weights in place of pretrained ones: nothing is downloaded.

    Args:
        spec: images of one or three channels.
        builder: a name in ``torchvision.models.list_models(torchvision.models)``.
        weights: the name of the weights that decide about the standardisation, or None.
        head: whether the last layer is that of the weights, as in `classifier`.

    Raises:
        UsageError: a name that does not exist, or data that the net cannot take.
    """
    pretrained = _find_weights(builder, weights)
    _require_images(spec, builder, pretrained)
    outputs = spec.outputs
    options: dict[str, Any] = {}
    # these two give auxiliary outputs in training unless told not to
    if builder in ("googlenet", "inception_v3"):
        options = {"aux_logits": False, "init_weights": True}
    if pretrained is not None:
        if _keeps_head(spec, pretrained, head):
            outputs = len(pretrained.meta["categories"])
        options |= _options_of_pretrained(builder, pretrained)
    else:
        options |= _options_of_size(builder, spec.shape[1:])
    try:
        net = torchvision.models.get_model(builder, num_classes=outputs, **options)
    except (ValueError, RuntimeError, AssertionError) as error:
        raise _cannot_take(spec, builder, error) from error
    return _assemble(spec, builder, net, pretrained)


def _find_weights(builder: str, name: str | None) -> Any:
    """The member of the builder's enum of weights, or None; names may have the form ``ResNet18_Weights.DEFAULT``."""
    if builder not in torchvision.models.list_models(torchvision.models):
        raise UsageError(
            f"torchvision.models has no classifier {builder!r}; see torchvision.models.list_models()"
        )
    if name is None:
        return None
    members = torchvision.models.get_model_weights(builder).__members__
    # weights for features alone have no classes, and NaN in the classifier's layers
    usable = {
        key: member
        for key, member in members.items()
        if member.meta["categories"] is not None
    }
    pretrained = usable.get(name.rpartition(".")[2])
    if pretrained is None:
        raise UsageError(
            f"{builder} has no classifier's weights {name!r}: there are {', '.join(usable)}"
        )
    return pretrained


def _require_images(spec: DataSpec, builder: str, pretrained: Any) -> None:
    """Raise a `UsageError` for data that is no images with a class each, or of a range the weights do not take."""
    require_answer_per_example(spec, builder)
    if len(spec.shape) != 3 or spec.shape[0] not in (1, 3):
        raise UsageError(
            f"{builder} needs images of one or three channels; the data has shape {spec.shape}"
        )
    if pretrained is not None and spec.bounds not in (None, (0, 1)):
        raise UsageError(
            f"pretrained weights of {builder} need pixels from 0 to 1; the data's range is {spec.bounds}"
        )


def _keeps_head(spec: DataSpec, pretrained: Any, head: Head) -> bool:
    """Whether the pretrained last layer stays."""
    classes = len(pretrained.meta["categories"])
    if head == "keep" and classes != spec.outputs:
        raise UsageError(
            f"head=keep gives the {classes} outputs of {pretrained.name}, where the data needs {spec.outputs}: take "
            "head=new, or data of the weights' classes"
        )
    return head != "new" and classes == spec.outputs


def _options_of_pretrained(builder: str, pretrained: Any) -> dict[str, Any]:
    """The options by which torchvision's builders make a net for pretrained weights."""
    if builder in ("googlenet", "inception_v3"):
        return {"transform_input": True}
    return _options_of_size(builder, pretrained.meta["min_size"])


def _options_of_size(builder: str, size: Sequence[int]) -> dict[str, Any]:
    """The options of nets that are built for one size of images."""
    if builder.startswith("vit_"):
        return {"image_size": size[0]}
    if builder.startswith("maxvit_"):
        return {"input_size": tuple(size)}
    return {}


def _assemble(
    spec: DataSpec, builder: str, net: nn.Module, pretrained: Any
) -> nn.Sequential:
    """Standardisation, the change to three channels, and the net, in a row."""
    if pretrained is None:
        standard = standardize(spec)
    else:
        transform = pretrained.transforms()
        standard = PretrainedStandardize(transform.mean, transform.std)
    adapt = ThreeChannels() if spec.shape[0] == 1 else nn.Identity()
    _check_size(spec, builder, net)
    return nn.Sequential(standard, adapt, net)


def normalize_by(net: nn.Sequential, normalize: str) -> nn.Sequential:
    """The net of `classifier` or `architecture` with another normalisation.

    Args:
        net: standardisation, the change to three channels, and the classifier, in a row.
        normalize: ``auto`` for the net as it is; otherwise what `robustfw.interop.Normalization.read` takes, for the
            classifier's three channels.
    """
    if normalize == "auto":
        return net
    _, adapt, inner = net
    normalization = Normalization.read(normalize, channels=3)
    return nn.Sequential(adapt, Adapter(inner, normalization=normalization))


def _check_size(spec: DataSpec, builder: str, net: nn.Module) -> None:
    """Raise a `UsageError` where images are too small for the net, or of a size that it was not built for."""
    # tensors without data: shapes are computed, and nothing else
    state = {
        name: value.to("meta")
        for name, value in [*net.named_parameters(), *net.named_buffers()]
    }
    image = torch.empty(1, 3, *spec.shape[1:], device="meta")
    training = net.training
    try:
        functional_call(net.eval(), state, image)
    except (RuntimeError, AssertionError) as error:
        raise _cannot_take(spec, builder, error) from error
    finally:
        net.train(training)


def _cannot_take(spec: DataSpec, builder: str, error: Exception) -> UsageError:
    """The error of a net that cannot take images of this shape."""
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return UsageError(f"{builder} cannot take images of shape {spec.shape}: {reason}")


def _replace_head(net: nn.Module, outputs: int) -> nn.Module:
    """The net with its last layer, linear or a convolution of 1x1, replaced by a fresh one."""
    layers = [
        (name, module)
        for name, module in net.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    ]
    name, last = layers[-1]
    if isinstance(last, nn.Linear):
        fresh: nn.Module = nn.Linear(last.in_features, outputs)
    else:
        fresh = nn.Conv2d(last.in_channels, outputs, kernel_size=1)
    parent, _, child = name.rpartition(".")
    setattr(net.get_submodule(parent), child, fresh)
    return net
