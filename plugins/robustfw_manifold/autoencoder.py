"""Contractive autoencoders (Rifai et al. 2011): training layer by layer, Jacobians, and a cache of trained ones."""

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
"""Version of the training and of the file format; another version has other cache entries."""
BATCH = 100
"""Examples in a batch of the training."""


@final
@attrs.frozen(eq=False)
class Layer:
    """h = σ(Wx + b), x̂ = σ(Wᵀh + c): sigmoid units with tied weights, for x in [0, 1]."""

    weight: Tensor
    """W, (hidden, visible)."""
    hidden: Tensor
    """b, (hidden,)."""
    visible: Tensor
    """c, (visible,)."""

    def encode(self, x: Tensor) -> Tensor:
        """The code h of x (batch, visible), (batch, hidden)."""
        return torch.sigmoid(x @ self.weight.T + self.hidden)

    def reconstruct(self, h: Tensor) -> Tensor:
        """The logits of x̂, (batch, visible), of a code (batch, hidden)."""
        return h @ self.weight + self.visible

    def loss(self, x: Tensor, contraction: float) -> Tensor:
        """Σⱼ cross-entropy(xⱼ, x̂ⱼ) + λ‖∂h/∂x‖²_F, the mean over the batch; ``contraction`` is λ."""
        h = self.encode(x)
        logits = self.reconstruct(h)
        errors = binary_cross_entropy_with_logits(logits, x, reduction="none")
        error = errors.sum(1)
        squared_slopes = (h * (1 - h)).square()
        squared_jacobian = squared_slopes @ self.weight.square().sum(1)
        return (error + contraction * squared_jacobian).mean()


@final
@attrs.frozen(eq=False)
class Autoencoder:
    """A stack of layers, for examples in the range from ``low`` to ``high``, which is scaled to [0, 1]."""

    layers: tuple[Layer, ...]
    """The lowest layer first."""
    low: float
    high: float

    def convert(self, like: Tensor) -> Self:
        """The autoencoder in the type and on the device of a tensor."""
        layers = []
        for layer in self.layers:
            weight = layer.weight.to(like)
            hidden = layer.hidden.to(like)
            visible = layer.visible.to(like)
            layers.append(Layer(weight, hidden, visible))
        return attrs.evolve(self, layers=tuple(layers))

    def encode(self, x: Tensor) -> Tensor:
        """The code of x (batch, d), (batch, hidden): the topmost layer's."""
        h = (x - self.low) / (self.high - self.low)
        for layer in self.layers:
            h = layer.encode(h)
        return h

    def decode(self, code: Tensor) -> Tensor:
        """The reconstruction x̂, (batch, d), of a code (batch, hidden)."""
        for layer in reversed(self.layers):
            code = torch.sigmoid(layer.reconstruct(code))
        return self.low + (self.high - self.low) * code

    def jacobian(self, x: Tensor) -> Tensor:
        """∂code/∂x at each row of x (batch, d), (batch, hidden, d)."""
        h = (x - self.low) / (self.high - self.low)
        jacobian = None
        for layer in self.layers:
            h = layer.encode(h)
            # the derivative of the sigmoid at each unit
            slopes = (h * (1 - h))[:, :, None]
            linear = layer.weight if jacobian is None else layer.weight @ jacobian
            jacobian = slopes * linear
        assert jacobian is not None  # there is a layer
        return jacobian / (self.high - self.low)

    def tensors(self) -> dict[str, Tensor]:
        """The range and the parameters by name, for a file: "range", "0.weight", "0.hidden", and so on."""
        named = {"range": torch.tensor([self.low, self.high], dtype=torch.float64)}
        for i, layer in enumerate(self.layers):
            for name, parameter in _parameters(layer).items():
                named[f"{i}.{name}"] = parameter
        return named

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        """The autoencoder that `tensors` gave by name.

        Raises:
            KeyError: a name is missing.
        """
        names = [field.name for field in attrs.fields(Layer)]
        count = (len(tensors) - 1) // len(names)
        layers = []
        for i in range(count):
            parameters = {name: tensors[f"{i}.{name}"] for name in names}
            layers.append(Layer(**parameters))
        low, high = tensors["range"].tolist()
        return cls(tuple(layers), low, high)


def _parameters(layer: Layer) -> dict[str, Tensor]:
    """The parameters of a layer by name."""
    return attrs.asdict(layer, recurse=False)


@attrs.frozen
class TrainingPlan:
    """What decides a training, besides the data."""

    hidden: tuple[int, ...]
    """Units of each layer, the lowest first."""
    contraction: float
    """λ, the weight of the Jacobian's squared norm."""
    epochs: int
    """Passes over the examples for each layer."""
    learning_rate: float
    seed: int
    """The seed of initial weights and of the order of examples."""


def train(x: Tensor, plan: TrainingPlan) -> Autoencoder:
    """An autoencoder of the examples x (n, d), each layer trained on the codes of those below (by Adam)."""
    generator = torch.Generator().manual_seed(plan.seed)
    low, high = (float(extreme) for extreme in x.aminmax())
    if high <= low:
        high = low + 1
    net = Autoencoder((), low, high)
    for units in plan.hidden:
        codes = net.encode(x.float())
        layer = _train_layer(codes, units, plan, generator)
        net = attrs.evolve(net, layers=(*net.layers, layer))
    return net


def _train_layer(
    x: Tensor, units: int, plan: TrainingPlan, generator: torch.Generator
) -> Layer:
    """A layer of so many units for inputs x (n, visible) in [0, 1]."""
    # begin at a reconstruction that is the mean of the inputs
    mean = x.mean(0).clamp(1e-3, 1 - 1e-3)
    visible = x.shape[1]
    noise = torch.randn(units, visible, generator=generator)
    weight = noise / visible**0.5
    layer = Layer(weight, torch.zeros(units), torch.logit(mean))
    parameters = list(_parameters(layer).values())
    for parameter in parameters:
        parameter.requires_grad_()
    optimizer = torch.optim.Adam(parameters, lr=plan.learning_rate)
    for _ in range(plan.epochs):
        order = torch.randperm(len(x), generator=generator)
        for rows in order.split(BATCH):
            optimizer.zero_grad()
            with torch.enable_grad():
                layer.loss(x[rows], plan.contraction).backward()
            optimizer.step()
    return Layer(*(parameter.detach() for parameter in parameters))


def load_or_train(
    x: Tensor, plan: TrainingPlan, data: str, folder: Path | None
) -> Autoencoder:
    """The autoencoder that an equal training left in the cache; if there is none, one is trained and saved there.

    Args:
        x: examples, (n, d).
        plan: options of the training.
        data: fingerprint of the data set that x is from.
        folder: the cache; None: there is none.
    """
    if folder is None:
        return train(x, plan)
    key = f"{FORMAT} {data} {len(x)} {plan}"
    path = folder / f"{hashlib.sha256(key.encode()).hexdigest()}.safetensors"
    # a missing or damaged file is written anew
    with contextlib.suppress(OSError, SafetensorError, KeyError, ValueError):
        return Autoencoder.from_tensors(load(path.read_bytes()))
    net = train(x, plan)
    # where the folder cannot be written the next call trains again
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        tensors = {name: tensor.contiguous() for name, tensor in net.tensors().items()}
        temporary.write_bytes(save(tensors))
        temporary.replace(path)
    return net


def cache_folder() -> Path | None:
    """The folder autoencoders of ROBUSTFW_CACHE, or of ~/.cache/robustfw; None where there is no home directory."""
    cache = Path(os.environ.get("ROBUSTFW_CACHE") or "~/.cache/robustfw")
    try:
        return cache.expanduser() / "autoencoders"
    except RuntimeError:
        return None
