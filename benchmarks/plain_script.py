"""A script as people have them, which knows nothing of robustfw: it trains a net on CIFAR-10, and measures it."""

from __future__ import annotations

import sys
import time

import torch
import torchvision
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

MEAN = torch.tensor([0.4914, 0.4822, 0.4465])[:, None, None]
STD = torch.tensor([0.2470, 0.2435, 0.2616])[:, None, None]
RADIUS = 8 / 255
BATCH = 250


class Normalize(nn.Module):
    """The first layer of a net with its normalisation inside."""

    def forward(self, x: Tensor) -> Tensor:
        return (x - MEAN) / STD


def build(inside: bool = True) -> nn.Module:
    """ResNet-18 for ten classes, with the normalisation as its first layer or without it."""
    net = torchvision.models.resnet18(num_classes=10)
    return nn.Sequential(Normalize(), net) if inside else net


def load(root: str, train: bool) -> tuple[Tensor, Tensor]:
    """Images (n, 3, 32, 32) from 0 to 1, and labels."""
    data = torchvision.datasets.CIFAR10(root, train=train)
    x = torch.tensor(data.data).permute(0, 3, 1, 2).float() / 255
    return x, torch.tensor(data.targets)


def prepare(x: Tensor, inside: bool) -> Tensor:
    """What the net is given for images from 0 to 1."""
    return x if inside else (x - MEAN) / STD


def train(net: nn.Module, x: Tensor, y: Tensor, *, epochs: int, inside: bool) -> None:
    """SGD with a one-cycle schedule, shifted and mirrored images."""
    steps = epochs * (len(x) // 128)
    optimizer = torch.optim.SGD(
        net.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=steps)
    net.train()
    for epoch in range(epochs):
        started = time.perf_counter()
        for rows in torch.randperm(len(x)).split(128)[: len(x) // 128]:
            top, left = torch.randint(0, 9, (2,)).tolist()
            shifted = pad(x[rows], (4, 4, 4, 4), mode="reflect")
            images = shifted[:, :, top : top + 32, left : left + 32]
            if torch.rand(()) < 0.5:
                images = images.flip(-1)
            loss = cross_entropy(net(prepare(images, inside)), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        seconds = time.perf_counter() - started
        print(
            f"epoch {epoch + 1}  loss {loss.item():.3f}  {seconds:.0f} s",
            file=sys.stderr,
        )


def measure(net: nn.Module, x: Tensor, y: Tensor, inside: bool) -> tuple[int, int]:
    """How many test images are right, and how many stay so at x + 8/255 · sign ∇ within [0, 1]."""
    net.eval()
    correct = 0
    robust = 0
    for images, labels in zip(x.split(BATCH), y.split(BATCH), strict=True):
        variable = images.clone().requires_grad_()
        logits = net(prepare(variable, inside))
        (gradient,) = torch.autograd.grad(
            cross_entropy(logits, labels, reduction="sum"), variable
        )
        attacked = (images + RADIUS * gradient.sign()).clamp(0, 1)
        with torch.no_grad():
            still = net(prepare(attacked, inside)).argmax(1) == labels
        right = logits.argmax(1) == labels
        correct += int(right.sum())
        robust += int((right & still).sum())
    return correct, robust
