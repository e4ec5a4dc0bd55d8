"""The classifiers of torchvision. Apart from our nets, as torchvision takes as long to import as torch."""

from __future__ import annotations

import torchvision
from torch import Tensor, nn

from robustfw import DataSpec, UsageError
from robustfw_vision.pixels import standardize


class ThreeChannels(nn.Module):
    """Grey images repeated to three channels."""

    def forward(self, x: Tensor) -> Tensor:
        return x.expand(-1, 3, -1, -1)


def torchvision_model(spec: DataSpec, builder: str, weights: str | None) -> nn.Module:
    """The builder's net with ``spec.classes`` outputs."""
    if builder not in torchvision.models.list_models(torchvision.models):
        raise UsageError(f"torchvision.models has no classifier {builder!r}; see torchvision.models.list_models()")
    if weights is None:
        net = torchvision.models.get_model(builder, num_classes=spec.classes)
    else:
        net = _with_new_head(torchvision.models.get_model(builder, weights=weights), spec.classes)
    adapt = ThreeChannels() if spec.shape[0] == 1 else nn.Identity()
    return nn.Sequential(standardize(spec), adapt, net)


def _with_new_head(net: nn.Module, classes: int) -> nn.Module:
    """The net with its last linear layer replaced."""
    name, last = [(name, m) for name, m in net.named_modules() if isinstance(m, nn.Linear)][-1]
    parent, _, child = name.rpartition(".")
    setattr(net.get_submodule(parent), child, nn.Linear(last.in_features, classes))
    return net
