"""How long does the projection on an ℓ1 ball take, with and without a box, and how exact is it?

Question: how long do robustfw and other libraries take to project a batch on the ℓ1 ball, and on its intersection with
a box, and how far are they from the projection in float64?

Claim: robustfw is slower than no other library at any size, is within 1e-6 of the projection relative to the radius,
and leaves neither ball nor box by more than 1e-6 of it. The exit status is 1 if not.

Method: two kinds of points, `dense` ones of ten radii and `near` ones of 1.2 radii of which most coordinates are next
to 0; the box is that of images in [0, 1]. The projection is found by bisection in float64, without robustfw. One
process, libraries in turns; medians and extremes of ratios within a round. A library that solves another problem
(rescaling to the ball, clamping after projecting) is not compared; ART's exact projection goes row by row in Python,
and only the smallest size was waited for.

    python -m benchmarks.projection_speed [--size ROWSxDIMENSION …] [--rounds N] [--threads N] [--out FILE] [--json]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any, TypeAlias

import attrs
import torch
from torch import Tensor

import robustfw
from benchmarks.circumstances import circumstances
from benchmarks.tables import add_flags, leave, markdown, say
from benchmarks.turns import Spread, in_turns, ratios
from robustfw.training import hardware

Projection: TypeAlias = Callable[[], Tensor]

RADIUS = 10.0
OURS = "robustfw"
SIZES = ("512x784", "512x3072", "128x150528")
ENOUGH = 1e-6
SLOW = 10**6
"""Coordinates from which on ART is not waited for."""


@attrs.frozen(eq=False)
class Case:
    """Points z (rows, d), and images x that z is to be added to where there is a box."""

    z: Tensor
    x: Tensor | None

    @classmethod
    def drawn(cls, rows: int, d: int, kind: str, *, boxed: bool) -> Case:
        """Random ones, always the same."""
        draw = torch.Generator().manual_seed(0)
        z = torch.randn(rows, d, generator=draw)
        if kind == "near":
            z = z * (torch.rand(rows, d, generator=draw) < 0.03) + 1e-4 * torch.randn(
                rows, d, generator=draw
            )
        z *= (10 if kind == "dense" else 1.2) * RADIUS / z.abs().sum(1, keepdim=True)
        return cls(z, torch.rand(rows, d, generator=draw) if boxed else None)

    def exact(self) -> Tensor:
        """min(max(|z| − λ, 0), u)·sign z in float64, λ by bisection until it moves no more."""
        z = self.z.double()
        room = (
            torch.full_like(z, torch.inf)
            if self.x is None
            else torch.where(z > 0, 1 - self.x.double(), self.x)
        )
        low, high = torch.zeros(len(z), 1, dtype=z.dtype), z.abs().amax(1, keepdim=True)
        for _ in range(100):
            middle = (low + high) / 2
            above = (
                torch.minimum((z.abs() - middle).clamp(min=0), room).sum(
                    1, keepdim=True
                )
                > RADIUS
            )
            low, high = (
                torch.where(above, middle, low),
                torch.where(above, high, middle),
            )
        fits = torch.minimum(z.abs(), room).sum(1, keepdim=True) <= RADIUS
        return torch.minimum(
            (z.abs() - torch.where(fits, 0, high)).clamp(min=0), room
        ).copysign(z)

    def outside(self, delta: Tensor) -> float:
        """How far out of ball or box, relative to the radius, at most."""
        delta = delta.double()
        ball = float(delta.abs().sum(1).max()) - RADIUS
        box = (
            0.0
            if self.x is None
            else float(torch.maximum(-self.x - delta, delta - 1 + self.x).max())
        )
        return max(ball, box, 0.0) / RADIUS


def _ours(case: Case) -> Projection:
    x = torch.zeros_like(case.z) if case.x is None else case.x
    ball = robustfw.make("uncertainty", f"l1:radius={RADIUS}").at(x)
    region = ball if case.x is None else ball.clip(0 - x, 1 - x)
    return lambda: region.project(case.z)


def _foolbox(case: Case) -> Projection | None:
    import eagerpy as ep
    from foolbox.attacks.fast_minimum_norm import project_onto_l1_ball

    if case.x is not None:
        return None
    radii = ep.astensor(torch.full((len(case.z),), RADIUS))
    return lambda: project_onto_l1_ball(ep.astensor(case.z), radii).raw


def _art(case: Case) -> Projection | None:
    from art.utils import projection

    if case.x is not None or case.z.numel() > SLOW:
        return None
    return lambda: torch.from_numpy(
        projection(case.z.numpy(), RADIUS, 1, suboptimal=False)
    )


def _adv_lib(case: Case) -> Projection | None:
    from adv_lib.utils.projections import l1_ball_euclidean_projection

    if case.x is not None:
        return None
    return lambda: l1_ball_euclidean_projection(case.z, RADIUS)


def _pyautoattack(case: Case) -> Projection | None:
    from pyautoattack.autopgd_base import L1_projection

    if case.x is None:
        return None
    x, z = case.x, case.z
    return lambda: z + L1_projection(x, z, RADIUS)


PEERS: dict[str, Callable[[Case], Projection | None]] = {
    "foolbox": _foolbox,
    "adversarial-robustness-toolbox": _art,
    "adv-lib": _adv_lib,
    "pyautoattack": _pyautoattack,
}


def gathered(case: Case) -> tuple[dict[str, Projection], dict[str, str]]:
    """What solves this problem, by name; and the libraries that do not import, with the reason."""
    found: dict[str, Projection] = {OURS: _ours(case)}
    skipped = {}
    for name, make in PEERS.items():
        try:
            projection = make(case)
        except (
            ImportError,
            AttributeError,
        ) as error:  # not there, or too old for what is
            skipped[name] = str(error).splitlines()[0]
            continue
        if projection is not None:
            found[name] = projection
    return found, skipped


def rows(size: str, rounds: int) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """A row for each library and kind of points, with and without a box."""
    count, d = map(int, size.split("x"))
    table: list[dict[str, Any]] = []
    skipped: dict[str, str] = {}
    for boxed in (False, True):
        for kind in ("dense", "near"):
            case = Case.drawn(count, d, kind, boxed=boxed)
            ways, missing = gathered(case)
            skipped |= missing
            exact, seconds = case.exact(), in_turns(ways, rounds)
            for name, way in ways.items():
                delta, taken = way(), Spread.from_values(seconds[name])
                table.append(
                    {
                        "size": size,
                        "points": kind + (", box" if boxed else ""),
                        "library": name,
                        "seconds": attrs.asdict(taken),
                        "ms": f"{1000 * taken.median:.2f}",
                        "ratio": attrs.asdict(ratios(seconds, name, OURS)),
                        "times robustfw's": ratios(seconds, name, OURS).spell(),
                        "error": float((delta.double() - exact).abs().max()) / RADIUS,
                        "outside": case.outside(delta),
                    }
                )
    return table, skipped


def holds(table: list[dict[str, Any]]) -> bool:
    """Whether ours is exact, a member, and never slower."""
    ours = all(
        row["error"] <= ENOUGH and row["outside"] <= ENOUGH
        for row in table
        if row["library"] == OURS
    )
    return ours and all(row["ratio"]["median"] >= 1 for row in table)


COLUMNS = {
    "size": "size",
    "points": "points",
    "library": "library",
    "ms": "ms",
    "times robustfw's": "times robustfw's",
    "error spelled": "error / r",
    "outside spelled": "outside / r",
}


def main() -> int:
    """Print and keep the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.projection_speed",
        description=__doc__.splitlines()[0],
    )
    parser.add_argument(
        "--size", action="append", help=f"may be repeated [{', '.join(SIZES)}]"
    )
    parser.add_argument("--rounds", type=int, default=7, help="[7]")
    parser.add_argument("--threads", type=int, help="[torch's choice]")
    add_flags(parser)
    options = parser.parse_args()
    hardware.use_threads(options.threads)
    hardware.keep_freed_memory()
    table: list[dict[str, Any]] = []
    skipped: dict[str, str] = {}
    for size in options.size or SIZES:
        found, missing = rows(size, options.rounds)
        table += [
            row | {f"{key} spelled": f"{row[key]:.0e}" for key in ("error", "outside")}
            for row in found
        ]
        skipped |= missing
    for name, why in skipped.items():
        say(f"skipped: {name} ({why})")
    facts = circumstances(
        [name for name in PEERS if name not in skipped],
        rounds=options.rounds,
        skipped=skipped,
    )
    leave(options, "projection_speed", [markdown(table, COLUMNS)], table, facts)
    return 0 if holds(table) else 1


if __name__ == "__main__":
    sys.exit(main())
