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
from robustfw.inner.freezing import freeze

BoundMethod: TypeAlias = Literal["exact", "iteration", "known", "declared", "unknown"]
"""How the constant of a layer is known."""
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
"""Levels of the quantiles of slopes."""
NUMBERS = 20_000_000
"""Entries of Jacobians that are held at once, at most."""
KNOWN: dict[type[nn.Module], float] = {
    nn.Identity: 1.0,
    nn.Flatten: 1.0,
    nn.Dropout: 1.0,
    nn.Dropout1d: 1.0,
    nn.Dropout2d: 1.0,
    nn.Dropout3d: 1.0,
    nn.ReLU: 1.0,
    nn.ReLU6: 1.0,
    nn.Tanh: 1.0,
    nn.Hardtanh: 1.0,
    nn.Softplus: 1.0,
    nn.Softsign: 1.0,
    nn.Softmax: 1.0,
    nn.Sigmoid: 0.25,
    nn.GELU: 1.13,
    nn.SiLU: 1.1,
    nn.Hardswish: 1.5,
}
"""The largest slope of each activation in evaluation mode, rounded up."""


@attrs.frozen
class LayerBound:
    """The Lipschitz constant of a layer, as it stands in the net."""

    name: str
    """The layer's name in the net."""
    kind: str
    """The name of the layer's class."""
    bound: float | None
    """The Lipschitz constant, or a bound on it; None if there is none."""
    how: BoundMethod
    """exact; iteration: σ_max from below, see `robustfw.analysis._operators`; known of the activation; declared: by the
    module's attribute ``lipschitz``; or unknown."""


@attrs.frozen
class NetBound:
    """All layers, in the order in which they are called, and what they say of the net."""

    layers: tuple[LayerBound, ...]
    """All layers, in the order in which they are called."""
    unbounded: tuple[str, ...]
    """What keeps the product from being a bound: layers without one, and modules that may call layers in any way."""

    @property
    def upper(self) -> float | None:
        """L ≤ the product of all layers' constants; None where that is no bound."""
        if self.unbounded:
            return None
        return math.prod(layer.bound or 0.0 for layer in self.layers)


@attrs.frozen
class Slopes:
    """‖J(x)‖₂ over examples."""

    n: int
    """Examples."""
    quantiles: tuple[float, ...]
    """Quantiles of the slopes at `QUANTILES`; the last one bounds L from below, where the net is differentiable."""

    @classmethod
    def from_batches(cls, parts: Iterable[Tensor]) -> Slopes:
        """The quantiles of the slopes of some batches, (batch,) each."""
        values = torch.cat([part.double().cpu() for part in parts])
        levels = values.new_tensor(QUANTILES)
        quantiles = torch.quantile(values, levels)
        return cls(len(values), tuple(quantiles.tolist()))


def layers(model: nn.Module, x: Tensor, *, seed: int = 0) -> Iterator[LayerBound]:
    """Each call of a layer, in order, in evaluation mode.

    Args:
        model: f. A module with a number ``lipschitz`` is believed and not looked into.
        x: one example, (1, *shape), for the sizes of all inputs.
        seed: of the iterations' first vectors.
    """
    generator = torch.Generator().manual_seed(seed)
    names = {module: name for name, module in _leaves("", model)}
    with freeze(model):
        for module, inputs in _record_calls(model, names, x):
            name = names[module] or type(module).__name__
            yield _bound_layer(name, module=module, inputs=inputs, generator=generator)


def bound_net(model: nn.Module, layers: Iterable[LayerBound]) -> NetBound:
    """The layers together: a product bounds the net where nothing but chains of them is called."""
    bounds = tuple(layers)
    unbounded = []
    for layer in bounds:
        if layer.bound is None:
            unbounded.append(layer.name)
    for name, module in _branches("", model):
        unbounded.append(f"{name or 'the net'} ({type(module).__name__})")
    each_once = dict.fromkeys(unbounded)
    return NetBound(bounds, tuple(each_once))


def _is_leaf(module: nn.Module) -> bool:
    """Whether a module is looked at as a whole: its author states its constant, or it has no parts."""
    if _author_constant(module) is not None:
        return True
    return not list(module.children())


def _author_constant(module: nn.Module) -> float | None:
    """The constant that a module's author states as the attribute ``lipschitz``."""
    value = getattr(module, "lipschitz", None)
    if not isinstance(value, int | float):
        return None
    if not math.isfinite(value) or value < 0:
        return None
    return float(value)


def _leaves(name: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Modules that are looked at as a whole, by their names."""
    if _is_leaf(module):
        yield name, module
        return
    for child, part in module.named_children():
        path = f"{name}.{child}" if name else child
        yield from _leaves(path, part)


def _branches(name: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Modules with parts that are not simply called one after the other."""
    if _is_leaf(module):
        return
    if not isinstance(module, nn.Sequential):
        yield name, module
        return
    for child, part in module.named_children():
        path = f"{name}.{child}" if name else child
        yield from _branches(path, part)


def _record_calls(
    model: nn.Module, leaves: Iterable[nn.Module], x: Tensor
) -> list[tuple[nn.Module, Tensor]]:
    """Each call of a leaf with its input, in their order."""
    calls: list[tuple[nn.Module, Tensor]] = []

    def record(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        if arguments and isinstance(arguments[0], Tensor):
            calls.append((module, arguments[0].detach()))

    handles = [leaf.register_forward_pre_hook(record) for leaf in leaves]
    try:
        with torch.no_grad():
            model(x)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _bound_layer(
    name: str, module: nn.Module, inputs: Tensor, generator: torch.Generator
) -> LayerBound:
    """The constant of a layer, and how it is known."""
    kind = type(module).__name__
    author_constant = _author_constant(module)
    if author_constant is not None:
        return LayerBound(name=name, kind=kind, bound=author_constant, how="declared")
    slope = _largest_slope(module)
    if slope is not None:
        return LayerBound(name=name, kind=kind, bound=slope, how="known")
    if is_affine(module, inputs, generator):
        norm, exact = spectral_norm(module, inputs, generator)
        how: BoundMethod = "exact" if exact else "iteration"
        return LayerBound(name=name, kind=kind, bound=norm, how=how)
    return LayerBound(name=name, kind=kind, bound=None, how="unknown")


def _largest_slope(module: nn.Module) -> float | None:
    """The constant of an activation or a max pool; None of other layers.

    A maximum over windows counts a value once for each window that it is in.
    """
    if isinstance(module, nn.LeakyReLU):
        return max(1.0, abs(module.negative_slope))
    if isinstance(module, nn.ELU):
        return max(1.0, abs(module.alpha))
    if isinstance(module, nn.MaxPool1d | nn.MaxPool2d | nn.MaxPool3d):
        return math.sqrt(_count_windows(module))
    return KNOWN.get(type(module))


def _count_windows(pool: nn.MaxPool1d | nn.MaxPool2d | nn.MaxPool3d) -> int:
    """The most windows that share a value: ⌈size/stride⌉ in each direction; any of a dilated one's offsets may."""
    dimensions = int(type(pool).__name__.removeprefix("MaxPool")[0])

    def expand(value: Any) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return tuple(value)
        return (int(value),) * dimensions

    sizes = expand(pool.kernel_size)
    strides = expand(pool.stride)
    dilations = expand(pool.dilation)
    windows = 1
    for size, stride, dilation in zip(sizes, strides, dilations, strict=True):
        if dilation == 1:
            windows *= math.ceil(size / stride)
        else:
            windows *= size
    return windows


def slopes(model: nn.Module, batches: Iterable[Tensor]) -> Iterator[Tensor]:
    """‖J(x)‖₂ of each row of each batch, (batch,), exact up to rounding; one backward pass for each class."""
    with freeze(model):
        for x in batches:
            yield _jacobian_norms(model, x)


def _jacobian_norms(model: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    with torch.enable_grad():
        point = x.detach().requires_grad_()
        logits = model(point)
        if not logits.requires_grad:
            return x.new_zeros(len(x))
        # J row by row: a backward pass for each class
        rows = []
        for label in range(logits.shape[1]):
            total = logits[:, label].sum()
            (gradient,) = torch.autograd.grad(total, point, retain_graph=True)
            rows.append(gradient.flatten(1))
    # ‖J‖₂ is the root of the largest eigenvalue of J Jᵀ, which is as small as there are classes
    jacobian = torch.stack(rows, 1).double()
    gram = jacobian @ jacobian.transpose(1, 2)
    eigenvalues = torch.linalg.eigvalsh(gram)
    largest = eigenvalues[:, -1].clamp(min=0)
    return largest.sqrt()


def batch_size(shape: Sequence[int], classes: int, most: int) -> int:
    """How many examples' Jacobians fit at once.

    Args:
        shape: of an example.
        classes: logits of the net.
        most: examples, at most.
    """
    entries = max(1, classes * math.prod(shape))
    fitting = NUMBERS // entries
    return max(1, min(most, fitting))
