"""The last layer of a net, which decides how many outputs there are."""

from __future__ import annotations

from torch import nn

from robustfw.errors import UsageError


def last_layer(net: nn.Module) -> tuple[str, nn.Linear | nn.Conv2d]:
    """The name and the module of a net's last layer: the last linear one, or convolution, in the order of its modules.

    Raises:
        UsageError: there is none.
    """
    found: tuple[str, nn.Linear | nn.Conv2d] | None = None
    for name, module in net.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            found = (name, module)
    if found is None:
        raise UsageError(
            "the net has no linear layer and no convolution, so that its last layer is not known"
        )
    return found


def replace_head(net: nn.Module, outputs: int) -> nn.Module:
    """Replace a net's last layer by a fresh one of so many outputs, in place.

    Args:
        net: the net; fresh weights come from torch's global generator.
        outputs: the number of outputs that the net is to have.

    Returns:
        The net; the new layer alone, where the net is nothing but its last layer.

    Raises:
        UsageError: the net has no last layer that could be replaced.
    """
    name, last = last_layer(net)
    has_bias = last.bias is not None
    if isinstance(last, nn.Linear):
        fresh: nn.Module = nn.Linear(last.in_features, outputs, bias=has_bias)
    else:
        fresh = nn.Conv2d(
            last.in_channels,
            outputs,
            kernel_size=last.kernel_size,  # type: ignore[arg-type]  # a pair
            stride=last.stride,  # type: ignore[arg-type]
            padding=last.padding,  # type: ignore[arg-type]
            bias=has_bias,
        )
    fresh = fresh.to(device=last.weight.device, dtype=last.weight.dtype)
    if not name:
        return fresh
    parent, _, child = name.rpartition(".")
    setattr(net.get_submodule(parent), child, fresh)
    return net
