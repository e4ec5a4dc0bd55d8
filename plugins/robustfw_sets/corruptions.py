"""Common corruptions of images as a finite set."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from robustfw import UsageError
from robustfw.regions import Finite, exact, per_row

BRIGHTER = 0.1
"""Number that is added to every value, per unit of severity."""
FLATTER = 0.15
"""Share of the contrast that is removed, per unit of severity."""
NOISIER = 0.04
"""Standard deviation of the noise, per unit of severity."""
BLURRIER = 0.4
"""Standard deviation of the blur in pixels, per unit of severity."""
WIDTH = 3
"""Reach of the blur's kernel to either side, in standard deviations."""


def corruption_set(
    x: Tensor, kinds: tuple[str, ...], severities: tuple[float, ...], seed: int
) -> Finite:
    """The finite set {0} ∪ {c_s(x) − x}, whose members have the level s / max s.

    Args:
        x: examples (batch, *shape); images for blur.
        kinds: names of corruptions c.
        severities: the severities s of each corruption.
        seed: seed of the noise, which is the same for all rows.

    Raises:
        UsageError: there is a blur of examples that are no images.
    """
    images = exact(x)
    changes = [
        _change(kind, images, severity, seed)
        for kind in kinds
        for severity in severities
    ]
    none = x[:, None][:, :0]
    candidates = torch.stack(changes, 1).to(x.dtype) if changes else none
    levels = torch.tensor(severities, dtype=torch.float64)
    levels = levels.div(max(severities))
    return Finite.from_candidates(candidates, levels.repeat(len(kinds)))


def _change(kind: str, x: Tensor, severity: float, seed: int) -> Tensor:
    """c_s(x) − x for one corruption c at the severity s."""
    if kind == "brightness":
        return torch.full_like(x, BRIGHTER * severity)
    if kind == "contrast":
        mean = per_row(x.flatten(1).mean(1), x)
        share = min(1.0, FLATTER * severity)
        return share * (mean - x)
    if kind == "gaussian-noise":
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(x.shape[1:], generator=generator, dtype=torch.float64)
        change = NOISIER * severity * noise
        return change.to(x).expand_as(x)
    return _blur(x, BLURRIER * severity) - x


def _blur(x: Tensor, deviation: float) -> Tensor:
    """x under a Gaussian filter along both axes; beyond an edge, the pixels of the edge are repeated."""
    if x.dim() != 4:
        raise UsageError(
            f"blur needs images (channels, height, width), not x of shape {tuple(x.shape[1:])}"
        )
    reach = max(1, round(WIDTH * deviation))
    offsets = torch.arange(-reach, reach + 1, dtype=x.dtype, device=x.device)
    kernel = torch.exp(-0.5 * (offsets / deviation).square())
    kernel = kernel / kernel.sum()
    channels = x.shape[1]
    vertical = kernel.reshape(1, 1, -1, 1).expand(channels, 1, -1, -1)
    horizontal = kernel.reshape(1, 1, 1, -1).expand(channels, 1, -1, -1)
    padded = pad(x, (0, 0, reach, reach), mode="replicate")
    x = conv2d(padded, vertical, groups=channels)
    padded = pad(x, (reach, reach, 0, 0), mode="replicate")
    return conv2d(padded, horizontal, groups=channels)
