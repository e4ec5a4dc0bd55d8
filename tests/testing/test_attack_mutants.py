"""Attacks that are wrong in known ways, each of which must die by the laws named beside it, and by no other."""

from __future__ import annotations

import attrs
import pytest
import torch

from robustfw import Attack, UsageError
from robustfw.regions import normal_like, norms, per_row
from robustfw.testing.problems import Ball, Blend, Cube, regions_at

from .laws import broken_laws


@attrs.frozen
class Step(Attack):
    """One steepest step: right, and what the mutants are made of."""

    @property
    def linear_share(self):
        return 1.0

    def maximize(self, problem, generator):
        if not len(problem):
            return problem.region.zero()
        return self.step(problem, problem.linearize()[1], generator)

    def step(self, problem, gradient, generator):
        return problem.region.support(gradient)


class ReadsTheBox(Step):
    """Knows the bounds of a box, which other sets have not."""

    def step(self, problem, gradient, generator):
        region = problem.region
        return torch.where(gradient > 0, region.upper, region.lower).where(gradient != 0, 0)


class TakesDeltaForX(Step):
    """A δ of the shape of x, as if every set added it."""

    def step(self, problem, gradient, generator):
        moved = torch.zeros_like(problem.x)
        return problem.region.support(moved + gradient if gradient.shape == moved.shape else moved)


class SignsOnly(Step):
    """The step of ℓ∞, projected on whatever the set is."""

    def step(self, problem, gradient, generator):
        return problem.region.project(gradient.sign())


class AsksAnEmptyBatch(Step):
    """Wants outputs even of no examples, which nobody can give in its place."""

    def maximize(self, problem, generator):
        outputs = problem.logits(problem.region.zero())
        return self.step(problem, problem.linearize()[1].where(~outputs.isnan().any(), 0), generator)


class ClampsTheNorm(Step):
    """A number that is small for a gradient of some nets is large for others."""

    def step(self, problem, gradient, generator):
        length = per_row(norms(gradient).clamp(min=1e-12), gradient)
        return problem.region.support(gradient / length.clamp(min=1e-6) * (length > 1e-6))


class ByTheLogitsSize(Step):
    """Shortens its step by the spread of all logits, masked ones included."""

    def maximize(self, problem, generator):
        if not len(problem):
            return problem.region.zero()
        gradient, logits = problem.linearize()[1], problem.logits(problem.region.zero())
        if logits.dim() == 1:
            return problem.region.support(gradient)
        spread = (logits.amax(1) - logits.amin(1)).clamp(max=1e6)
        return problem.region.support(gradient) * per_row(1 - 0.5 * spread / (spread + 1e4), gradient)


class AveragesInHalfPrecision(Step):
    """Members, averaged in their own type: rounded, they may be outside."""

    def step(self, problem, gradient, generator):
        delta = problem.region.support(gradient)
        for share in (0.3, 0.45, 0.7):
            delta = (1 - share) * delta + share * problem.region.support(problem.value_and_grad(delta)[1])
        return delta


class OneForAll(Step):
    """The best δ for the mean of the rows' gradients."""

    def step(self, problem, gradient, generator):
        return problem.region.support(gradient.mean(0, keepdim=True).expand_as(gradient))


class NoiseOutside(Step):
    """A step from a noise that is twice as long as the set, and no projection (de Jorge et al. 2022)."""

    @property
    def linear_share(self):
        return 0.0

    def step(self, problem, gradient, generator):
        noise = normal_like(gradient, generator).to(gradient)
        return 2 * problem.region.support(noise) + problem.region.support(gradient)


MUTANTS = {
    "reads the bounds of a box": (ReadsTheBox, {"feasible"}),
    "takes δ for x": (TakesDeltaForX, {"feasible"}),
    "signs in every set": (SignsOnly, {"linear objective"}),
    "asks the net about no examples": (AsksAnEmptyBatch, {"no rows"}),
    "clamps the norm": (ClampsTheNorm, {"scale-free"}),
    "steps by the logits' size": (ByTheLogitsSize, {"masked classes"}),
    "averages in half precision": (AveragesInHalfPrecision, {"half precision"}),
    "one δ for all rows": (OneForAll, {"rows are independent"}),
    "noise outside": (NoiseOutside, {"feasible"}),
}
ALONE = {"asks the net about no examples", "clamps the norm", "steps by the logits' size", "averages in half precision"}


def test_the_mutants_frame_without_a_mutation_breaks_no_law():
    assert not broken_laws(Step())


@pytest.mark.parametrize(("mutant", "killers"), MUTANTS.values(), ids=MUTANTS.keys())
def test_mutant_dies_by_the_laws_named(mutant, killers):
    assert killers <= broken_laws(mutant())


@pytest.mark.parametrize("name", sorted(ALONE))
def test_only_the_law_named_sees_it(name):
    mutant, killers = MUTANTS[name]
    assert broken_laws(mutant()) == killers


class CouplesRows(OneForAll):
    @property
    def couples_rows(self):
        return True


class GoesOutside(NoiseOutside):
    @property
    def stays_inside(self):
        return False


class NeedsFlatExamples(Step):
    """Takes vectors of eight numbers, and nothing else."""

    @property
    def example_shape(self):
        return (8,)

    def maximize(self, problem, generator):
        if problem.x.shape[1:] != (8,):
            raise UsageError(f"vectors of 8 numbers, not {tuple(problem.x.shape[1:])}")
        return super().maximize(problem, generator)


@pytest.mark.parametrize("declared", [CouplesRows, GoesOutside, NeedsFlatExamples])
def test_what_an_attack_declares_is_not_asked_of_it(declared):
    assert "rows are independent" not in broken_laws(declared())
    assert "feasible" not in broken_laws(declared())


def test_an_attack_that_goes_outside_still_gives_finite_numbers_of_the_sets_shape():
    class NotANumber(GoesOutside):
        def step(self, problem, gradient, generator):
            return problem.region.support(gradient) / 0

    assert "feasible" in broken_laws(NotANumber())


def test_the_kits_regions_are_sets_that_keep_the_laws_of_sets():
    """Members by their own word, nearest and farthest points by brute force over samples."""
    x = torch.rand(6, 1, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    generator = torch.Generator().manual_seed(1)
    for name, region in regions_at(x):
        point = normal_like(region.like, generator)
        nearest, farthest = region.project(point), region.support(point)
        for member in (nearest, farthest, region.sample(generator), region.zero()):
            assert (region.violation(member) <= 1e-12).all(), name
        for _ in range(200):
            sample = region.sample(generator)
            assert (norms(point - nearest) <= norms(point - sample) + 1e-12).all(), name
            assert ((point * (farthest - sample)).flatten(1).sum(1) >= -1e-12).all(), name


def test_the_kits_ball_knows_directions_of_any_size_and_types_of_half_precision():
    x = torch.rand(6, 5)
    direction = torch.randn(6, 5, generator=torch.Generator().manual_seed(2))
    ball = Ball.at(x, 0.4)
    torch.testing.assert_close(ball.support(1e-30 * direction), ball.support(direction))
    assert (ball.support(torch.zeros(6, 5)) == 0).all()
    for dtype in (torch.float16, torch.bfloat16):
        half = Ball.at(x.to(dtype), 0.4)
        assert (half.violation(half.support(direction.to(dtype))) <= 1e-7).all()


def test_the_set_of_two_numbers_blends_an_image_with_its_mirror_and_cubes_add():
    x = torch.tensor([[[1.0, 0.0]]])
    blend = Blend.at(x)
    torch.testing.assert_close(blend.apply(x, torch.tensor([[0.25, 0.1]])), torch.tensor([[[0.85, 0.35]]]))
    assert not blend.additive
    assert Cube().at(x).additive


@attrs.frozen
class NoTarget(Attack):
    """Climbs J whatever the target."""

    def maximize(self, problem, generator):
        _, gradient = attrs.evolve(problem, target=None).value_and_grad(problem.region.zero())
        return problem.region.support(gradient)


def test_an_attack_that_overlooks_its_target_dies_by_that_law_alone():
    assert broken_laws(NoTarget()) == {"targets"}
