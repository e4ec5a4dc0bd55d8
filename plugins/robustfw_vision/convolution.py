"""Convolutions with gradients that torch is slow at on a CPU: for few channels, and for the weights on small maps."""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Pair = tuple[int, int]
SMALL, WIDE = 8, 80
"""Maps of at most so many columns are laid side by side, in strips of at most so many."""


class InputConv2d(nn.Conv2d):
    """`torch.nn.Conv2d`, the same function and the same parameters, for the first layer of a net.

    An attack needs ∂J/∂x. With respect to an input of one or three channels, torch's convolution on a CPU takes longer
    than the rest of a small net: it runs a convolution with one or three filters. Here the columns of the gradient
    are one matrix product, Wᵀ ∂J/∂y, and they are added up plane by plane, each moved by the place of its weight, in
    float32 whatever the precision of the net.
    Where there is no such gradient to compute, and on other devices, it is torch's own.
    """

    def forward(self, input: Tensor) -> Tensor:
        return _convolved(self, input, folds=True) if self.pays(input) else super().forward(input)

    def pays(self, input: Tensor) -> bool:
        """Whether there is a gradient to compute with which torch is slow."""
        return _plain(self, input) and input.requires_grad


class HiddenConv2d(nn.Conv2d):
    """`torch.nn.Conv2d`, the same function and the same parameters, for later layers of a net, where maps are small.

    In half precision torch's gradient with respect to the weights goes through each image line by line: on lines of two
    to eight pixels it takes three to ten times as long as the convolution itself. Here images are laid side by side
    first, zeros between them, so that lines are long. Elsewhere, and where weights are fixed, it is torch's own.
    """

    def forward(self, input: Tensor) -> Tensor:
        return _convolved(self, input, folds=False) if self.pays(input) else super().forward(input)

    def pays(self, input: Tensor) -> bool:
        """Whether there is a gradient to compute with which torch is slow."""
        half = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else input.dtype
        small = half == torch.bfloat16 and input.shape[-1] <= SMALL
        learning = self.weight.requires_grad and torch.is_grad_enabled()
        return small and learning and _plain(self, input) and self._even()

    def _even(self) -> bool:
        """Whether a step over the output is one over the input, and no zeros are seen but those beside the filter."""
        padding = [] if isinstance(self.padding, str) else self.padding
        narrow = all(2 * p < k for p, k in zip(padding, self.kernel_size, strict=True))
        return narrow and tuple(self.stride) == tuple(self.dilation) == (1, 1)


def _plain(layer: nn.Conv2d, input: Tensor) -> bool:
    """Whether the layer is one that is computed here: on a CPU, of batches, without groups, padded by zeros."""
    simple = layer.groups == 1 and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    return simple and input.dim() == 4 and input.device.type == "cpu"


def _convolved(layer: nn.Conv2d, x: Tensor, *, folds: bool) -> Tensor:
    """What the layer makes of x, in the precision that autocast asks for."""
    weight, bias = layer.weight, layer.bias
    if torch.is_autocast_enabled("cpu"):  # a Function's own code is not cast for it
        dtype = torch.get_autocast_dtype("cpu")
        x, weight, bias = x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
    convolved: Tensor = _Convolution.apply(x, weight, bias, layer.stride, layer.padding, layer.dilation, folds)
    return convolved


class _Convolution(torch.autograd.Function):
    """y = W * x + b, differentiable as often as one likes, forwards as well. ``folds``: ∂J/∂x is `folded`."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair, dilation: Pair, folds: bool
    ) -> Tensor:
        return F.conv2d(x, weight, bias, stride, padding, dilation)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, weight, bias, *ctx.form, ctx.folds = inputs
        ctx.save_for_backward(x, weight)
        ctx.save_for_forward(x, weight)
        ctx.biased = bias is not None

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad[:3]
        folds, strips = of_x and ctx.folds, of_weight and not ctx.folds and not torch.is_grad_enabled() and len(x)
        wanted = [of_x and not folds, of_weight and not strips, of_bias]
        found = _gradients(grad, x, weight, *ctx.form, wanted=wanted)
        if folds:
            found[0] = folded(grad, weight, x.shape[2:], *ctx.form)
        if strips:
            found[1] = _side_by_side(grad, x, weight, ctx.form[1])
        return (*found, None, None, None, None)

    @staticmethod
    def jvp(ctx: Any, x: Tensor | None, weight: Tensor | None, bias: Tensor | None, *_: None) -> Tensor | None:
        at, kernel = ctx.saved_tensors
        parts = [] if x is None else [F.conv2d(x, kernel, None, *ctx.form)]
        parts += [] if weight is None else [F.conv2d(at, weight, None, *ctx.form)]
        total = sum(parts[1:], parts[0]) if parts else None
        return total if bias is None else bias[:, None, None] + (0 if total is None else total)


def _gradients(
    grad: Tensor, x: Tensor, weight: Tensor, stride: Pair, padding: Pair, dilation: Pair, *, wanted: list[bool]
) -> list[Tensor | None]:
    """torch's gradients with respect to x, weight and bias, as far as they are wanted."""
    if not any(wanted):
        return [None, None, None]
    form = (stride, padding, dilation, False, (0, 0), 1)
    return list(torch.ops.aten.convolution_backward(grad, x, weight, [len(weight)], *form, wanted))


def _side_by_side(grad: Tensor, x: Tensor, weight: Tensor, padding: Pair) -> Tensor:
    """∂J/∂W of a convolution of stride 1, by torch, of wide images: several in a row, ``padding`` zeros between them.

    The gradients lie at the places of their images in the strip, with zeros between them as well, and so meet the same
    pixels as before.
    """
    width, gap = x.shape[3], padding[1]
    several = max(n for n in range(1, max(1, WIDE // (width + gap)) + 1) if len(x) % n == 0)
    strips, gradients = (_strips(each, several, width + gap) for each in (x, grad))
    reach = strips.shape[3] + 2 * gap - weight.shape[3] + 1
    found = _gradients(gradients[..., :reach], strips, weight, (1, 1), padding, (1, 1), wanted=[False, True, False])[1]
    return cast(Tensor, found)


def _strips(images: Tensor, several: int, step: int) -> Tensor:
    """Images side by side, ``step`` columns from one to the next, the rest 0: (n/several, c, h, several·step)."""
    batch, channels, height, width = images.shape
    strips = images.new_zeros((batch // several, height, several, step, channels))
    strips[:, :, :, :width] = images.view(batch // several, several, channels, height, width).permute(0, 3, 1, 4, 2)
    return strips.view(batch // several, height, several * step, channels).permute(0, 3, 1, 2)


def folded(grad: Tensor, weight: Tensor, size: torch.Size, stride: Pair, padding: Pair, dilation: Pair) -> Tensor:
    """∂J/∂x from ∂J/∂y: each output's share for each pixel under the filter, added up where the filters overlap."""
    if tuple(stride) == tuple(dilation) == (1, 1) and not torch.is_grad_enabled():
        return _added_up(grad, weight, size, padding)
    rows = grad.permute(0, 2, 3, 1).flatten(1, 2)
    columns = weight.flatten(1).t() @ rows.transpose(1, 2)
    whole = columns.float() if columns.dtype in (torch.float16, torch.bfloat16) else columns
    return F.fold(whole, tuple(size), tuple(weight.shape[2:]), dilation, padding, stride).to(grad.dtype)


def _added_up(grad: Tensor, weight: Tensor, size: torch.Size, padding: Pair) -> Tensor:
    """The same for stride 1, where a weight's share of all pixels is the gradient's plane, moved by the weight's place.

    Additions in place, which autograd need not follow here, of whole planes: several times as fast as `fold`.
    """
    channels, *side = weight.shape[1:]
    batch, _, height, width = grad.shape
    shares = _product(weight.flatten(1).t(), grad.permute(0, 2, 3, 1).flatten(0, 2))
    shares = shares.view(channels, *side, batch, height, width)
    wide = torch.promote_types(grad.dtype, torch.float32)
    total = grad.new_zeros((channels, batch, *(n + 2 * p for n, p in zip(size, padding, strict=True))), dtype=wide)
    for i in range(side[0]):
        for j in range(side[1]):
            total[:, :, i : i + height, j : j + width] += shares[:, i, j]
    (top, left), (rows, columns) = padding, size
    return total[:, :, top : top + rows, left : left + columns].transpose(0, 1).to(grad.dtype)


def _product(few: Tensor, many: Tensor) -> Tensor:
    """few · manyᵀ, (m, n), for m much smaller than n; by oneDNN where torch offers it.

    For such shapes in float32 torch's own choice, MKL, took five times as long on an AMD EPYC (78,400 rows of 32).
    """
    onednn = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    if onednn is None or few.dtype != torch.float32 or few.device.type != "cpu" or not many.numel():
        return few @ many.t()
    product: Tensor = onednn(few.contiguous(), many.contiguous(), None, "none", [], "")
    return product
