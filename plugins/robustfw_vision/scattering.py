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
        # sides rounded up to multiples of 2^J
        stride = 2**scales
        self.frame = tuple(-(-side // stride) * stride for side in size)
        height, width = self.frame
        psi, phi = filters((height, width), scales, angles)
        # φ̂ is the product of a factor of the row and one of the column
        root = phi[0, 0].sqrt()
        gain = 2 ** (scales / 2)
        down = gain * _matrix_of_filter(phi[:, 0] / root, stride)
        across = gain * _matrix_of_filter(phi[0] / root, stride)
        # not in the checkpoint: the options determine all of it
        self.register_buffer("psi", psi.float(), persistent=False)
        self.register_buffer("down", down.float(), persistent=False)
        self.register_buffer("across", across.float(), persistent=False)

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
            images = x
            if not len(x):
                blank = x.new_zeros((1, *x.shape[1:]))
                images = torch.cat([x, blank])
            maps = self._transform(images.to(wide(x.dtype)))
            return maps[: len(x)].to(x.dtype)

    def _transform(self, x: Tensor) -> Tensor:
        """S x of at least one image, in float32 or wider."""
        height, width = x.shape[-2:]
        right = self.frame[1] - width
        below = self.frame[0] - height
        framed = functional.pad(x, [0, right, 0, below])
        # order 0: x ⋆ φ
        maps = [self._smooth(framed[:, :, None])]
        # order 1: |x ⋆ ψ_λ| ⋆ φ
        if self.order >= 1:
            spectrum = torch.fft.fft2(framed)
            filtered = spectrum[:, :, None, None] * self.psi
            moduli = torch.fft.ifft2(filtered).abs()
            maps.append(self._smooth(moduli.flatten(2, 3)))
            # order 2: ||x ⋆ ψ_λ| ⋆ ψ_μ| ⋆ φ, for each scale of λ but the coarsest
            if self.order == 2:
                for scale in range(self.scales - 1):
                    maps.append(self._second_order(moduli[:, :, scale], scale))
        return torch.cat(maps, 2).flatten(1, 2)

    def _second_order(self, moduli: Tensor, scale: int) -> Tensor:
        """The maps ||x ⋆ ψ_λ| ⋆ ψ_μ| ⋆ φ for the moduli of one scale of λ, and all coarser scales of μ."""
        coarser = self.psi[scale + 1 :].flatten(0, 1)
        spectrum = torch.fft.fft2(moduli)
        filtered = spectrum[:, :, :, None] * coarser
        second_moduli = torch.fft.ifft2(filtered).abs()
        return self._smooth(second_moduli.flatten(2, 3))

    def _smooth(self, u: Tensor) -> Tensor:
        """2^J (u ⋆ φ)↓."""
        narrow = (u @ self.across.t()).transpose(-1, -2)
        return (narrow @ self.down.t()).transpose(-1, -2)


def _matrix_of_filter(spectrum: Tensor, step: int) -> Tensor:
    """The matrix that convolves a line with the filter of this spectrum and keeps every ``step``-th value."""
    line = torch.fft.ifft(spectrum).real
    places = torch.arange(len(line))
    kept_places = places[::step, None]
    shifts = (kept_places - places) % len(line)
    return line[shifts]


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
    # 1. wavelets of each scale and angle, and a Gaussian as wide as the coarsest of them
    slant = 4 / angles
    by_scale = []
    for j in range(scales):
        wavelets = []
        for a in range(angles):
            angle = math.pi * a / angles
            wavelets.append(_morlet(size, j, angle, slant))
        by_scale.append(torch.stack(wavelets))
    psi = torch.stack(by_scale)
    widest = 0.8 * 2 ** (scales - 1)
    phi = _periodic(size, (0.0, 0.0), widest, 0.0, 1.0)
    # 2. each of largest gain 1
    psi = psi / energy(psi).amax().sqrt()
    phi = phi / phi[0, 0]
    # 3. both divided by the square root of the frame bound
    forms = _forms(psi, phi, 2**scales)
    bound = torch.linalg.eigvalsh(forms).amax()
    root = bound.sqrt()
    return SHORT * psi / root, SHORT * phi / root


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
        blocks = spectrum.reshape(step, height, step, width)
        classes = blocks.permute(1, 3, 0, 2)
        return classes.reshape(height * width, step * step)

    low = group(phi)
    low_form = low[:, :, None] * low[:, None, :]
    wavelet_form = torch.diag_embed(group(energy(psi)))
    return low_form + wavelet_form


def _morlet(size: tuple[int, int], scale: int, angle: float, slant: float) -> Tensor:
    """A Gaussian around a frequency of 3π/4 · 2^−scale, minus the one around 0 that makes its mean vanish."""
    frequency = 0.75 * math.pi / 2**scale
    spread = 0.8 * 2**scale
    centre = frequency * math.cos(angle), frequency * math.sin(angle)
    wave = _periodic(size, centre, spread, angle, slant)
    base = _periodic(size, (0.0, 0.0), spread, angle, slant)
    share = wave[0, 0] / base[0, 0]
    return wave - share * base


def _periodic(
    size: tuple[int, int],
    centre: tuple[float, float],
    spread: float,
    angle: float,
    slant: float,
) -> Tensor:
    """exp(−½ spread² (ω∥² + ω⊥²/slant²)), ω from the centre along ``angle``, summed over the periods of the grid."""
    height, width = size
    # 1. frequencies from the centre, as (rows, periods, columns, periods)
    turn = 2 * math.pi
    rows = turn * torch.fft.fftfreq(height, dtype=torch.float64)
    columns = turn * torch.fft.fftfreq(width, dtype=torch.float64)
    periods = turn * torch.arange(-2, 3, dtype=torch.float64)
    down = rows[:, None] + periods - centre[1]
    right = columns[:, None] + periods - centre[0]
    down = down[:, :, None, None]
    right = right[None, None]
    # 2. turned by the angle
    cosine = math.cos(angle)
    sine = math.sin(angle)
    along = cosine * right + sine * down
    across = cosine * down - sine * right
    # 3. the Gaussian, summed over the periods
    distance = along.square() + across.square() / slant**2
    gaussian = torch.exp(-0.5 * spread**2 * distance)
    return gaussian.sum((1, 3))


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
    maps = channels * waves.maps
    places = math.prod(side // 2**scales for side in waves.frame)
    features = maps * places
    norm = nn.BatchNorm2d(maps, affine=False)
    return nn.Sequential(
        standardize(spec),
        waves,
        norm,
        nn.Flatten(),
        *perceptron(features, hidden, spec.outputs),
    )
