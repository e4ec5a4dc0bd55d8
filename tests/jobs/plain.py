"""Nets, files and loops as somebody has them who has never heard of robustfw: torch and numpy alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

RADIUS = 4 / 255
SET = ("--uncertainty", "linf:radius=4/255")
FAST = ("--attack", "single-step")


def images(n: int = 48, side: int = 32, seed: int = 0) -> np.ndarray:
    """Smooth random images (n, 3, side, side), uint8."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, 3, 4, 4, generator=generator)
    smooth = nn.functional.interpolate(coarse, size=(side, side), mode="bilinear")
    return (255 * smooth).round().to(torch.uint8).numpy()


def pixels(x: np.ndarray) -> Tensor:
    """Images as numbers from 0 to 1."""
    return torch.tensor(x).float() / 255


def mostly_right(net: Callable[[Tensor], Tensor], x: Tensor) -> np.ndarray:
    """Labels that a net has right mostly: its own answers, of which some are replaced; every class is there."""
    with torch.no_grad():
        outputs = net(x)
    y = outputs.argmax(1)
    classes = outputs.shape[1]
    y[::5] = (y[::5] + 1) % classes
    y[-classes:] = torch.arange(classes)
    return y.numpy()


def class_losses(outputs: Tensor, y: Tensor) -> Tensor:
    return cross_entropy(outputs, y, reduction="none")


def binary_losses(outputs: Tensor, y: Tensor) -> Tensor:
    return binary_cross_entropy_with_logits(outputs.reshape(-1), y.float(), reduction="none")


def is_class(outputs: Tensor, y: Tensor) -> Tensor:
    return outputs.argmax(1) == y


def fast_gradient_sign(
    net: Callable[[Tensor], Tensor],
    x: Tensor,
    y: Tensor,
    *,
    losses: Callable[[Tensor, Tensor], Tensor] = class_losses,
    right: Callable[[Tensor, Tensor], Tensor] = is_class,
    radius: Any = RADIUS,
    bounds: tuple[Any, Any] = (0.0, 1.0),
) -> dict[str, int]:
    """How many examples are right, and how many of these stay so at x + radius · sign ∇ within the range."""
    variable = x.clone().requires_grad_()
    outputs = net(variable)
    (gradient,) = torch.autograd.grad(losses(outputs, y).sum(), variable)
    step = x + radius * gradient.sign()
    attacked = torch.minimum(torch.maximum(step, torch.as_tensor(bounds[0])), torch.as_tensor(bounds[1]))
    with torch.no_grad():
        clean = right(outputs, y)
        robust = clean & right(net(attacked), y)
    return {"n": len(x), "correct": int(clean.sum()), "robust": int(robust.sum())}


def standardised(net: nn.Module, mean: Any, std: Any) -> Callable[[Tensor], Tensor]:
    """A net that is given standardised images, as a function of images from 0 to 1."""
    mean_tensor = torch.tensor(mean).reshape(-1, 1, 1)
    std_tensor = torch.tensor(std).reshape(-1, 1, 1)
    return lambda x: net((x - mean_tensor) / std_tensor)


def save_npz(net: Callable[[Tensor], Tensor], path: str = "images.npz", side: int = 32) -> tuple[Tensor, Tensor]:
    """Images in a file, with labels that the net has right mostly; as tensors too."""
    x = images(side=side)
    y = mostly_right(net, pixels(x))
    np.savez(path, x=x, y=y)
    return pixels(x), torch.tensor(y)


def write_module(name: str, text: str) -> Path:
    """A Python file."""
    path = Path(name)
    path.write_text(text)
    return path


def small_convolutional(channels: int = 3, classes: int = 4) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(channels, 8, 3, stride=2),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AvgPool2d(3),
        nn.Flatten(),
        nn.Linear(200, classes),
    ).eval()
