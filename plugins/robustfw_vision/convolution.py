"""The convolution that reads the image: its gradient with respect to few channels, faster than torch's on a CPU."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Pair = tuple[int, int]


class InputConv2d(nn.Conv2d):
    """`torch.nn.Conv2d`, the same function and the same parameters, for the first layer of a net.

    An attack needs ∂J/∂x. With respect to an input of one or three channels, torch's convolution on a CPU takes longer
    than the rest of a small net: it runs a convolution with one or three filters. Here the columns of the gradient
    are one matrix product, Wᵀ ∂J/∂y, and they are added up plane by plane, each moved by the place of its weight, in
    float32 whatever the precision of the net.
    Where there is no such gradient to compute, and on other devices, it is torch's own.
    """

    def forward(self, input: Tensor) -> Tensor:
        if not self.pays(input):
            return super().forward(input)
        if torch.is_autocast_enabled("cpu"):  # a Function's own code is not cast for it
            dtype = torch.get_autocast_dtype("cpu")
            input, weight = input.to(dtype), self.weight.to(dtype)
            bias = None if self.bias is None else self.bias.to(dtype)
        else:
            weight, bias = self.weight, self.bias
        convolved: Tensor = _Convolution.apply(input, weight, bias, self.stride, self.padding, self.dilation)
        return convolved

    def pays(self, input: Tensor) -> bool:
        """Whether there is a gradient to compute with which torch is slow."""
        plain = self.groups == 1 and self.padding_mode == "zeros" and not isinstance(self.padding, str)
        return plain and input.dim() == 4 and input.requires_grad and input.device.type == "cpu"


class _Convolution(torch.autograd.Function):
    """y = W * x + b, differentiable as often as one likes, forwards as well."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair, dilation: Pair) -> Tensor:
        return F.conv2d(x, weight, bias, stride, padding, dilation)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, weight, bias, *ctx.form = inputs
        ctx.save_for_backward(x, weight)
        ctx.save_for_forward(x, weight)
        ctx.biased = bias is not None

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad[:3]
        found = [None, None, None]
        if of_weight or of_bias:
            stride, padding, dilation = ctx.form
            found = torch.ops.aten.convolution_backward(
                grad, x, weight, [len(weight)], stride, padding, dilation, False, [0, 0], 1, [False, of_weight, of_bias]
            )
        return (folded(grad, weight, x.shape[2:], *ctx.form) if of_x else None, *found[1:], None, None, None)

    @staticmethod
    def jvp(ctx: Any, x: Tensor | None, weight: Tensor | None, bias: Tensor | None, *_: None) -> Tensor | None:
        at, kernel = ctx.saved_tensors
        parts = [] if x is None else [F.conv2d(x, kernel, None, *ctx.form)]
        parts += [] if weight is None else [F.conv2d(at, weight, None, *ctx.form)]
        total = sum(parts[1:], parts[0]) if parts else None
        return total if bias is None else bias[:, None, None] + (0 if total is None else total)


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
