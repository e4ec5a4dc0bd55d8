"""Wavelet scattering: cascades of convolutions with fixed wavelets and moduli, which moves points no further apart."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from robustfw import DataSpec, UsageError
from robustfw.inner.modes import full_precision
from robustfw.regions import wide
from robustfw_vision.nets import perceptron, require_answer_per_example
from robustfw_vision.pixels import standardize

SHORT = 1 - 1e-6
"""Factor by which the filters stay below the bound, so that their rounding to float32 does not exceed it."""


class Scattering2d(nn.Module):
    """S x = (x ⋆ φ, |x ⋆ ψ_λ| ⋆ φ, ||x ⋆ ψ_λ| ⋆ ψ_μ| ⋆ φ), each at every 2^J-th pixel, times 2^J (Mallat 2012).

    ψ_λ are Morlet wavelets of ``scales`` J and ``angles`` L, φ is a Gaussian; μ runs over the scales coarser than λ's.
    x is (batch, channels, height, width), and S x has 1 + JL + L²J(J − 1)/2 maps for each channel, as far as ``order``
    goes, of ⌈height/2^J⌉ by ⌈width/2^J⌉. Images are put into a frame of zeros whose sides are multiples of 2^J, and
    convolved periodically: neither changes a distance. Moving x around in that frame by 2^J pixels moves S x by one.

    **Lipschitz bound**: ‖S x − S x'‖₂ ≤ ‖x − x'‖₂. Let W u = (2^J (u ⋆ φ)↓, u ⋆ ψ_λ for all λ). The filters are scaled
    so that ‖W u‖₂ ≤ ‖u‖₂ for real u (see `filters`); a modulus moves nothing apart; hence what order m + 1 gets is what
    W leaves of order m's distance once φ has taken its share, and the shares add up to no more than ‖x − x'‖₂².

    The modulus has no derivative at 0, and 0 is taken there. Half precision is computed in float32.
    """

    lipschitz = 1.0
    """The Lipschitz bound in ℓ2, of the module in float32 or wider, up to rounding."""
    psi: Tensor
    """ψ̂, (scales, angles, height, width)."""
    down: Tensor
    """(height/2^J, height): convolves columns with φ's factor of the row, and subsamples: (u ⋆ φ)↓ = down·u·acrossᵀ."""
    across: Tensor
    """(width/2^J, width): convolves rows with φ's factor of the column, and subsamples."""

    def __init__(
        self, size: tuple[int, int], *, scales: int, angles: int, order: int
    ) -> None:
        super().__init__()
        if min(size) < 2**scales:
            raise UsageError(
                f"scattering over {scales} scales needs images of at least {2**scales}x{2**scales}, not "
                f"{size[0]}x{size[1]}: give fewer scales"
            )
        self.scales = scales
        self.angles = angles
        self.order = order
        self.frame = tuple(-(-side // 2**scales) * 2**scales for side in size)
        psi, phi = filters((self.frame[0], self.frame[1]), scales, angles)
        # not in the checkpoint: the options determine all of it
        self.register_buffer("psi", psi.float(), persistent=False)
        for name, side in (("down", phi[:, 0]), ("across", phi[0])):
            matrix = 2 ** (scales / 2) * _matrix_of_filter(
                side / phi[0, 0].sqrt(), 2**scales
            )
            self.register_buffer(name, matrix.float(), persistent=False)

    @property
    def maps(self) -> int:
        """The number of maps of S x for each channel of x."""
        first_order = self.scales * self.angles
        second_order = self.angles**2 * self.scales * (self.scales - 1) // 2
        counts = (1, first_order, second_order)
        return sum(counts[: self.order + 1])

    def forward(self, x: Tensor) -> Tensor:
        """S x, (batch, channels · maps, height/2^J, width/2^J), of images (batch, channels, height, width)."""
        # autocast would round the products to half precision
        with full_precision(x.device):
            # torch's transform of an empty batch fails with some versions of MKL
            filled = x if len(x) else torch.cat([x, x.new_zeros((1, *x.shape[1:]))])
            return self._transform(filled.to(wide(x.dtype)))[: len(x)].to(x.dtype)

    def _transform(self, x: Tensor) -> Tensor:
        """S x of at least one image, in float32 or wider."""
        height, width = x.shape[-2:]
        framed = functional.pad(
            x, [0, self.frame[1] - width, 0, self.frame[0] - height]
        )
        # order 0: x ⋆ φ
        maps = [self._smooth(framed[:, :, None])]
        # order 1: |x ⋆ ψ_λ| ⋆ φ
        if self.order >= 1:
            moduli = torch.fft.ifft2(
                torch.fft.fft2(framed)[:, :, None, None] * self.psi
            ).abs()
            maps.append(self._smooth(moduli.flatten(2, 3)))
            # order 2: ||x ⋆ ψ_λ| ⋆ ψ_μ| ⋆ φ, for each scale of λ but the coarsest
            if self.order == 2:
                for scale in range(self.scales - 1):
                    maps.append(self._second_order(moduli[:, :, scale], scale))
        return torch.cat(maps, 2).flatten(1, 2)

    def _second_order(self, moduli: Tensor, scale: int) -> Tensor:
        """The maps ||x ⋆ ψ_λ| ⋆ ψ_μ| ⋆ φ for the moduli of one scale of λ, and all coarser scales of μ."""
        coarser = self.psi[scale + 1 :].flatten(0, 1)
        second_moduli = torch.fft.ifft2(
            torch.fft.fft2(moduli)[:, :, :, None] * coarser
        ).abs()
        return self._smooth(second_moduli.flatten(2, 3))

    def _smooth(self, u: Tensor) -> Tensor:
        """2^J (u ⋆ φ)↓."""
        narrow = (u @ self.across.t()).transpose(-1, -2)
        return (narrow @ self.down.t()).transpose(-1, -2)


def _matrix_of_filter(spectrum: Tensor, step: int) -> Tensor:
    """The matrix that convolves a line with the filter of this spectrum and keeps every ``step``-th value."""
    line = torch.fft.ifft(spectrum).real
    places = torch.arange(len(line))
    return line[(places[::step, None] - places) % len(line)]


def filters(size: tuple[int, int], scales: int, angles: int) -> tuple[Tensor, Tensor]:
    """The wavelets and the low-pass filter, scaled together such that the frame bound is 1.

    For real u that bound is ‖2^J (u ⋆ φ)↓‖² + Σ_λ ‖u ⋆ ψ_λ‖² ≤ ‖u‖². The frequencies ω + 2πk/2^J look alike after
    subsampling, so that the sum on the left is, for each class of them, the quadratic form of
    φ̂φ̂ᵀ + diag(½Σ_λ |ψ̂_λ(ω)|² + |ψ̂_λ(−ω)|²); its largest eigenvalue over all classes is divided out. In particular
    the Littlewood-Paley sum |φ̂(ω)|² + ½Σ_λ |ψ̂_λ(ω)|² + |ψ̂_λ(−ω)|² (its diagonal) is at most 1.

    Args:
        size: height and width of the grid, multiples of 2^J.
        scales: J.
        angles: L.

    Returns:
        ψ̂ (scales, angles, height, width) and φ̂ (height, width), real, on the frequencies of `torch.fft.fft2`.
    """
    by_scale = []
    for j in range(scales):
        wavelets = [
            _morlet(size, j, math.pi * a / angles, 4 / angles) for a in range(angles)
        ]
        by_scale.append(torch.stack(wavelets))
    psi = torch.stack(by_scale)
    phi = _periodic(size, (0.0, 0.0), 0.8 * 2 ** (scales - 1), 0.0, 1.0)
    psi = psi / energy(psi).amax().sqrt()
    phi = phi / phi[0, 0]
    bound = torch.linalg.eigvalsh(_forms(psi, phi, 2**scales)).amax()
    return SHORT * psi / bound.sqrt(), SHORT * phi / bound.sqrt()


def energy(psi: Tensor) -> Tensor:
    """½Σ_λ |ψ̂_λ(ω)|² + |ψ̂_λ(−ω)|²: what the wavelets keep of a real signal at each frequency, (height, width)."""
    total = psi.square().sum((0, 1))
    at_negative_frequencies = total.flip(0, 1).roll((1, 1), (0, 1))
    return (total + at_negative_frequencies) / 2


def _forms(psi: Tensor, phi: Tensor, step: int) -> Tensor:
    """The quadratic form of W on each class of frequencies that subsampling makes alike, (classes, step², step²)."""

    def group(spectrum: Tensor) -> Tensor:
        """A spectrum by classes of frequencies, (classes, step²)."""
        height, width = (side // step for side in spectrum.shape)
        return (
            spectrum.reshape(step, height, step, width)
            .permute(1, 3, 0, 2)
            .reshape(height * width, step * step)
        )

    low = group(phi)
    return low[:, :, None] * low[:, None, :] + torch.diag_embed(group(energy(psi)))


def _morlet(size: tuple[int, int], scale: int, angle: float, slant: float) -> Tensor:
    """A Gaussian around a frequency of 3π/4 · 2^−scale, minus the one around 0 that makes its mean vanish."""
    frequency = 0.75 * math.pi / 2**scale
    spread = 0.8 * 2**scale
    centre = frequency * math.cos(angle), frequency * math.sin(angle)
    wave = _periodic(size, centre, spread, angle, slant)
    base = _periodic(size, (0.0, 0.0), spread, angle, slant)
    return wave - wave[0, 0] / base[0, 0] * base


def _periodic(
    size: tuple[int, int],
    centre: tuple[float, float],
    spread: float,
    angle: float,
    slant: float,
) -> Tensor:
    """exp(−½ spread² (ω∥² + ω⊥²/slant²)), ω from the centre along ``angle``, summed over the periods of the grid."""
    rows, columns = (
        2 * math.pi * torch.fft.fftfreq(side, dtype=torch.float64) for side in size
    )
    periods = 2 * math.pi * torch.arange(-2, 3, dtype=torch.float64)
    down = (rows[:, None] + periods - centre[1])[:, :, None, None]
    right = (columns[:, None] + periods - centre[0])[None, None]
    along = math.cos(angle) * right + math.sin(angle) * down
    across = math.cos(angle) * down - math.sin(angle) * right
    return torch.exp(
        -0.5 * spread**2 * (along.square() + across.square() / slant**2)
    ).sum((1, 3))


def scattering(
    spec: DataSpec, *, scales: int, angles: int, order: int, hidden: tuple[int, ...]
) -> nn.Module:
    """A net of standardisation, scattering, batch norm of each map, and the layers on top.

    Args:
        spec: images with a class each.
        scales: J, see `Scattering2d`.
        angles: L, see `Scattering2d`.
        order: the most wavelets one after the other: 0, 1 or 2.
        hidden: units of hidden layers on top; none for a linear classifier.

    Raises:
        UsageError: the data is no such images, or too small for so many scales.
    """
    require_answer_per_example(spec, "scattering")
    if len(spec.shape) != 3:
        raise UsageError(f"scattering needs images; the data has shape {spec.shape}")
    channels, height, width = spec.shape
    waves = Scattering2d((height, width), scales=scales, angles=angles, order=order)
    features = (
        channels * waves.maps * math.prod(side // 2**scales for side in waves.frame)
    )
    norm = nn.BatchNorm2d(channels * waves.maps, affine=False)
    return nn.Sequential(
        standardize(spec),
        waves,
        norm,
        nn.Flatten(),
        *perceptron(features, hidden, spec.outputs),
    )
