"""Contractive autoencoders (Rifai et al. 2011): training layer by layer, Jacobians, and files of them."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Self, final

import attrs
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

FORMAT = "1"
"""Of the training and of the file: another one, another cache entry."""
BATCH = 100


@final
@attrs.frozen(eq=False)
class Layer:
    """h = σ(Wx + b), x̂ = σ(Wᵀh + c): sigmoid units with tied weights, for x in [0, 1]."""

    weight: Tensor
    """(hidden, visible)"""
    hidden: Tensor
    visible: Tensor

    def encode(self, x: Tensor) -> Tensor:
        """h, (batch, hidden)."""
        return torch.sigmoid(x @ self.weight.T + self.hidden)

    def reconstructed(self, h: Tensor) -> Tensor:
        """The logits of x̂, (batch, visible)."""
        return h @ self.weight + self.visible

    def loss(self, x: Tensor, contraction: float) -> Tensor:
        """Σⱼ cross-entropy(xⱼ, x̂ⱼ) + λ‖∂h/∂x‖²_F, the mean over the batch."""
        h = self.encode(x)
        error = binary_cross_entropy_with_logits(self.reconstructed(h), x, reduction="none").sum(1)
        squares = (h * (1 - h)).square() @ self.weight.square().sum(1)
        return (error + contraction * squares).mean()


@final
@attrs.frozen(eq=False)
class Autoencoder:
    """Layers on top of each other, for examples in the range from ``low`` to ``high``, which is brought to [0, 1]."""

    layers: tuple[Layer, ...]
    low: float
    high: float

    def to(self, like: Tensor) -> Self:
        """The same in the type and on the device of a tensor."""
        moved = (Layer(*(t.to(like) for t in attrs.astuple(layer, recurse=False))) for layer in self.layers)
        return attrs.evolve(self, layers=tuple(moved))

    def encode(self, x: Tensor) -> Tensor:
        """The code of x (batch, d), (batch, hidden)."""
        h = (x - self.low) / (self.high - self.low)
        for layer in self.layers:
            h = layer.encode(h)
        return h

    def decode(self, code: Tensor) -> Tensor:
        """x̂ of a code, (batch, d)."""
        for layer in reversed(self.layers):
            code = torch.sigmoid(layer.reconstructed(code))
        return self.low + (self.high - self.low) * code

    def jacobian(self, x: Tensor) -> Tensor:
        """∂code/∂x at each row of x (batch, d), (batch, hidden, d)."""
        h, product = (x - self.low) / (self.high - self.low), None
        for layer in self.layers:
            h = layer.encode(h)
            slopes = (h * (1 - h))[:, :, None]
            product = slopes * (layer.weight if product is None else layer.weight @ product)
        assert product is not None  # there is a layer
        return product / (self.high - self.low)

    def tensors(self) -> dict[str, Tensor]:
        """All of it by name."""
        named = ((f"{i}.{name}", t) for i, layer in enumerate(self.layers) for name, t in _parts(layer).items())
        return {"range": torch.tensor([self.low, self.high], dtype=torch.float64)} | dict(named)

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Self:
        """The inverse of `tensors`."""
        names = [field.name for field in attrs.fields(Layer)]
        count = (len(tensors) - 1) // len(names)
        layers = tuple(Layer(*(tensors[f"{i}.{name}"] for name in names)) for i in range(count))
        low, high = tensors["range"].tolist()
        return cls(layers, low, high)


def _parts(layer: Layer) -> dict[str, Tensor]:
    return attrs.asdict(layer, recurse=False)


@attrs.frozen
class Plan:
    """What decides a training, besides the data."""

    hidden: tuple[int, ...]
    contraction: float
    epochs: int
    learning_rate: float
    seed: int


def trained(x: Tensor, plan: Plan) -> Autoencoder:
    """An autoencoder of the examples x (n, d), each layer learnt on the codes of those below (Adam, batches of 100)."""
    generator = torch.Generator().manual_seed(plan.seed)
    low, high = (float(extreme) for extreme in x.aminmax())
    whole = Autoencoder((), low, high if high > low else low + 1)
    for units in plan.hidden:
        layer = _learnt(whole.encode(x.float()), units, plan, generator)
        whole = attrs.evolve(whole, layers=(*whole.layers, layer))
    return whole


def _learnt(x: Tensor, units: int, plan: Plan, generator: torch.Generator) -> Layer:
    mean = x.mean(0).clamp(1e-3, 1 - 1e-3)
    weight = torch.randn(units, x.shape[1], generator=generator) / x.shape[1] ** 0.5
    layer = Layer(weight, torch.zeros(units), torch.logit(mean))
    parameters = [t.requires_grad_() for t in _parts(layer).values()]
    optimizer = torch.optim.Adam(parameters, lr=plan.learning_rate)
    for _ in range(plan.epochs):
        for rows in torch.randperm(len(x), generator=generator).split(BATCH):
            optimizer.zero_grad()
            with torch.enable_grad():
                layer.loss(x[rows], plan.contraction).backward()
            optimizer.step()
    return Layer(*(t.detach() for t in parameters))


def cached(x: Tensor, plan: Plan, data: str, folder: Path | None) -> Autoencoder:
    """`trained`, or the file that an equal training left in the folder; ``data`` is the hash of what x is from."""
    if folder is None:
        return trained(x, plan)
    facts = f"{FORMAT} {data} {len(x)} {plan}"
    path = folder / f"{hashlib.sha256(facts.encode()).hexdigest()}.safetensors"
    # A file that is damaged is as good as none: it is written anew.
    with contextlib.suppress(OSError, SafetensorError, KeyError, ValueError):
        return Autoencoder.of(load(path.read_bytes()))
    found = trained(x, plan)
    with contextlib.suppress(OSError):  # nowhere to write: the next one trains again
        folder.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_bytes(save({name: t.contiguous() for name, t in found.tensors().items()}))
        temporary.replace(path)
    return found


def cache_folder() -> Path | None:
    """ROBUSTFW_CACHE, or the user's cache; None where there is no home directory."""
    named = Path(os.environ.get("ROBUSTFW_CACHE") or "~/.cache/robustfw")
    try:
        return named.expanduser() / "autoencoders"
    except RuntimeError:
        return None
