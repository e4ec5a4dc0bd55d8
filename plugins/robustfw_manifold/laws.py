"""The laws of a basis, for the contract kit."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from robustfw.data.splits import TensorSplit
from robustfw.testing.laws import Law, require

if TYPE_CHECKING:
    from robustfw_manifold.basis import Basis

SHAPES = ((1, 6, 6), (3, 5, 4))
"""Shapes of the images that bases are tried on."""
TRAINING = 64
"""Number of random images that a basis is fitted to; 32 others are kept to try it at."""


def _fit_to_random(
    basis: Basis, shape: tuple[int, ...], seed: int, dtype: torch.dtype
) -> tuple[Basis, Tensor]:
    """The basis fitted to random images, and other images, some of which are black and white or of one colour."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(TRAINING + 32, *shape, generator=generator)
    train = TensorSplit(images[:TRAINING], torch.arange(TRAINING) % 2)
    x = images[TRAINING:]
    x[:8] = x[:8].round()
    x[8:10] = 0.5
    return basis.fit(train), x.to(dtype)


def check_orthonormal(basis: Basis, seed: int) -> None:
    """⟨u, v⟩ = 0 for two rows of the basis, and ‖u‖₂ is 1, or 0 for a direction that is missing."""
    for shape in SHAPES:
        for dtype in (torch.float64, torch.float32, torch.float16):
            fitted, x = _fit_to_random(basis, shape, seed, dtype)
            rows = fitted.at(x)
            fits = rows.shape[0] == len(x) and rows.shape[2:] == x.shape[1:]
            require(
                fits,
                f"the basis has shape {tuple(rows.shape)} for x of shape {tuple(x.shape)}",
            )
            exact = rows.flatten(2).double()
            gram = exact @ exact.mT
            present = torch.diagonal(gram, dim1=1, dim2=2) > 0.5
            expected = torch.diag_embed(present.double())
            error = (gram - expected).flatten(1).abs().amax(1)
            tolerance = 1e-10 if dtype == torch.float64 else 1e-5
            require(
                error <= tolerance, "the rows are not orthonormal, by {}", error, x=x
            )


def check_rows_independent(basis: Basis, seed: int) -> None:
    """The tangent space of a row of x does not depend on the rest of the batch."""
    for shape in SHAPES:
        fitted, x = _fit_to_random(basis, shape, seed, torch.float64)
        batch = fitted.at(x).flatten(2)
        for row in (3, 20):
            alone = fitted.at(x[row : row + 1]).flatten(2)[0]
            projector = batch[row].mT @ batch[row]
            projector_alone = alone.mT @ alone
            error = (projector - projector_alone).abs().max()
            require(
                bool(error <= 1e-6),
                f"the projector of a row depends on the rest of the batch, by {error:.3g}",
            )


def check_manners(basis: Basis, seed: int) -> None:
    """A batch may be empty, x is not changed and keeps no graph, and what is learnt is no option."""
    fitted, x = _fit_to_random(basis, SHAPES[0], seed, torch.float32)
    before = x.clone()
    require(
        not fitted.at(x.requires_grad_()).requires_grad,
        "the basis keeps the graph of x",
    )
    require(bool(torch.equal(x, before)), "the basis changed x")
    require(len(fitted.at(x[:0])) == 0, "an empty batch has a basis")
    require(
        fitted == basis and repr(fitted) == repr(basis),
        "fitting it to data changes its options",
    )
    copy = pickle.loads(pickle.dumps(fitted))
    require(bool(torch.equal(copy.at(x), fitted.at(x))), "pickling changes it")


LAWS = (
    Law("orthonormal", check_orthonormal),
    Law("rows are independent", check_rows_independent),
    Law("manners", check_manners),
)
