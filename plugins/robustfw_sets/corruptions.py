"""Common corruptions of images as a finite set."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from robustfw import UsageError
from robustfw.regions import Finite, exact

BRIGHTER = 0.1
"""Added to every value, per unit of severity."""
FLATTER = 0.15
"""Share of the contrast that is lost, per unit of severity."""
NOISIER = 0.04
"""Standard deviation of the noise, per unit of severity."""
BLURRIER = 0.4
"""Standard deviation of the blur in pixels, per unit of severity."""
WIDTH = 3
"""Standard deviations of the blur that its kernel reaches to either side."""


def corruption_set(x: Tensor, kinds: tuple[str, ...], severities: tuple[float, ...], seed: int) -> Finite:
    """{0} ∪ {c_s(x) − x}, whose members have the level s / max s.

    Args:
        x: (batch, *shape); images for blur.
        kinds: names of corruptions.
        severities: of each of them.
        seed: of the noise, which is the same for all rows.
    """
    image = exact(x)
    changes = [_change(kind, image, severity, seed) for kind in kinds for severity in severities]
    candidates = torch.stack(changes, 1).to(x.dtype) if changes else x[:, None][:, :0]
    level = torch.tensor(severities, dtype=torch.float64).div(max(severities)).repeat(len(kinds))
    return Finite.of(candidates, level)


def _change(kind: str, x: Tensor, severity: float, seed: int) -> Tensor:
    """c_s(x) − x of one corruption."""
    if kind == "brightness":
        return torch.full_like(x, BRIGHTER * severity)
    if kind == "contrast":
        mean = x.flatten(1).mean(1).reshape(-1, *[1] * (x.dim() - 1))
        return min(1.0, FLATTER * severity) * (mean - x)
    if kind == "gaussian-noise":
        noise = torch.randn(x.shape[1:], generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        return (NOISIER * severity * noise).to(x).expand_as(x)
    return _blur(x, BLURRIER * severity) - x


def _blur(x: Tensor, deviation: float) -> Tensor:
    """x under a Gaussian filter, along one axis after the other; pixels beyond the edge are those at the edge."""
    if x.dim() != 4:
        raise UsageError(f"blur needs images (channels, height, width), not x of shape {tuple(x.shape[1:])}")
    reach = max(1, round(WIDTH * deviation))
    places = torch.arange(-reach, reach + 1, dtype=x.dtype, device=x.device)
    kernel = torch.exp(-0.5 * (places / deviation).square())
    kernel = kernel / kernel.sum()
    channels = x.shape[1]
    for shape, margin in (((-1, 1), (0, 0, reach, reach)), ((1, -1), (reach, reach, 0, 0))):
        weight = kernel.reshape(1, 1, *shape).expand(channels, 1, -1, -1)
        x = conv2d(pad(x, margin, mode="replicate"), weight, groups=channels)
    return x
