"""What must not change does not: padded steps, masks and immutable features, whatever the set and the attack."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import robustfw
from robustfw import DataSpec, Splits, TensorSplit, Threat
from robustfw.errors import UsageError
from robustfw.plugin.registry import installed

TIME = 6
FEATURES = 3
SETS = ("linf:radius=0.3", "l2:radius=1", "l1:radius=2")
IMAGES = {"corruptions", "patch", "rotation-translation", "tangent"}
"""Sets that take images alone, as they are without options."""
ATTACKS = ("pgd:steps=5", "apgd:steps=5", "single-step:random_start=true", "random", "frank-wolfe:steps=5")


def sequences(lengths: list[int], seed: int = 0) -> torch.Tensor:
    """Sequences (n, TIME, FEATURES + 1) in [0, 1] of these lengths, with their mask as the last feature."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(len(lengths), TIME, FEATURES + 1, generator=generator)
    steps = torch.arange(TIME)
    x[..., -1] = (steps < torch.tensor(lengths)[:, None]).float()
    return x


class Reader(nn.Module):
    """A net that looks at all it gets, at padded steps and the mask, too."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(TIME * (FEATURES + 1), 3)

    def forward(self, x):
        return self.layer(x.flatten(1))


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("uncertainty", SETS)
@settings(max_examples=10, deadline=None)
@given(lengths=st.lists(st.integers(0, TIME), min_size=1, max_size=5), seed=st.integers(0, 99))
def test_no_attack_touches_a_padded_step_or_the_mask(uncertainty, attack, lengths, seed):
    x = sequences(lengths, seed)
    y = torch.zeros(len(x), dtype=torch.long)
    for bounds in ((0.0, 1.0), None):
        perturbed = robustfw.worst_case(
            Reader(), x, y, uncertainty=uncertainty, attack=attack, bounds=bounds, masked=True
        )
        padded = x[..., -1] == 0
        assert torch.equal(perturbed[..., -1], x[..., -1])
        assert torch.equal(perturbed[padded], x[padded])
        if (~padded).any():
            assert not torch.equal(perturbed, x)


@pytest.mark.parametrize("name", [entry.name for entry in installed().entries_of_kind("uncertainty")])
def test_no_set_has_a_member_that_changes_what_is_frozen(name):
    uncertainty = installed().make("uncertainty", name)
    shape = (uncertainty.shapes or ((2, 8),))[0]
    if name in IMAGES:
        shape = (1, 8, 8)
    generator = torch.Generator().manual_seed(0)
    train = torch.rand(40, *shape, generator=generator)
    fitted = uncertainty.fit(TensorSplit(train, torch.zeros(40)))
    x = torch.rand(3, *shape, generator=generator) * 0.8 + 0.1
    if len(shape) == 2:
        x[:, 0, -1] = 0
    threat = Threat(fitted, immutable=(1,), masked=len(shape) == 2)
    region = threat.region(x)
    for _ in range(3):
        for delta in (region.sample(generator), region.support(torch.randn(region.like.shape, generator=generator))):
            change = threat.apply(region, x, delta) - x
            assert (change[threat.frozen(x)] == 0).all()
            if region.additive:
                assert (delta[threat.frozen(x)].abs() < 1e-6).all()


def test_evaluation_and_training_keep_what_the_data_says():
    x = sequences([3] * 40)
    y = (torch.arange(40) % 3).long()
    split = TensorSplit(x, y)
    spec = DataSpec((TIME, FEATURES + 1), 3, masked=True)
    net = Reader()
    with torch.no_grad():
        # all that the net looks at is the padding
        net.layer.weight.reshape(3, TIME, FEATURES + 1)[:, :3, :-1] = 0
    result = robustfw.evaluate(net, Splits(split, split, split, spec), uncertainty="linf:radius=0.9", attack="pgd")
    assert result.robust_accuracy == result.clean_accuracy
    records = robustfw.train(
        dataset=Splits(split, split, split, spec),
        model=net,
        uncertainty="linf:radius=0.9",
        attack="pgd",
        epochs=1,
        batch_size=20,
        learning_rate=1e-9,
    )
    (epoch,) = list(records)
    assert epoch.robust_accuracy == epoch.clean_accuracy


TABLE = DataSpec((5,), 2, features=("age", "sex=f", "sex=m", "income", "city"), groups=((1, 2),), immutable=(4,))


@pytest.mark.parametrize(
    ("spec", "movable", "categories"),
    [
        ("tabular", {0, 3}, True),
        ("tabular:immutable=[income]", {0}, True),
        ("tabular:immutable=[sex,3]", {0}, False),
        ("tabular:radii=[[age,0]]", {3}, True),
        ("tabular:integer=[age],step=0.05", {0, 3}, True),
        ("linf:radius=0.1", {0, 1, 2, 3}, None),
    ],
)
def test_a_table_says_what_may_change(spec, movable, categories):
    x = torch.tensor([[0.5, 1.0, 0.0, 0.5, 0.5]])
    threat = Threat.on(installed().make("uncertainty", spec), TABLE)
    region = threat.region(x)
    change = region.support(torch.tensor([[1.0, -1.0, 1.0, 1.0, 1.0]]))[0]
    changed = set(change.nonzero()[:, 0].tolist())
    if categories is None:
        assert changed == movable
    else:
        assert changed - {1, 2} == movable
        assert torch.equal(change[1:3], torch.tensor([-1.0, 1.0]) if categories else torch.zeros(2))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("tabular:immutable=[agee]", "there is no feature 'agee'.*age"),
        ("tabular:one_hot=[[sex]],integer=[sex]", "in no other group"),
    ],
)
def test_names_that_are_none(spec, message):
    with pytest.raises(UsageError, match=message):
        Threat.on(installed().make("uncertainty", spec), TABLE).region(torch.full((1, 5), 0.5))


def test_names_need_data_that_has_them():
    with pytest.raises(UsageError, match="no names of features"):
        installed().make("uncertainty", "tabular:immutable=[age]").at(torch.rand(1, 5))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"features": ("a",)}, "1 names of features"),
        ({"groups": ((0, 5),)}, "groups name feature 5"),
        ({"immutable": (-1,)}, "immutable name feature -1"),
        ({"masked": True}, "a mask belongs to sequences"),
    ],
)
def test_a_layout_fits_the_shape(options, message):
    with pytest.raises(ValueError, match=message):
        DataSpec((5,), 2, **options)
