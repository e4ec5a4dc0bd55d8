"""The nets as torch modules: pixels in the data's range in, logits out.

Convolutional nets keep their activations channels-last, and pool before ReLU, which is the same function and
cheaper: max and ReLU commute.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from robustfw import DataSpec, UsageError
from robustfw.task import Segmentation
from robustfw_kernels import accelerate
from robustfw_kernels.layers import ChannelsLast
from robustfw_kernels.pooled import has_hooks
from robustfw_vision.memory import require_memory
from robustfw_vision.pixels import standardize


class FlattenLast(nn.Flatten):
    """The numbers of a map as one row, all channels of a place side by side.

    That is how they lie in channels-last memory: they need not be copied there, and back, from one layout to another.
    """

    lipschitz = 1.0

    def forward(self, input: Tensor) -> Tensor:
        return input.permute(0, 2, 3, 1).flatten(1)


def require_images(spec: DataSpec, name: str, least: int) -> None:
    """Raise a `UsageError` unless the data is images of at least so many pixels a side, with one answer each."""
    require_answer_per_example(spec, name)
    if len(spec.shape) != 3 or min(spec.shape[1:]) < least:
        raise UsageError(
            f"{name} needs images of at least {least}x{least}; the data has shape {spec.shape}"
        )


def require_answer_per_example(spec: DataSpec, name: str) -> None:
    """Raise a `UsageError` where the data has a class for each pixel."""
    if isinstance(spec.task, Segmentation):
        raise UsageError(
            f"{name} gives one answer for each image, and this data has a class for each pixel: take fcn, linear or mlp"
        )


def ready(net: nn.Module) -> nn.Module:
    """The net as it is run: in channels-last memory, and by faster layers where a CPU has them."""
    return accelerate(net.to(memory_format=torch.channels_last))


def mlp(spec: DataSpec, hidden: Sequence[int], *, bias: bool = True) -> nn.Module:
    """Fully connected layers with ReLU between; without hidden ones, a linear map.

    What goes in is standardised, but for images in front of a linear map, whose weights stay in pixels. Where each
    pixel has a class, the outputs are (batch, classes, height, width).
    """
    if not spec.shape:
        raise UsageError(
            "the examples are single numbers without an axis: give them the shape (1,)"
        )
    in_pixels = len(spec.shape) == 3 and not hidden
    before = nn.Identity() if in_pixels else standardize(spec)
    inputs = math.prod(spec.shape)
    if not isinstance(spec.task, Segmentation):
        layers = perceptron(inputs, hidden, spec.outputs, bias=bias)
        return nn.Sequential(before, nn.Flatten(), *layers)
    maps = (spec.outputs, *spec.shape[1:])
    layers = perceptron(inputs, hidden, math.prod(maps), bias=bias)
    return nn.Sequential(before, nn.Flatten(), *layers, nn.Unflatten(1, maps))


def fcn(spec: DataSpec, width: int, layers: int) -> nn.Module:
    """3x3 convolutions that keep the size, and one of 1x1 to the outputs of each pixel, or to their mean."""
    if len(spec.shape) != 3:
        raise UsageError(f"fcn needs images; the data has shape {spec.shape}")
    modules: list[nn.Module] = [standardize(spec), ChannelsLast()]
    before = spec.shape[0]
    for _ in range(layers):
        modules += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU()]
        before = width
    modules.append(nn.Conv2d(before, spec.outputs, 1))
    if not isinstance(spec.task, Segmentation):
        modules += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return ready(nn.Sequential(*modules))


def perceptron(
    inputs: int, hidden: Sequence[int], classes: int, *, bias: bool = True
) -> list[nn.Module]:
    """Linear layers of these widths, with ReLU between; ``bias`` is that of the last."""
    widths = [inputs, *hidden]
    pairs = itertools.pairwise([*widths, classes])
    numbers = sum(before * after for before, after in pairs)
    require_memory(numbers, "the fully connected layers", "fewer hidden units")
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return [*layers, nn.Linear(widths[-1], classes, bias=bias)]


def first_dense(inputs: int, outputs: int, owner: str) -> nn.Linear:
    """The linear layer after the maps, which grows with the image.

    Raises:
        UsageError: it is larger than the memory.
    """
    require_memory(
        inputs * outputs,
        f"the first fully connected layer of {owner}",
        "smaller images",
    )
    return nn.Linear(inputs, outputs)


STEEP = 1.702
"""With hardswish(z) = z·min(max(z + 3, 0), 6)/6, hardswish(STEEP·x)/STEEP is within 0.07 of GELU(x), for less than half
of its time on a CPU. (x·sigmoid(1.702·x) is GELU's own approximation, Hendrycks & Gimpel 2016.)"""


class ShiftedNorm(nn.BatchNorm2d):
    """Batch norm of a fixed scale: STEEP·((x − mean)/std + RATE·b), where b learns RATE² times as fast as others."""

    RATE = 8.0
    scale: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__(channels, affine=False, momentum=0.4)
        self.shift = nn.Parameter(torch.zeros(channels))
        self.register_buffer("scale", torch.full((channels,), STEEP), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        mean = cast(Tensor, self.running_mean)
        var = cast(Tensor, self.running_var)
        shift = STEEP * self.RATE * self.shift
        momentum = cast(float, self.momentum)
        return functional.batch_norm(
            x, mean, var, self.scale, shift, self.training, momentum, self.eps
        )

    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """Scale and shift of each channel in evaluation mode."""
        mean = cast(Tensor, self.running_mean)
        var = cast(Tensor, self.running_var)
        scale = self.scale * torch.rsqrt(var + self.eps)
        shift = STEEP * self.RATE * self.shift
        return scale, shift - mean * scale


class NormedConv2d(nn.Sequential):
    """A 3x3 convolution, perhaps a max pool, and a `ShiftedNorm`.

    Evaluated, the norm is a rising line for each channel, which the pool lets pass: there it is the convolution's
    scale and bias, and no pass over the activations. Where somebody listens to the layers, they go one by one.
    """

    def __init__(self, before: int, after: int, *, pool: int = 1) -> None:
        convolution = nn.Conv2d(before, after, 3, padding=1, bias=False)
        # the first filters hand their channel on
        nn.init.dirac_(convolution.weight.data[:before])
        pools = [nn.MaxPool2d(pool)] if pool > 1 else []
        super().__init__(convolution, *pools, ShiftedNorm(after))

    def forward(self, input: Tensor) -> Tensor:
        convolution, *pools, norm = self
        if self.training or any(map(has_hooks, self)):
            for layer in self:
                input = layer(input)
            return input
        scale, shift = cast(ShiftedNorm, norm).scale_and_shift()
        convolution = cast(nn.Conv2d, convolution)
        weight = convolution.weight * scale[:, None, None, None]
        x = convolution._conv_forward(input, weight, shift)
        return cast(Tensor, pools[0](x)) if pools else x


class Scale(nn.Module):
    """factor · x."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x


def fast_cifar(
    spec: DataSpec, widths: Sequence[int], whitening: Tensor | None
) -> nn.Module:
    """A whitening layer and its mirror image, blocks of two convolutions, each map's largest value, small logits."""
    least = 2 ** len(widths) + 1
    require_images(spec, "fast-cifar", least)
    channels, height, width = spec.shape
    layers: list[nn.Module] = [
        standardize(spec),
        ChannelsLast(),
        _whitening_layer(channels, spec, whitening),
        nn.Hardswish(),
    ]
    before = 2 * 4 * channels
    for after in widths:
        layers += [
            NormedConv2d(before, after, pool=2),
            nn.Hardswish(),
            NormedConv2d(after, after),
            nn.Hardswish(),
        ]
        before = after
    stride = 2 ** len(widths)
    rows = (height - 1) // stride
    columns = (width - 1) // stride
    head = [
        nn.MaxPool2d((rows, columns)),
        nn.Flatten(),
        nn.Linear(before, spec.outputs, bias=False),
        Scale(1 / 9 / STEEP),
    ]
    return ready(nn.Sequential(*layers, *head))


def _whitening_layer(
    channels: int, spec: DataSpec, filters: Tensor | None
) -> nn.Module:
    """A fixed convolution by filters for pixels in the data's range, and by their negatives.

    Without filters its weights are what torch draws: a checkpoint has its own.
    """
    layer = nn.Conv2d(channels, 2 * 4 * channels, 2, bias=False)
    if filters is not None:
        std = torch.ones(channels) if spec.std is None else torch.tensor(spec.std)
        # the layer sees standardised pixels
        standardised = STEEP * filters * std[:, None, None]
        with torch.no_grad():
            layer.weight.copy_(torch.cat([standardised, -standardised]))
    return layer.requires_grad_(False)


class PreActBlock(nn.Module):
    """x + conv(relu(bn(conv(relu(bn(x)))))), the shortcut taken after the first activation where shapes change."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.BatchNorm2d(before), nn.ReLU())
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
        )
        same = stride == 1 and before == after
        self.shortcut = (
            None if same else nn.Conv2d(before, after, 1, stride, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        active = self.first(x)
        shortcut = x if self.shortcut is None else self.shortcut(active)
        return cast(Tensor, shortcut + self.body(active))


def preact_resnet18(spec: DataSpec, width: int) -> nn.Module:
    """Stages of two blocks each, at 1, 2, 4 and 8 times the width, halving the image three times."""
    require_images(spec, "resnet18-cifar", 8)
    layers: list[nn.Module] = [standardize(spec), ChannelsLast()]
    layers.append(nn.Conv2d(spec.shape[0], width, 3, padding=1, bias=False))
    before = width
    for stage in range(4):
        after = width * 2**stage
        stride = 1 if stage == 0 else 2
        layers += [PreActBlock(before, after, stride), PreActBlock(after, after, 1)]
        before = after
    layers += [nn.BatchNorm2d(before), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return ready(nn.Sequential(*layers, nn.Linear(before, spec.outputs)))
