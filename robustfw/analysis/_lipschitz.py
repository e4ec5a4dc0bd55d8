"""Lipschitz constants in ℓ2: of each layer, a product that bounds the net's, and its slopes at examples.

sup_x ‖J(x)‖₂ over all x, J = ∂logits/∂x, is the net's Lipschitz constant L. Slopes at examples bound it from below,
and, where a net is a chain of layers, the product of the layers' constants from above (Szegedy et al. 2013, section
4.3). The two are often far apart: the product assumes that the worst directions of all layers meet.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, TypeAlias

import attrs
import torch
from torch import Tensor, nn

from robustfw.analysis._operators import is_affine, spectral_norm
from robustfw.inner.worst_case import frozen

BoundMethod: TypeAlias = Literal["exact", "iteration", "known", "declared", "unknown"]
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
NUMBERS = 20_000_000
"""Of a batch's Jacobians that are held at once."""
KNOWN: dict[type[nn.Module], float] = {
    **dict.fromkeys((nn.Identity, nn.Flatten, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d), 1.0),
    **dict.fromkeys((nn.ReLU, nn.ReLU6, nn.Tanh, nn.Hardtanh, nn.Softplus, nn.Softsign, nn.Softmax), 1.0),
    nn.Sigmoid: 0.25,
    nn.GELU: 1.13,
    nn.SiLU: 1.1,
    nn.Hardswish: 1.5,
}
"""Largest slopes in evaluation mode, rounded up."""


@attrs.frozen
class LayerBound:
    """A layer as it stands in the net."""

    name: str
    kind: str
    bound: float | None
    """Its Lipschitz constant, or a bound on it; None if there is none."""
    how: BoundMethod
    """exact; iteration: σ_max from below, see `robustfw.analysis.operators`; known of the activation; declared: by the
    module's attribute ``lipschitz``; or unknown."""


@attrs.frozen
class NetBound:
    """All layers, in the order in which they are called, and what they say of the net."""

    layers: tuple[LayerBound, ...]
    unbounded: tuple[str, ...]
    """What keeps the product from being a bound: layers without one, and modules that may call layers in any way."""

    @property
    def upper(self) -> float | None:
        """L ≤ the product of all layers' constants; None where that is no bound."""
        return None if self.unbounded else math.prod(layer.bound or 0.0 for layer in self.layers)


@attrs.frozen
class Slopes:
    """‖J(x)‖₂ over examples."""

    n: int
    quantiles: tuple[float, ...]
    """At `QUANTILES`; the last one bounds L from below, where the net is differentiable there."""

    @classmethod
    def of(cls, parts: Iterable[Tensor]) -> Slopes:
        """Of the slopes of some batches."""
        values = torch.cat([part.double().cpu() for part in parts])
        return cls(len(values), tuple(torch.quantile(values, values.new_tensor(QUANTILES)).tolist()))


def layers(model: nn.Module, x: Tensor, *, seed: int = 0) -> Iterator[LayerBound]:
    """Each call of a layer, in order, in evaluation mode.

    Args:
        model: f. A module with a number ``lipschitz`` is believed and not looked into.
        x: one example, (1, *shape), for the sizes of all inputs.
        seed: of the iterations' first vectors.
    """
    generator = torch.Generator().manual_seed(seed)
    names = {module: name for name, module in _leaves("", model)}
    with frozen(model):
        for module, given in _calls(model, names, x):
            yield _layer(names[module] or type(module).__name__, module, given, generator)


def bound_net(model: nn.Module, found: Iterable[LayerBound]) -> NetBound:
    """The layers together: a product bounds the net where nothing but chains of them is called."""
    listed = tuple(found)
    unknown = [layer.name for layer in listed if layer.bound is None]
    loose = [f"{name or 'the net'} ({type(module).__name__})" for name, module in _branching("", model)]
    return NetBound(listed, tuple(dict.fromkeys([*unknown, *loose])))


def _is_leaf(module: nn.Module) -> bool:
    return _declared(module) is not None or not any(True for _ in module.children())


def _declared(module: nn.Module) -> float | None:
    """The constant that a module's author states."""
    value = getattr(module, "lipschitz", None)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) and value >= 0 else None


def _leaves(name: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """What is looked at as a whole."""
    if _is_leaf(module):
        yield name, module
        return
    for child, part in module.named_children():
        yield from _leaves(f"{name}.{child}" if name else child, part)


def _branching(name: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Modules with parts that are not simply called one after the other."""
    if _is_leaf(module):
        return
    if not isinstance(module, nn.Sequential):
        yield name, module
        return
    for child, part in module.named_children():
        yield from _branching(f"{name}.{child}" if name else child, part)


def _calls(model: nn.Module, leaves: Iterable[nn.Module], x: Tensor) -> list[tuple[nn.Module, Tensor]]:
    """Each call of a leaf with what it was given."""
    calls: list[tuple[nn.Module, Tensor]] = []

    def heard(module: nn.Module, given: tuple[Any, ...]) -> None:
        if given and isinstance(given[0], Tensor):
            calls.append((module, given[0].detach()))

    handles = [leaf.register_forward_pre_hook(heard) for leaf in leaves]
    try:
        with torch.no_grad():
            model(x)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _layer(name: str, module: nn.Module, given: Tensor, generator: torch.Generator) -> LayerBound:
    kind = type(module).__name__
    declared = _declared(module)
    if declared is not None:
        return LayerBound(name, kind, declared, "declared")
    known = _known(module)
    if known is not None:
        return LayerBound(name, kind, known, "known")
    if is_affine(module, given, generator):
        norm, exact = spectral_norm(module, given, generator)
        return LayerBound(name, kind, norm, "exact" if exact else "iteration")
    return LayerBound(name, kind, None, "unknown")


def _known(module: nn.Module) -> float | None:
    """Of activations and pools; a maximum over windows counts a value once for each window that it is in."""
    if isinstance(module, nn.LeakyReLU):
        return max(1.0, abs(module.negative_slope))
    if isinstance(module, nn.ELU):
        return max(1.0, abs(module.alpha))
    if isinstance(module, nn.MaxPool1d | nn.MaxPool2d | nn.MaxPool3d):
        return math.sqrt(_windows(module))
    return KNOWN.get(type(module))


def _windows(pool: nn.MaxPool1d | nn.MaxPool2d | nn.MaxPool3d) -> int:
    """The most windows that share a value: ⌈size/stride⌉ in each direction; any of a dilated one's offsets may."""
    dimensions = int(type(pool).__name__.removeprefix("MaxPool")[0])

    def each(value: Any) -> tuple[int, ...]:
        return tuple(value) if isinstance(value, tuple) else (int(value),) * dimensions

    sizes, strides, dilations = each(pool.kernel_size), each(pool.stride), each(pool.dilation)
    parts = zip(sizes, strides, dilations, strict=True)
    return math.prod(math.ceil(size / stride) if dilation == 1 else size for size, stride, dilation in parts)


def slopes(model: nn.Module, batches: Iterable[Tensor]) -> Iterator[Tensor]:
    """‖J(x)‖₂ of each row of each batch, (batch,), exact up to rounding; one backward pass for each class."""
    with frozen(model):
        for x in batches:
            yield _slopes(model, x)


def _slopes(model: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    with torch.enable_grad():
        point = x.detach().requires_grad_()
        logits = model(point)
        if not logits.requires_grad:
            return x.new_zeros(len(x))
        classes = range(logits.shape[1])
        rows = [torch.autograd.grad(logits[:, c].sum(), point, retain_graph=True)[0].flatten(1) for c in classes]
    jacobian = torch.stack(rows, 1).double()
    return torch.linalg.eigvalsh(jacobian @ jacobian.transpose(1, 2))[:, -1].clamp(min=0).sqrt()


def batch_size(shape: Sequence[int], classes: int, most: int) -> int:
    """How many examples' Jacobians fit at once."""
    return max(1, min(most, NUMBERS // max(1, classes * math.prod(shape))))
