"""Models of other libraries, files of theirs, and a plain loop that measures a net beside `robustfw.evaluate`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import robustfw
from robustfw import DataSpec

IMAGES = DataSpec((3, 32, 32), 10)


def build(model: str, spec: DataSpec = IMAGES, seed: int = 0) -> nn.Module:
    """The net of a model's spec, with weights by a seed."""
    torch.manual_seed(seed)
    return robustfw.make("model", model).build(spec).eval()


def examples(rows: int = 12, spec: DataSpec = IMAGES) -> tuple[Tensor, Tensor]:
    """Random images with random labels."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(rows, *spec.shape, generator=generator)
    y = torch.randint(spec.classes, (rows,), generator=generator)
    return x, y


def small_net(seed: int = 0) -> nn.Module:
    """A convnet with batch norm for the images."""
    torch.manual_seed(seed)
    layers = [nn.Conv2d(3, 8, 3, stride=4), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 64, 10)]
    net = nn.Sequential(*layers)
    # statistics of its own, so that the mode matters
    net(torch.rand(16, 3, 32, 32))
    return net.eval()


def single_step(forward, x: Tensor, y: Tensor, radius: float) -> Tensor:
    """The perturbed images of one signed-gradient step, by hand."""
    x = x.clone().requires_grad_()
    loss = nn.functional.cross_entropy(forward(x), y, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, x)
    return (x + radius * gradient.sign()).clamp(0, 1).detach()


def plain_loop(forward, x: Tensor, y: Tensor, radius: float) -> tuple[float, float]:
    """Clean accuracy, and the share that is right before and after the step; ``forward`` is the original net's."""
    right = forward(x).argmax(1) == y
    still_right = forward(single_step(forward, x, y, radius)).argmax(1) == y
    return int(right.sum()) / len(x), int((right & still_right).sum()) / len(x)


def labels_of(forward, x: Tensor) -> Tensor:
    """Labels that the net gives, but for each third example: neither all right nor all wrong."""
    y = forward(x).argmax(1)
    y[::3] = (y[::3] + 1) % 10
    return y


def require_equal_numbers(net: nn.Module, forward, radius: float = 2 / 255) -> None:
    """`robustfw.evaluate` of the net gives the numbers of a plain loop over the original's forward pass."""
    x, _ = examples()
    with torch.no_grad():
        assert torch.allclose(net(x), forward(x), atol=1e-4, rtol=1e-4)
        y = labels_of(forward, x)
    clean, robust = plain_loop(forward, x, y, radius)
    evaluation = robustfw.evaluate(
        net,
        robustfw.TensorSplit(x, y),
        uncertainty=f"linf:radius={radius}",
        attack="single-step:random_start=false",
        classes=10,
    )
    assert evaluation.clean_accuracy == clean
    assert evaluation.robust_accuracy == robust
    assert 0 < clean < 1
