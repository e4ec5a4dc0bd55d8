"""The masking checklist: sound nets pass, nets that hide their gradient do not, and each line can fail on its own."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import pytest
import torch
from torch import nn

import robustfw
from robustfw import Attack, DataError, PluginError, TensorSplit, UncertaintySet, losses
from robustfw.evaluation._audit import ADVICE, CHECKS, Attacks, TransferExamples, audit
from robustfw.inner.threat import Threat
from robustfw.regions import Box, Region
from robustfw.task import Regression

SET = "linf:radius=0.1"


def rivals(**others):
    """PGD, and the attacks that are held against it."""
    specs = {
        "many": "pgd:steps=40",
        "one": "single-step",
        "double": "pgd:steps=80",
        "restarts": "restarts:n=5,attack=(pgd:steps=40)",
        "noise": "random:samples=100",
    }
    return Attacks(**{name: robustfw.make("attack", spec) for name, spec in (specs | others).items()})


def failed(result):
    return {line.name for line in result.failed}


def named(result, name):
    (line,) = (line for line in result.lines if line.name == name)
    return line


# Nets as they come


@pytest.fixture(scope="module")
def digits():
    return robustfw.make("dataset", "digits").load(Path()).test.first(150)


def trained(objective):
    torch.set_num_threads(1)
    records = robustfw.train(dataset="digits", uncertainty=SET, objective=objective, epochs=10, seed=0)
    return list(records)[-1].model.eval()


@pytest.fixture(scope="module")
def sound():
    return trained("robust")


@pytest.fixture(scope="module")
def other():
    return trained("clean")


def judged(net, split, **more):
    return audit(net, split, **({"threat": Threat(robustfw.make("uncertainty", SET)), "attacks": rivals()} | more))


class Around(nn.Module):
    """A net with something before and after it."""

    def __init__(self, net, before=nn.Identity(), after=nn.Identity()):  # noqa: B008
        super().__init__()
        self.net, self.before, self.after = net, before, after

    def forward(self, x):
        return self.after(self.net(self.before(x)))


def straight_through(levels):
    return lambda x: x + (torch.round(x * levels) / levels - x).detach()


class Lie(torch.autograd.Function):
    """x, with a gradient that is 1 whatever happens behind."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return torch.ones_like(gradient)


def crafted(net, split, radius=0.1):
    x, y = next(split.iterate(len(split)))
    seeded = {"generator": torch.Generator().manual_seed(0)}
    moved = robustfw.worst_case(net, x, y, uncertainty=f"linf:radius={radius}", attack="pgd:steps=20", **seeded)
    return TransferExamples(torch.arange(len(split)), moved)


def test_a_sound_net_passes_every_line(sound, other, digits):
    found = judged(sound, digits, transfer=[crafted(other, digits)])
    assert {line.name: line.verdict for line in found.lines} == dict.fromkeys(ADVICE, "passed")
    assert found.verdict == "sound"


def test_a_net_that_is_not_robust_passes_too(other, digits):
    """The list is about the attack's eyesight, not about the net's strength."""
    assert judged(other, digits).verdict == "sound"


MASKED = {
    "saturated 1e3": (None, lambda z: 1e3 * z, {"large radius", "noise", "gradients not zero"}),
    "saturated 1e6": (None, lambda z: 1e6 * z, {"large radius", "noise", "gradients not zero"}),
    "rounded to 16 levels": (
        lambda x: torch.round(x * 16) / 16,
        None,
        {"large radius", "noise", "gradients not zero", "true gradients"},
    ),
    "rounded to bytes": (lambda x: torch.round(x * 255) / 255, None, {"gradients not zero", "true gradients"}),
    "straight through 16": (straight_through(16), None, {"true gradients"}),
    "straight through 255": (straight_through(255), None, {"true gradients"}),
    "noise": (
        lambda x: x + 0.1 * torch.randn_like(x),
        None,
        {"twice the steps", "restarts", "deterministic", "true gradients"},
    ),
    "probabilities": (None, lambda z: z.softmax(1), {"logits"}),
    "lie": (Lie.apply, None, {"noise", "true gradients"}),
    "no graph": (lambda x: x.detach(), None, {"large radius", "gradients not zero", "true gradients"}),
}


@pytest.mark.parametrize("mask", MASKED)
def test_a_net_that_hides_its_gradient_turns_the_list_red(mask, other, digits):
    before, after, lines = MASKED[mask]
    torch.manual_seed(0)  # of the net's own noise
    found = judged(Around(other, before or nn.Identity(), after or nn.Identity()), digits)
    assert found.verdict == "suspicious"
    assert lines <= failed(found)


@pytest.mark.parametrize("mask", ["straight through 255", "probabilities"])
def test_lines_that_a_mask_does_not_touch_stay_green(mask, other, digits):
    before, after, lines = MASKED[mask]
    assert failed(judged(Around(other, before or nn.Identity(), after or nn.Identity()), digits)) == lines


def test_the_net_comes_back_as_it_was(sound, digits):
    sound.train()
    before = {name: tensor.clone() for name, tensor in sound.state_dict().items()}
    for parameter in sound.parameters():
        parameter.grad = None
    judged(sound, digits.first(20))
    assert all(module.training for module in sound.modules())
    assert all(p.requires_grad and p.grad is None for p in sound.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in sound.state_dict().items())


# By hand: one pixel, class 0 while it is above 1/2


class OneNumber(nn.Module):
    def forward(self, x):
        margin = x.flatten(1)[:, 0] - 0.5
        return torch.stack([margin, torch.zeros_like(margin)], 1)


PIXELS = torch.linspace(0.62, 0.68, 10)
SPLIT = TensorSplit(PIXELS.reshape(-1, 1), torch.zeros(10).long())


@attrs.frozen
class Share(Attack):
    """Goes down by a share of the way that there is, at most ``most``; the margin loss may have a share of its own."""

    share: float = 1.0
    most: float = 10.0
    by_margin: float | None = None

    def maximize(self, problem, generator):
        share = self.share if self.by_margin is None or problem.loss is not losses.margin else self.by_margin
        return (share * problem.region.support(-torch.ones_like(problem.x))).clamp(min=-self.most)


@attrs.frozen
class LostWhenFar(Attack):
    """Finds its way down unless the set is large."""

    def maximize(self, problem, generator):
        delta = problem.region.support(-torch.ones_like(problem.x))
        return torch.where(delta < -0.3, 0, delta)


HALF = Share(0.5)
"""Within radius 0.2 it leaves all pixels above 1/2; within 0.4 none."""


def by_hand(net=None, split=SPLIT, spec="linf:radius=0.2", transfer=(), bounds=(0.0, 1.0), **attacks):
    """The list with attacks that all do the same, unless others are given."""
    sets = robustfw.make("uncertainty", spec)
    made = Attacks(**(dict.fromkeys(("many", "one", "double", "restarts", "noise"), HALF) | attacks))
    return audit(net or OneNumber(), split, threat=Threat(sets, bounds), attacks=made, transfer=transfer)


def test_by_hand_all_is_well():
    found = by_hand(transfer=[TransferExamples(torch.arange(10), SPLIT.x - 0.1)])
    assert failed(found) == set()
    assert [line.name for line in found.lines] == list(ADVICE)
    assert named(found, "large radius").numbers["robust"] == [10, 0, 0]
    assert named(found, "large radius").numbers["factors"] == [1, 2, 4]  # 0.8 reaches from the pixels to 0


@pytest.mark.parametrize(
    ("line", "attack", "counted"),
    [
        ("one step", "one", {"fooled_by_one_step": 10, "fooled_by_many_steps": 0, "fooled_by_one_step_alone": 10}),
        ("twice the steps", "double", {"robust": 10, "robust_with_twice_the_steps": 0, "more_fooled": 10, "n": 10}),
        ("restarts", "restarts", {"standing": 10, "more_fooled": 10}),
        ("noise", "noise", {"standing": 10, "more_fooled": 10}),
    ],
)
def test_a_rival_that_wins_fails_its_line_alone(line, attack, counted):
    found = by_hand(**{attack: Share(1.0)})
    assert failed(found) == {line}
    assert named(found, line).numbers.items() >= counted.items()


def test_twice_the_steps_may_not_fool_fewer_either():
    found = by_hand(many=Share(1.0))
    assert failed(found) == {"twice the steps"}
    assert named(found, "twice the steps").numbers["fewer_fooled"] == 10


def test_what_is_left_standing_in_a_set_without_limits():
    found = by_hand(**dict.fromkeys(("many", "double"), Share(0.5, most=0.1)))
    assert failed(found) == {"large radius"}
    assert named(found, "large radius").numbers["robust"] == [10, 10, 10]


def test_what_stands_again_in_a_larger_set():
    """As many fail at the end as at the beginning: only the way between them tells."""
    found = by_hand(spec="linf:radius=0.25", many=LostWhenFar(), double=LostWhenFar(), split=SPLIT)
    assert named(found, "large radius").numbers["robust"] == [0, 10, 10]
    assert named(found, "large radius").numbers["largest_rise"] == 10
    assert failed(found) == {"large radius"}


@pytest.mark.parametrize(("spec", "bounds"), [("l0:radius=1,limit=0.2", (0, 1)), ("linf:radius=0.001", None)])
def test_a_set_that_cannot_cover_the_range_is_not_judged_by_what_it_leaves(spec, bounds):
    """Of two pixels l0 moves one however it is scaled; without bounds there is no range."""
    split = TensorSplit(torch.stack([PIXELS, PIXELS], 1), SPLIT.y)

    class Mean(OneNumber):
        def forward(self, x):
            return super().forward(x.mean(1, keepdim=True) + 0.4)

    timid = dict.fromkeys(("many", "double"), Share(0.5, most=0.01))
    line = named(by_hand(Mean(), split, spec, bounds=bounds, **timid), "large radius")
    assert line.verdict == "not checked"
    assert line.numbers["covers_the_range"] is False


@attrs.frozen(eq=False)
class Brightness(Region):
    """All pixels by one δ: a region whose parameters are not shaped like x, and whose range is its own affair."""

    amount: Box

    @property
    def like(self):
        return self.amount.like

    def violation(self, delta):
        return self.amount.violation(delta)

    def project(self, point):
        return self.amount.project(point)

    def support(self, direction):
        return self.amount.support(direction)

    def sample(self, generator):
        return self.amount.sample(generator)

    def clip(self, lower, upper):
        return self

    def apply(self, x, delta):
        return (x + delta).clamp(0, 1)

    def scale(self, factor):
        return Brightness(Box(factor * self.amount.lower, factor * self.amount.upper))


class Brighter(UncertaintySet):
    def at(self, x):
        return Brightness(Box.broadcast(x[:, :1], -0.05, 0.05))


@attrs.frozen
class Along(Attack):
    """As far as the gradient at 0 says."""

    def maximize(self, problem, generator):
        _, gradient = problem.value_and_grad(problem.region.zero())
        return problem.region.support(gradient)


def test_a_set_that_is_not_additive():
    split = TensorSplit(torch.stack([PIXELS, PIXELS], 1), SPLIT.y)
    attacks = Attacks(**dict.fromkeys(("many", "one", "double", "restarts", "noise"), Along()))
    given = [TransferExamples(torch.arange(10), split.x - 0.05)]
    found = audit(OneNumber(), split, threat=Threat(Brighter()), attacks=attacks, transfer=given)
    assert failed(found) == set()
    assert named(found, "large radius").numbers["factors"] == [1, 2, 4, 8, 16]
    assert named(found, "large radius").numbers["robust"][0] == 10


def test_a_transferred_example_that_wins_fails_its_line_alone():
    found = by_hand(transfer=[TransferExamples(torch.tensor([7, 3, 5]), SPLIT.x[[7, 3, 5]] - 0.2)])
    assert failed(found) == {"transfer"}
    counted = {"nets": 1, "shown": 3, "standing": 3, "fooled_by_transfer_alone": 3}
    assert named(found, "transfer").numbers.items() >= counted.items()


@pytest.mark.parametrize(("fooled", "verdict"), [(1, "passed"), (2, "failed")])
def test_what_is_tolerated_passes_and_one_more_fails(fooled, verdict):
    rows = torch.arange(fooled)
    line = named(by_hand(transfer=[TransferExamples(rows, SPLIT.x[rows] - 0.2)]), "transfer")
    assert line.verdict == verdict
    assert line.numbers["tolerated"] == 1


@pytest.mark.parametrize(("wrong", "verdict"), [(2, "passed"), (3, "failed")])
def test_gradients_must_be_true_on_four_of_five_examples(wrong, verdict):
    def lie(x):
        low = torch.arange(len(x))[:, None] < wrong
        return torch.where(low, 3 * x - 2 * x.detach(), x)

    line = named(by_hand(Around(OneNumber(), before=lie)), "true gradients")
    assert (line.verdict, line.numbers["agree"], line.numbers["expected"]) == (verdict, 10 - wrong, 8)


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_transferred_examples_are_counted_once_whatever_the_nets_and_batches(batch_size):
    sets, moved = robustfw.make("uncertainty", "linf:radius=0.2"), SPLIT.x - 0.2
    given = [TransferExamples(torch.arange(4), moved[:4]), TransferExamples(torch.arange(2, 6), moved[2:6])]
    found = audit(OneNumber(), SPLIT, threat=Threat(sets), attacks=Attacks(HALF), transfer=given, batch_size=batch_size)
    assert named(found, "transfer").numbers["fooled_by_transfer_alone"] == 6


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (TransferExamples(torch.arange(3), SPLIT.x[:3] - 0.21), "3 of 3 transferred examples lie outside the set"),
        (TransferExamples(torch.arange(3), SPLIT.x[:3] - 2), "outside its bounds"),
        (TransferExamples(torch.tensor([10]), SPLIT.x[:1]), "one index each, below 10"),
        (TransferExamples(torch.arange(3), SPLIT.x[:2]), "2 with 3 indices"),
    ],
)
def test_transferred_examples_that_do_not_fit(given, words):
    with pytest.raises(DataError, match=words):
        by_hand(transfer=[given])


def test_a_loss_that_underflows():
    found = by_hand(Around(OneNumber(), after=lambda z: 1e4 * z))
    assert failed(found) == {"gradients not zero"}
    assert named(found, "gradients not zero").numbers["without_gradient"] == 10


def test_a_gradient_that_is_not_finite():
    """√ of zero has the slope ∞, and ∞ times zero is no number."""
    found = by_hand(Around(OneNumber(), before=lambda x: x + (x - x).sqrt()))
    assert "gradients not zero" in failed(found)
    assert named(found, "gradients not zero").numbers["without_gradient"] == 10


def test_a_margin_loss_that_finds_more():
    found = by_hand(many=Share(0.5, by_margin=1.0))
    assert failed(found) == {"gradients not zero"}
    assert named(found, "gradients not zero").numbers["more_fooled_by_margin_loss"] == 10


def test_outputs_that_change_and_predictions_that_do_not():
    class Counting(OneNumber):
        calls = 0

        def forward(self, x):
            self.calls += 1
            return super().forward(x) + self.calls

    found = by_hand(Counting())
    assert failed(found) == {"deterministic"}
    assert named(found, "deterministic").numbers == {"n": 10, "outputs_differ": 10, "predictions_differ": 0}


def test_probabilities_are_no_logits():
    found = by_hand(Around(OneNumber(), after=lambda z: z.softmax(1)))
    assert failed(found) == {"logits"}
    assert named(found, "logits").numbers["probabilities"] == 10


def test_infinite_outputs_are_no_logits():
    found = by_hand(Around(OneNumber(), after=lambda z: z.masked_fill(z > 0, torch.inf)))
    assert "logits" in failed(found)
    assert named(found, "logits").numbers["not_finite"] == 10


def test_classes_that_an_example_cannot_have_may_be_masked():
    """−∞ is such a logit, and read as a low number."""
    assert failed(by_hand(Around(OneNumber(), after=lambda z: nn.functional.pad(z, (0, 1), value=-torch.inf)))) == set()


def test_log_probabilities_are_logits():
    assert failed(by_hand(Around(OneNumber(), after=lambda z: z.log_softmax(1)))) == set()


@pytest.mark.parametrize("factor", [0.5, -1.0, 3.0])
def test_a_gradient_of_the_wrong_length_or_direction(factor):
    """The forward pass is x; the backward pass says factor."""
    found = by_hand(Around(OneNumber(), before=lambda x: factor * x + ((1 - factor) * x).detach()))
    assert failed(found) == {"true gradients"}
    assert named(found, "true gradients").numbers["agree"] == 0


@pytest.mark.parametrize("slope", [1e-2, 1.0, 1e5])
@pytest.mark.parametrize("offset", [0.0, 10.0])
def test_true_gradients_pass_whatever_the_scale(slope, offset):
    found = by_hand(Around(OneNumber(), after=lambda z: slope * z + offset))
    assert named(found, "true gradients").verdict == "passed"


def test_attacks_that_are_missing_leave_their_lines_unchecked():
    found = by_hand(one=None, double=None, restarts=None, noise=None)
    unchecked = {line.name for line in found.lines if line.verdict == "not checked"}
    assert unchecked == {"one step", "twice the steps", "restarts", "noise", "transfer"}
    assert found.verdict == "sound"


def test_when_nothing_is_left_standing():
    found = by_hand(**dict.fromkeys(("many", "double"), Share(1.0)))
    assert failed(found) == set()
    assert named(found, "noise").numbers["standing"] == 0


def test_a_net_that_knows_nothing_is_not_audited():
    with pytest.raises(DataError, match="none of the 10 examples right"):
        by_hand(split=TensorSplit(SPLIT.x, torch.ones(10).long()))


def test_a_rival_that_leaves_its_set_is_named():
    with pytest.raises(PluginError, match="Share left the uncertainty set"):
        by_hand(one=Share(2.0))


def test_the_same_seed_gives_the_same_list(sound, digits):
    one, two = (judged(sound, digits.first(50), seed=3) for _ in range(2))
    assert one == two


def test_as_json():
    result = by_hand(noise=Share(1.0)).describe()
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert (result["n"], result["verdict"], len(result["lines"])) == (10, "suspicious", len(CHECKS))
    for line in result["lines"]:
        assert line.keys() >= {"name", "verdict", "numbers", "advice"}
        assert line["advice"] == ADVICE[line["name"]]
        assert line["numbers"] or line["verdict"] == "not checked"


def of_a_regression(tolerance, many):
    """The list for the pixel itself as an estimate of 0.65."""
    split = TensorSplit(PIXELS.reshape(-1, 1), torch.full((10, 1), 0.65))
    attacks = Attacks(many=many, one=many, double=many, restarts=many, noise=many)
    threat = Threat(robustfw.make("uncertainty", "linf:radius=0.1"), (0.0, 1.0))
    return audit(nn.Identity(), split, threat=threat, attacks=attacks, task=Regression(tolerance=tolerance))


def test_an_error_that_the_data_range_keeps_within_the_tolerance_is_no_sign_of_masking():
    found = of_a_regression(0.7, Share(1.0))
    line = named(found, "large radius")
    assert line.numbers["robust"] == [10] * len(line.numbers["factors"])
    assert "large radius" not in failed(found)
    assert line.numbers["tolerated"] == 3


def test_an_attack_on_a_regression_that_gets_lost_when_the_set_is_large_still_fails():
    found = of_a_regression(0.05, LostWhenFar())
    line = named(found, "large radius")
    assert line.numbers["robust"][0] == 0
    assert line.numbers["largest_rise"] == 10
    assert "large radius" in failed(found)
