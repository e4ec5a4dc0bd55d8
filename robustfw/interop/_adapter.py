"""Nets of any form behind one: x in the data's range in, one tensor of outputs out."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from robustfw.errors import DataError, RobustfwWarning, UsageError
from robustfw.interop._normalization import Normalization
from robustfw.interop._outputs import pick_output

WRAPPERS = ("module", "_orig_mod")
"""Attributes under which wrappers such as DataParallel and ``torch.compile`` hold the net."""


class Adapter(nn.Module):
    """x ↦ the logits of any net, which is left as it is.

    1. x is normalised, (x − mean)/std.
    2. x is cast to the type of the net's weights.
    3. The net is called, with x under the name of its input, and with further inputs that stay as they are.
    4. Its logits are picked, and come back in float32 at least.

    Gradients flow through all of it. Normalisation is part of the ``state_dict``, under ``mean`` and ``std``.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        net: nn.Module,
        *,
        normalization: Normalization | None = None,
        output: str | int = "auto",
        input: str | None = None,
        inputs: Mapping[str, Any] | None = None,
        mask: str | bool | None = None,
    ) -> None:
        """Wrap a net.

        Args:
            net: the net.
            normalization: what the net expects of its input; None where it takes the data as they are.
            output: the name or index of the logits among the outputs; "auto" where these leave no doubt.
            input: the keyword argument that x is given as; None for the first positional one.
            inputs: further arguments by keyword. Tensors whose first axis has length 1 are expanded to the batch.
            mask: whether the last feature of x, (batch, …, features + 1), is a mask of valid steps, which the net takes
                as its second argument; or the name of the argument.
        """
        super().__init__()
        self.net = net
        self.output = output
        self.input = input
        self.mask = mask
        self._given = normalization
        if normalization is not None:
            self.register_buffer("mean", torch.tensor(normalization.mean))
            self.register_buffer("std", torch.tensor(normalization.std))
        self._constants: dict[str, Any] = {}
        self._constant_tensors: dict[str, str] = {}
        for name, value in (inputs or {}).items():
            if isinstance(value, Tensor):
                # a buffer moves to another device with the net
                buffer = f"_input_{name}"
                self.register_buffer(buffer, value, persistent=False)
                self._constant_tensors[name] = buffer
            else:
                self._constants[name] = value

    @property
    def normalization(self) -> Normalization | None:
        """The normalisation in effect; loaded weights may have brought another one."""
        if self._given is None:
            return None
        for numbers, buffer in (
            (self._given.mean, self.mean),
            (self._given.std, self.std),
        ):
            expected = torch.tensor(numbers, dtype=buffer.dtype, device=buffer.device)
            if not torch.allclose(expected, buffer):
                return _read_buffers(self, "the weights")
        return self._given

    def forward(self, x: Tensor) -> Tensor:
        """The logits of x, (batch, *shape)."""
        mask = None
        if self.mask:
            # a feature beside the others, which normalisation and casts leave alone
            mask = x[..., -1] > 0.5
            x = x[..., :-1]
        x = self._normalize(x)
        dtype = floating_dtype(self.net)
        if dtype is not None and x.is_floating_point():
            x = x.to(dtype)

        positional: list[Tensor] = []
        named = dict(self._constants)
        for name, buffer in self._constant_tensors.items():
            named[name] = _expand(getattr(self, buffer), len(x))
        if self.input is None:
            positional.append(x)
        else:
            named[self.input] = x
        if isinstance(self.mask, str):
            named[self.mask] = mask
        elif mask is not None:
            positional.append(mask)

        logits = pick_output(self.net(*positional, **named), self.output)
        if logits.dtype in (torch.float16, torch.bfloat16):
            return logits.float()
        return logits

    def _normalize(self, x: Tensor) -> Tensor:
        """(x − mean)/std per channel, the first axis of an example; with a mask, per feature, the last axis."""
        if self._given is None:
            return x
        axis = x.dim() - 1 if self.mask else 1
        shape = [1] * x.dim()
        shape[axis] = -1
        channels = x.shape[axis]
        if len(self.mean) not in (1, channels):
            raise DataError(
                f"x has {channels} channels and the normalisation ({self._given.source}) is for {len(self.mean)}: give "
                "another one, with a number for each channel"
            )
        mean = self.mean.to(x.dtype).view(shape)
        std = self.std.to(x.dtype).view(shape)
        return (x - mean) / std

    def extra_repr(self) -> str:
        """The options, for ``print(net)``."""
        return f"normalization={self.normalization}, output={self.output!r}, input={self.input!r}, mask={self.mask!r}"


def adapt(
    net: nn.Module,
    *,
    normalize: Normalization | str | Sequence[Any] | None = None,
    output: str | int = "auto",
    input: str | None = None,
    inputs: Mapping[str, Any] | None = None,
    mask: str | bool | None = None,
) -> Adapter:
    """A net of any form as robustfw takes it: normalisation first, one tensor of logits last.

    Args:
        net: the net, which is not changed.
        normalize: what the net expects of its input: a name such as "imagenet" or "cifar10", "mean/std" as text,
            a pair (mean, std) of numbers or sequences of numbers, or a `Normalization`; None where it takes the data as
            they are.
        output: the name or index of the logits among the net's outputs. By default a tensor as it is, what is called
            ``logits``, or the first entry of a tuple.
        input: the keyword argument that x is given as, such as "pixel_values"; by default the first positional one.
        inputs: further arguments by keyword, which stay as they are. Tensors whose first axis has length 1 are expanded
            to the batch.
        mask: True where the last feature of x is a mask of valid steps: the net is called as ``net(x[..., :-1], mask)``
            with a mask of truth values; or the name of the keyword argument.

    Returns:
        The `Adapter`; ``.net`` is the net.

    Raises:
        UsageError: there is no such normalisation, or the net has been adapted before.

    Warns:
        RobustfwWarning: the net normalises its input itself, so that it would be done twice.
    """
    if isinstance(net, Adapter):
        raise UsageError("the net has been adapted already: adapt its .net instead")
    normalization = _read_normalization(normalize)
    inner = normalization_in_effect(net)
    if normalization is not None and inner is not None:
        warnings.warn(
            f"the net normalises its input already, by {inner}: leave normalize out unless it is meant twice",
            RobustfwWarning,
            stacklevel=2,
        )
    return Adapter(
        net,
        normalization=normalization,
        output=output,
        input=input,
        inputs=inputs,
        mask=mask,
    )


def _read_normalization(
    given: Normalization | str | Sequence[Any] | None,
) -> Normalization | None:
    """A normalisation from whatever form it is given in."""
    if given is None or isinstance(given, Normalization):
        return given
    if isinstance(given, str):
        return Normalization.read(given)
    if len(given) != 2:
        raise UsageError(f"normalize is a pair, (mean, std), not {len(given)} values")
    return Normalization(given[0], given[1])


def normalization_in_effect(net: nn.Module) -> Normalization | None:
    """The normalisation that a net begins with; None where none can be found.

    It is that of an `Adapter`, or of the first layers of an ``nn.Sequential``: one that standardises has the buffers
    ``mean`` and ``std``. What a net does within its own ``forward`` is not seen.
    """
    net = unwrap(net)
    if isinstance(net, Adapter):
        return net.normalization or normalization_in_effect(net.net)
    if not isinstance(net, nn.Sequential):
        return None
    for layer in net:
        if standardises(layer):
            return _read_buffers(layer, f"the layer {type(layer).__name__} of the net")
        if isinstance(layer, nn.Sequential | Adapter):
            return normalization_in_effect(layer)
        # layers without parameters, such as a change of layout, may come before
        if next(layer.parameters(), None) is not None:
            return None
    return None


def standardises(layer: nn.Module) -> bool:
    """Whether a layer has the buffers ``mean`` and ``std``, and no parameters."""
    buffers = dict(layer.named_buffers(recurse=False))
    has_statistics = isinstance(buffers.get("mean"), Tensor) and isinstance(
        buffers.get("std"), Tensor
    )
    return has_statistics and next(layer.parameters(), None) is None


def _read_buffers(layer: nn.Module, source: str) -> Normalization:
    """The statistics in a layer's buffers."""
    statistics = []
    for buffer in (layer.get_buffer("mean"), layer.get_buffer("std")):
        # float32 in six digits: 0.485, not 0.48500001430511475
        statistics.append(
            tuple(float(f"{number:.6g}") for number in buffer.flatten().tolist())
        )
    mean, std = statistics
    return Normalization(mean, std, source)


def unwrap(net: nn.Module) -> nn.Module:
    """The net within wrappers such as DataParallel and that of ``torch.compile``."""
    children = dict(net.named_children())
    if len(children) == 1:
        for name in WRAPPERS:
            if name in children:
                return unwrap(children[name])
    return net


def floating_dtype(net: nn.Module) -> torch.dtype | None:
    """The type of the net's first floating-point parameter, else buffer; None where it has neither."""
    for tensors in (net.parameters(), net.buffers()):
        for tensor in tensors:
            if tensor.is_floating_point():
                return tensor.dtype
    return None


def _expand(value: Tensor, rows: int) -> Tensor:
    """A constant input for a batch: repeated along a first axis of length 1, and as it is otherwise."""
    if value.dim() and len(value) == 1:
        return value.expand(rows, *value.shape[1:])
    return value
