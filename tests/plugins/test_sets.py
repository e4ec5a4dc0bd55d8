"""Sets beyond the norm balls: lp, budget, groups and polyhedra by hand, and PGD over each set on a small net."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import robustfw
from robustfw import DataError, TensorSplit, Threat, UsageError
from robustfw.evaluation._audit import Attacks, audit
from robustfw.evaluation._sweep import sweep
from robustfw.regions import inner_products, norms

from ..perturbations import at
from .random_images import directions, images


def within(region, x):
    return region.clip(0 - x, 1 - x)


# lp and budget


@pytest.mark.parametrize("p", [1.1, 1.5, 2.0, 3.0, 20.0])
def test_the_support_of_an_lp_ball_is_its_radius_times_the_dual_norm(p):
    x = images()
    g = directions(x)
    reached = inner_products(g, at(f"lp:p={p},radius=0.7", x).support(g))
    dual = torch.linalg.vector_norm(g.flatten(1), ord=p / (p - 1), dim=1)
    torch.testing.assert_close(reached, 0.7 * dual)


@pytest.mark.parametrize(("p", "same"), [(1, "l1"), (2, "l2")])
@pytest.mark.parametrize("bounded", [False, True])
def test_an_lp_ball_is_the_ball_of_that_name(p, same, bounded):
    x = images()
    z = directions(x)
    general, special = at(f"lp:p={p},radius=1.3", x), at(f"{same}:radius=1.3", x)
    if bounded:
        general, special = within(general, x), within(special, x)
    torch.testing.assert_close(general.project(z), special.project(z))
    torch.testing.assert_close(general.support(z), special.support(z))


def test_p_below_1_and_infinity_are_refused_in_a_sentence():
    with pytest.raises(UsageError, match=r"p must be from 1 on and finite, not 0\.5"):
        robustfw.make("uncertainty", "lp:p=0.5")
    with pytest.raises(UsageError, match="∞ is the set linf"):
        robustfw.make("uncertainty", "lp:p=inf")


def test_a_budget_lets_gamma_coordinates_deviate_and_the_next_by_the_rest():
    x = torch.full((1, 5), 0.5, dtype=torch.float64)
    g = torch.tensor([[5.0, -4.0, 3.0, 2.0, 0.0]], dtype=torch.float64)
    farthest = at("budget:radius=0.2,gamma=2.5", x).support(g)
    torch.testing.assert_close(farthest, torch.tensor([[0.2, -0.2, 0.1, 0.0, 0.0]], dtype=torch.float64))


# group-l2


def test_the_sum_of_group_lengths_spends_its_radius_on_the_longest_group():
    x = images()
    g = directions(x)
    reached = inner_products(g, at("group-l2:radius=0.6", x).support(g))
    torch.testing.assert_close(reached, 0.6 * g.norm(dim=1).flatten(1).amax(1))


def test_the_maximum_of_group_lengths_moves_every_group():
    x = images()
    g = directions(x)
    reached = inner_products(g, at("group-l2:radius=0.6,norm=max", x).support(g))
    torch.testing.assert_close(reached, 0.6 * g.norm(dim=1).flatten(1).sum(1))


@pytest.mark.parametrize(
    ("shape", "spec", "same"),
    [
        ((1, 4, 4), "group-l2:radius=1.2", "l1:radius=1.2"),
        ((3, 4, 4), "group-l2:radius=1.2,groups=block,side=4", "l2:radius=1.2"),
        ((3, 4, 4), "group-l2:radius=0.5,groups=channel,norm=max", "l2:radius=[0.5,0.5,0.5]"),
    ],
)
def test_groups_of_one_or_of_all_coordinates_are_known_balls(shape, spec, same):
    x = images(shape=shape)
    z = directions(x)
    groups, known = within(at(spec, x), x), within(at(same, x), x)
    torch.testing.assert_close(groups.project(z), known.project(z))
    torch.testing.assert_close(inner_products(z, groups.support(z)), inner_products(z, known.support(z)))


def test_blocks_at_the_border_are_smaller():
    x = images(shape=(1, 5, 3))
    g = torch.zeros_like(x)
    g[..., 4, 2] = 1
    g[..., 0, 0] = 0.9
    farthest = at("group-l2:groups=block,side=2,radius=0.5", x).support(g)
    assert float(farthest[0, 0, 4, 2]) == pytest.approx(0.5)
    assert float(norms(farthest)[0]) == pytest.approx(0.5)


# polyhedron


@pytest.mark.parametrize("ending", ["npy", "csv"])
def test_the_inequalities_of_a_polyhedron_may_be_files(tmp_path, ending):
    normals, offsets = np.array([[1.0, 1.0], [-1.0, 2.0]]), np.array([0.1, 0.2])
    if ending == "npy":
        np.save(tmp_path / "a.npy", normals)
        np.save(tmp_path / "b.npy", offsets)
    else:
        np.savetxt(tmp_path / "a.csv", normals, delimiter=",")
        np.savetxt(tmp_path / "b.csv", offsets, delimiter=",")
    x = torch.full((1, 2), 0.5, dtype=torch.float64)
    g = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
    from_files = at(f"polyhedron:a={tmp_path}/a.{ending},b={tmp_path}/b.{ending},limit=1", x).support(g)
    written = at("polyhedron:a=[[1,1],[-1,2]],b=[0.1,0.2],limit=1", x).support(g)
    torch.testing.assert_close(from_files, written)
    torch.testing.assert_close(written, torch.tensor([[0.0, 0.1]], dtype=torch.float64), atol=1e-8, rtol=0)


def test_what_is_no_matrix_is_refused_in_a_sentence(tmp_path):
    (tmp_path / "words.csv").write_text("one,two\n")
    with pytest.raises(DataError, match=r"words.csv holds no numbers that can be read"):
        at(f"polyhedron:a={tmp_path}/words.csv", images())
    with pytest.raises(DataError, match=r"none.npy"):
        at(f"polyhedron:a={tmp_path}/none.npy", images())
    with pytest.raises(UsageError, match="a has 1 rows, b has 2 numbers"):
        robustfw.make("uncertainty", "polyhedron:a=[[1,1]],b=[1,2]")
    with pytest.raises(UsageError, match="do not fit perturbations of 48 coordinates"):
        at("polyhedron:a=[[1,1]],b=[1]", images())


# In use


def small_net(shape):
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), 8), nn.Tanh(), nn.Linear(8, 3))


SETS = [
    "lp:p=1.5,radius=1",
    "budget",
    "group-l2",
    "group-l2:norm=max,radius=0.3",
    "polyhedron",
    "patch",
    "rotation-translation",
    "tabular:integer=[0,5],immutable=[1],one_hot=[[2,3,4]]",
    "corruptions",
]


@pytest.mark.parametrize("spec", SETS)
def test_pgd_finds_members_in_the_range_that_are_worse_than_chance_finds(spec):
    x = torch.rand(32, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    y = torch.arange(32) % 3
    net, uncertainty = small_net(x.shape[1:]), robustfw.make("uncertainty", spec)

    def loss(attack):
        moved = robustfw.worst_case(net, x, y, uncertainty=uncertainty, attack=robustfw.make("attack", attack))
        assert moved.shape == x.shape
        assert float(moved.min()) >= 0
        assert float(moved.max()) <= 1
        return nn.functional.cross_entropy(net(moved), y)

    clean = nn.functional.cross_entropy(net(x), y)
    assert loss("pgd:steps=10") > loss("random:samples=2")
    assert loss("pgd:steps=10") > clean


def test_a_parametric_set_is_warmed_up_swept_and_audited():
    records = list(
        robustfw.train(
            dataset="digits",
            uncertainty="rotation-translation:angle=15,shift=1",
            attack="pgd:steps=2",
            epochs=2,
            seed=0,
            radius_warmup=2,
        )
    )
    net = records[-1].model.eval()
    test = robustfw.make("dataset", "digits").load(Path()).test.first(60)
    uncertainty = robustfw.make("uncertainty", "rotation-translation:angle=15,shift=1")
    attack = robustfw.make("attack", "pgd:steps=3")
    (fooled,) = sweep(net, test, threat=Threat(uncertainty), attack=attack, factors=[0.0, 0.5, 1.0])
    counts = fooled.at.sum(0).tolist()
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]
    attacks = Attacks(
        many=attack,
        one=robustfw.make("attack", "single-step"),
        double=robustfw.make("attack", "pgd:steps=6"),
        restarts=robustfw.make("attack", "restarts:n=2,attack=(pgd:steps=3)"),
        noise=robustfw.make("attack", "random:samples=5"),
    )
    assert audit(net, test, threat=Threat(uncertainty), attacks=attacks).lines


@pytest.mark.parametrize("spec", ["tabular:integer=[0,5],one_hot=[[2,3,4]]", "corruptions", "patch"])
def test_sets_of_which_half_a_member_is_none_are_swept(spec):
    x = torch.rand(20, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    split = TensorSplit(x, torch.arange(20) % 3)
    attack, uncertainty = robustfw.make("attack", "pgd:steps=3"), robustfw.make("uncertainty", spec)
    net = small_net(x.shape[1:])
    (fooled,) = sweep(net, split, threat=Threat(uncertainty), attack=attack, factors=[0.2, 0.6, 1.0])
    counts = fooled.at.sum(0).tolist()
    assert counts == sorted(counts)
