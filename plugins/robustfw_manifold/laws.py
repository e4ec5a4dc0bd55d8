"""The laws of a basis, for the contract kit."""

from __future__ import annotations

import pickle

import torch
from torch import Tensor

from robustfw.data.splits import TensorSplit
from robustfw.testing.laws import Law, require
from robustfw_manifold.bases import Basis

SHAPES = ((1, 6, 6), (3, 5, 4))


def _at_random(basis: Basis, shape: tuple[int, ...], seed: int, dtype: torch.dtype) -> tuple[Basis, Tensor]:
    """The basis fitted to random images, and others, some of which are black and white or of one colour."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(96, *shape, generator=generator)
    x[64:72], x[72:74] = x[64:72].round(), 0.5
    return basis.fitted(TensorSplit(x[:64], torch.arange(64) % 2)), x[64:].to(dtype)


def check_orthonormal(basis: Basis, seed: int) -> None:
    """⟨u, v⟩ = 0 for two rows of the basis, and ‖u‖₂ is 1, or 0 for a direction that is missing."""
    for shape in SHAPES:
        for dtype in (torch.float64, torch.float32, torch.float16):
            known, x = _at_random(basis, shape, seed, dtype)
            rows = known.at(x)
            form = rows.shape[0] == len(x) and rows.shape[2:] == x.shape[1:]
            require(form, f"the basis has shape {tuple(rows.shape)} for x of shape {tuple(x.shape)}")
            exact = rows.flatten(2).double()
            gram = exact @ exact.mT
            there = torch.diagonal(gram, dim1=1, dim2=2) > 0.5
            apart = (gram - torch.diag_embed(there.double())).flatten(1).abs().amax(1)
            tolerance = 1e-10 if dtype == torch.float64 else 1e-5
            require(apart <= tolerance, "the rows are not orthonormal, by {}", apart, x=x)


def check_rows_independent(basis: Basis, seed: int) -> None:
    """The tangent space of a row of x does not depend on the rest of the batch."""
    for shape in SHAPES:
        known, x = _at_random(basis, shape, seed, torch.float64)
        whole = known.at(x).flatten(2)
        for row in (3, 20):
            alone = known.at(x[row : row + 1]).flatten(2)[0]
            apart = (whole[row].mT @ whole[row] - alone.mT @ alone).abs().max()
            require(bool(apart <= 1e-6), f"the projector of a row depends on the rest of the batch, by {apart:.3g}")


def check_manners(basis: Basis, seed: int) -> None:
    """A batch may be empty, x is not changed and keeps no graph, and what is learnt is no option."""
    known, x = _at_random(basis, SHAPES[0], seed, torch.float32)
    before = x.clone()
    require(not known.at(x.requires_grad_()).requires_grad, "the basis keeps the graph of x")
    require(bool(torch.equal(x, before)), "the basis changed x")
    require(len(known.at(x[:0])) == 0, "an empty batch has a basis")
    require(known == basis and repr(known) == repr(basis), "fitting it to data changes its options")
    again = pickle.loads(pickle.dumps(known))
    require(bool(torch.equal(again.at(x), known.at(x))), "pickling changes it")


LAWS = (
    Law("orthonormal", check_orthonormal),
    Law("rows are independent", check_rows_independent),
    Law("manners", check_manners),
)
