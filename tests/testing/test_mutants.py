"""The test of the tests: sets that are wrong in known ways, each of which must die by the law named beside it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import attrs
import pytest
import torch
from torch import Tensor

from robustfw import UncertaintySet
from robustfw.regions import Bound, Region, norms, per_row
from robustfw.testing import findings
from robustfw_norms.balls import L1Ball, L2Ball, LinfBall, NormBall

from .laws import broken_laws


@attrs.frozen(eq=False)
class Mutant(Region):
    """A correct ball with some of its methods replaced."""

    ball: Region
    wrong: dict[str, Callable[..., Tensor]]
    lower: Tensor | None = None
    upper: Tensor | None = None

    @property
    def like(self):
        return self.ball.like

    def _do(self, name, *arguments):
        return self.wrong[name](self, *arguments) if name in self.wrong else getattr(self.ball, name)(*arguments)

    def violation(self, delta):
        return self._do("violation", delta)

    def project(self, point):
        return self._do("project", point)

    def support(self, direction):
        return self._do("support", direction)

    def sample(self, generator):
        return self._do("sample", generator)

    def ascent(self, direction, delta, step):
        return self._do("ascent", direction, delta, step)

    def support_bound(self, direction):
        return self._do("support_bound", direction)

    def clip(self, lower: Bound, upper: Bound) -> Region:
        return attrs.evolve(self, ball=self.ball.clip(lower, upper), lower=lower, upper=upper)

    def scale(self, factor):
        return attrs.evolve(self, ball=self.ball.scale(factor))


@attrs.frozen
class MutantSet(UncertaintySet):
    ball: type[NormBall]
    wrong: dict[str, Callable[..., Tensor]] = attrs.field(factory=dict, repr=False)
    radius: float = 0.8

    def at(self, x):
        return Mutant(self.ball.at(x, self.radius), self.wrong)


def rows_l1(delta):
    return per_row(delta.flatten(1).abs().sum(1), delta)


def rows_l2(delta):
    return per_row(norms(delta), delta)


def scaled_onto_l1(self, z):
    fitted = z * (0.8 / rows_l1(z).clamp(min=1e-30)).clamp(max=1)
    return fitted if self.lower is None else fitted.clamp(self.lower, self.upper)


def projected_then_clamped(self, z):
    fitted = z * (0.8 / rows_l2(z).clamp(min=1e-30)).clamp(max=1)
    return fitted if self.lower is None else fitted.clamp(self.lower, self.upper)


def gradient_over_l1(self, g):
    step = 0.8 * g / rows_l1(g).clamp(min=1e-30)
    return step if self.lower is None else step.clamp(self.lower, self.upper)


def signed_violation(self, delta):
    return (delta.flatten(1).sum(1) - 0.8).clamp(min=0)


def half(name):
    def oracle(self, argument):
        return getattr(attrs.evolve(self.ball, radius=self.ball.radius / 2), name)(argument)

    return oracle


def to_the_sphere(self, z):
    return 0.8 * z / rows_l2(z).clamp(min=1e-30)


def batch_norm_project(self, z):
    return z * (0.8 / z.norm().clamp(min=1e-30)).clamp(max=1)


def divides_by_zero(self, g):
    return 0.8 * g / rows_l2(g)


def wrong_sign(self, g):
    return -self.ball.support(g)


def five_percent_outside(self, z):
    return 1.05 * self.ball.project(z)


def twice_too_long(self, g):
    return 2 * self.ball.support(g)


def shrinks_members(self, z):
    return 0.999 * self.ball.project(z)


def shrinks_first(self, z):
    """Shrink, then project on a subspace: the wrong order for a tangent ball."""
    mask = torch.ones_like(z)
    mask[:, 0] = 0
    return self.ball.project(z) * mask


def keeps_the_plane(self, g):
    mask = torch.ones_like(g)
    mask[:, 0] = 0
    return self.ball.support(g * mask)


def in_the_plane(self, delta):
    return self.ball.violation(delta) + delta[:, 0].flatten(1).abs().sum(1)


def sample_in_the_plane(self, generator):
    delta = self.ball.sample(generator).clone()
    delta[:, 0] = 0
    return delta


def global_sample(self, generator):
    return self.ball.sample(torch.Generator().manual_seed(int(torch.randint(1 << 30, ()))))


def unbounded_sample(self, generator):
    return 3 * self.ball.sample(generator)


def changes_its_argument(self, z):
    return z.copy_(self.ball.project(z))


def negative_violation(self, delta):
    return norms(delta) - 0.8


def one_step_for_all(self, g, delta, step):
    return self.ball.ascent(g, delta, float(torch.as_tensor(step).max()))


def bound_of_half(self, g):
    return 0.5 * self.ball.support_bound(g)


def clamps_lengths(self, g):
    step = 0.8 * g / rows_l2(g).clamp(min=1e-30)
    return step if self.lower is None else self.ball.support(g)


def reshapes_by_minus_one(self, z):
    return self.ball.project(z.reshape(len(z), -1).reshape(z.shape))


SCALING_L1 = {"project": scaled_onto_l1}
CLAMPING_L2 = {"project": projected_then_clamped}
TANGENT = {
    "project": shrinks_first,
    "support": keeps_the_plane,
    "violation": in_the_plane,
    "sample": sample_in_the_plane,
}
MUTANTS = {
    "ℓ1 projection by scaling": (L1Ball, SCALING_L1, {"nearest"}),
    "ℓ2 ∩ box by project, then clamp": (L2Ball, CLAMPING_L2, {"nearest"}),
    "ℓ1 direction g/‖g‖₁": (L1Ball, {"support": gradient_over_l1}, {"support is maximal"}),
    "tangent ball: shrink, then project": (L2Ball, TANGENT, {"nearest"}),
    "membership without abs": (L1Ball, {"violation": signed_violation}, {"members are fixed", "support is maximal"}),
    "half the radius": (
        L2Ball,
        {"project": half("project"), "support": half("support")},
        {"members are fixed", "support is maximal"},
    ),
    "interior points go to the sphere": (L2Ball, {"project": to_the_sphere}, {"members are fixed", "nearest"}),
    "norm over the whole batch": (
        L2Ball,
        {"project": batch_norm_project},
        {"rows are independent", "members are fixed", "nearest"},
    ),
    "0/0 at zero gradient": (L2Ball, {"support": divides_by_zero}, {"zero is a member"}),
    "sign error in support": (LinfBall, {"support": wrong_sign}, {"support is maximal"}),
    "projection 5 % outside": (L1Ball, {"project": five_percent_outside}, {"project is feasible"}),
    "support twice too long": (L2Ball, {"support": twice_too_long}, {"support is feasible"}),
    "members shrink by 0.1 %": (L2Ball, {"project": shrinks_members}, {"members are fixed", "nearest"}),
    "samples from torch's global generator": (L2Ball, {"sample": global_sample}, {"samples"}),
    "samples outside": (LinfBall, {"sample": unbounded_sample}, {"samples"}),
    "argument changed in place": (L2Ball, {"project": changes_its_argument}, {"manners"}),
    "negative violation": (L2Ball, {"violation": negative_violation}, {"manners"}),
    "one step for all rows": (L2Ball, {"ascent": one_step_for_all}, {"ascent"}),
    "bound below the support": (L2Ball, {"support_bound": bound_of_half}, {"support is bounded"}),
    "small directions count as none": (L2Ball, {"support": clamps_lengths}, {"scale-free"}),
    "a batch of 0 rows has no shape": (L2Ball, {"project": reshapes_by_minus_one}, {"empty batch"}),
}


@pytest.mark.parametrize(("ball", "wrong", "killers"), MUTANTS.values(), ids=MUTANTS.keys())
def test_mutant_dies_by_the_laws_named(ball, wrong, killers):
    broken = broken_laws(MutantSet(ball, wrong))
    assert killers <= broken


ONLY = ["ℓ1 projection by scaling", "ℓ2 ∩ box by project, then clamp", "tangent ball: shrink, then project"]


@pytest.mark.parametrize("name", ONLY)
def test_only_the_variational_inequality_sees_a_projection_that_is_feasible_but_not_nearest(name):
    ball, wrong, _ = MUTANTS[name]
    broken = broken_laws(MutantSet(ball, wrong))
    assert broken <= {"nearest", "non-expansive", "scaled", "smaller sets", "plain options"}


@attrs.frozen
class Forgetful(UncertaintySet):
    """A set that changes its radius when it is shown data."""

    radius: float = 0.8

    def fit(self, train):
        return attrs.evolve(self, radius=0.1)

    def at(self, x):
        return L2Ball.at(x, self.radius)


def test_a_set_whose_options_change_when_it_is_fitted_dies():
    (found,) = (finding for finding in findings(Forgetful()) if finding.broken)
    assert found.law == "plain options"
    assert "fitting it to data changes its options" in found.detail


@pytest.mark.parametrize("ball", [LinfBall, L2Ball, L1Ball])
def test_the_mutants_frame_without_a_mutation_breaks_no_law(ball):
    broken = broken_laws(MutantSet(ball))
    assert broken <= {"plain options"}  # a test's class is not importable for pickle and repr


def test_a_failing_law_names_the_counterexample_and_the_distance():
    found = {f.law: f for f in findings(MutantSet(L1Ball, SCALING_L1))}["nearest"]
    assert "from the true projection" in found.detail
    assert "z = [" in found.detail
    assert "Pz = [" in found.detail


def test_the_distance_in_the_message_is_the_true_one():
    """Projecting on half of a ball of radius 0.8 is wrong by min(‖z‖, 0.8) − 0.4."""
    found = {f.law: f for f in findings(MutantSet(L2Ball, {"project": half("project")}))}["nearest"]
    said = float(re.search(r"P\(z\) is (\S+) from the true projection", found.detail)[1])
    z = [float(number) for number in re.search(r"z = \[(.*?)\]", found.detail)[1].split(", ")]
    assert said == pytest.approx(min(math.hypot(*z), 0.8) - 0.4, abs=2e-3)


def test_a_set_names_the_shapes_that_it_takes():
    """A set of a table of five columns has no place in images, which the laws then leave out."""

    @attrs.frozen
    class FiveColumns(UncertaintySet):
        shapes = ((5,),)

        def at(self, x):
            assert x.shape[1:] == (5,)
            return L2Ball.at(x, 0.8)

    assert broken_laws(FiveColumns()) <= {"plain options"}
