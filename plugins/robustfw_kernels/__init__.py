"""Convolutions that are fast on a CPU where torch's are slow, as a pass over any net: `accelerate`.

Three places are slow: the gradient of an image (`convolution`), of which an attack needs one at each step; that
gradient through a max pool (`pooled`); and convolutions of maps of a few pixels (`small_maps`). On other devices, in
cases that are not covered, and where torch is faster, the layers are torch's own.
"""

from __future__ import annotations

from torch import nn

from robustfw_kernels.convolution import InputConv2d
from robustfw_kernels.pooled import PooledInputConv2d
from robustfw_kernels.small_maps import HiddenConv2d

__all__ = ["accelerate"]

IMAGE_CHANNELS = 4
"""Most channels of an input whose gradient torch computes slowly: images have one, three or four."""


def accelerate(net: nn.Module) -> nn.Module:
    """The net with faster layers in the place of torch's convolutions: the same function, up to rounding.

    Parameters, buffers, their names and the shape of the tree stay, so that checkpoints fit before and after. Layers
    are replaced where they are exactly ``nn.Conv2d``, or an ``nn.Sequential`` that pads, standardises and lays out an
    image, convolves it, and pools it; what a subclass does is its own affair.

    Args:
        net: any module; it is changed in place, but for the module itself where that is replaced.

    Returns:
        The net, or what takes its place.
    """
    for name, child in net.named_children():
        replaced = accelerate(child)
        if replaced is not child:
            setattr(net, name, replaced)
    if type(net) is nn.Conv2d:
        few_channels = net.in_channels <= IMAGE_CHANNELS
        return _retype(net, InputConv2d if few_channels else HiddenConv2d)
    if type(net) is nn.Sequential and PooledInputConv2d.fits(net):
        return PooledInputConv2d(*net)
    return net


def _retype(layer: nn.Conv2d, kind: type[nn.Conv2d]) -> nn.Conv2d:
    """A layer of another class with the very parameters, hooks and options of this one; nothing is drawn anew."""
    other = kind.__new__(kind)
    other.__dict__ = layer.__dict__
    return other
