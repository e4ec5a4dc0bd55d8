"""Eight nets whose gradients are masked, each a wrapper of one small net; and nets of which none is."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

import robustfw


@functools.cache
def digits() -> robustfw.Splits:
    return robustfw.make("dataset", "digits").load(None)


@functools.cache
def base() -> nn.Module:
    """A small net that was trained plainly on digits."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(192, 48), nn.ReLU(),
        nn.Linear(48, 10),
    )  # fmt: skip
    x, y = digits().first_examples(1222)
    optimizer = torch.optim.Adam(net.parameters(), 0.003)
    for _ in range(20):
        for rows in torch.arange(len(x)).split(64):
            loss = nn.functional.cross_entropy(net(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return net.eval()


class Masked(nn.Module):
    """A net behind a step that hides its gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.net = base()


class Rounding(Masked):
    """Pixels in 16 levels."""

    def forward(self, x: Tensor) -> Tensor:
        return self.net(torch.round(15 * x) / 15)


class Saturated(Masked):
    """Logits so large that the softmax is 0 or 1."""

    def forward(self, x: Tensor) -> Tensor:
        return 1000 * self.net(x)


class Noisy(Masked):
    """Pixels with noise, another one each time."""

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x + 0.1 * torch.randn_like(x))


class WinnersTakeAll(Masked):
    """Only the largest tenth of each layer's numbers goes on (Xiao et al. 2020)."""

    def forward(self, x: Tensor) -> Tensor:
        first, _, pool, flat, second, _, last = self.net
        return last(self.winners(second(flat(pool(self.winners(first(x)))))))

    @staticmethod
    def winners(x: Tensor) -> Tensor:
        flat = x.flatten(1)
        count = max(1, flat.shape[1] // 10)
        least = flat.topk(count, 1).values[:, -1].reshape(-1, *[1] * (x.dim() - 1))
        return x * (x >= least).to(x.dtype)


class Sparse(Masked):
    """Only the brightest 24 of 64 pixels are seen."""

    def forward(self, x: Tensor) -> Tensor:
        least = x.flatten(1).topk(24, 1).values[:, -1].reshape(-1, 1, 1, 1)
        return self.net(torch.where(x >= least, x, torch.zeros_like(x)))


class Compressed(Masked):
    """The 8x8 cosine transform in whole steps, as JPEG has it."""

    def __init__(self) -> None:
        super().__init__()
        k = torch.arange(8.0)
        basis = torch.cos(math.pi * (k[None] + 0.5) * k[:, None] / 8) / 2
        basis[0] /= math.sqrt(2)
        self.register_buffer("basis", basis)

    def forward(self, x: Tensor) -> Tensor:
        frequencies = self.basis @ x @ self.basis.T
        coarse = (frequencies / 0.15).round() * 0.15
        return self.net(self.basis.T @ coarse @ self.basis)


class Resized(Masked):
    """Images of a random size at a random place (Xie et al. 2018)."""

    def forward(self, x: Tensor) -> Tensor:
        side = int(torch.randint(6, 9, ()))
        left, top = (int(torch.randint(0, 9 - side, ())) for _ in range(2))
        small = interpolate(x, size=(side, side), mode="bilinear")
        return self.net(pad(small, (left, 8 - side - left, top, 8 - side - top)))


class Thermometer(Masked):
    """Pixels as a row of yes and no: brighter than 1/8, than 2/8, … (Buckman et al. 2018)."""

    def forward(self, x: Tensor) -> Tensor:
        levels = torch.arange(1, 8, device=x.device) / 8
        return self.net((x[..., None] > levels).float().mean(-1))


MASKED = (Rounding, Saturated, Noisy, WinnersTakeAll, Sparse, Compressed, Resized, Thermometer)


def sound_nets() -> dict[str, nn.Module]:
    """Nets of which nothing is masked, trained and untrained."""
    torch.manual_seed(1)
    flat = nn.Flatten()
    nets = {
        "trained": base(),
        "linear": nn.Sequential(flat, nn.Linear(64, 10)),
        "tanh": nn.Sequential(flat, nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10)),
        "gelu": nn.Sequential(flat, nn.Linear(64, 32), nn.GELU(), nn.LayerNorm(32), nn.Linear(32, 10)),
        "batch norm": nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), flat, nn.Linear(288, 10)),
        "dropout": nn.Sequential(flat, nn.Linear(64, 32), nn.ReLU(), nn.Dropout(), nn.Linear(32, 10)),
        "pooling": nn.Sequential(nn.Conv2d(1, 8, 3), nn.SiLU(), nn.AdaptiveAvgPool2d(2), flat, nn.Linear(32, 10)),
        "softmax inside": nn.Sequential(flat, nn.Linear(64, 32), nn.Softmax(1), nn.Linear(32, 10)),
        "weight norm": nn.Sequential(flat, nn.utils.parametrizations.weight_norm(nn.Linear(64, 10))),
        "attention": Attention(),
    }
    return {name: net.eval() for name, net in nets.items()}


class Attention(nn.Module):
    """Rows of the image as words."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.head = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        assert x.amin() >= 0, "a check of what it is given is no step of the net"
        return self.head(self.mix(x[:, 0]).mean(1))
