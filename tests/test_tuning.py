"""What is measured at the start of a training: that it changes nothing but speed, and is in the record."""

from __future__ import annotations

import itertools
import json

import attrs
import pytest
import torch
from torch import nn

import robustfw
from robustfw import RunError
from robustfw.errors import RobustfwWarning
from robustfw.plugin.registry import installed
from robustfw.training import _session as session
from robustfw.training import _settings as settings
from robustfw.training import _timing as timing
from robustfw.training import _tuning as tuning
from robustfw.training import hardware
from robustfw.training._settings import Tuning
from robustfw.training.recipe import Recipe

SMALL = {"dataset": "digits", "model": "madry-mnist", "attack": "single-step"}
TRAIN = {"epochs": 1, "batch_size": 400, "validation_examples": 10, "validation_attack": "single-step"}


def begun(train, **more):
    return session.begin(Recipe.read(SMALL | {"train": TRAIN | train} | more, installed()), installed())


@pytest.fixture(autouse=True)
def units(monkeypatch):
    """Whatever processor the tests run on, it has instructions for bf16; a test may say that it has none."""
    monkeypatch.setattr(hardware, "bf16_units", lambda: True)
    return lambda: monkeypatch.setattr(hardware, "bf16_units", lambda: False)


@pytest.fixture
def clock(monkeypatch):
    """Candidates take as long as it says, in seconds by name."""
    told = {}

    def timed(recipe, splits, state, candidates):
        return [told[tuning._name(each)] for each in candidates]

    monkeypatch.setattr(tuning, "time_updates", timed)
    return told


@pytest.mark.parametrize(
    ("times", "precision", "layout"),
    [
        ((4, 3, 2, 5), "bf16", "channels_last"),
        ((4, 3, 5, 2), "bf16", "contiguous"),
        ((4, 3, 5, 2.9), "fp32", "contiguous"),
        ((2, 3, 4, 5), "fp32", "channels_last"),
    ],
)
def test_the_fastest_is_chosen_and_bf16_only_if_it_pays(clock, times, precision, layout):
    names = "fp32 channels_last", "fp32 contiguous", "bf16 channels_last", "bf16 contiguous"
    clock |= dict(zip(names, times, strict=True))
    begun_ = begun({"precision": "auto"})
    assert begun_.recipe.train.precision == precision
    formats = {m.memory_format for m in begun_.state.model.modules() if hasattr(m, "memory_format")}
    assert formats == {settings.FORMATS[layout]}
    weight = next(m.weight for m in begun_.state.model.modules() if isinstance(m, nn.Conv2d) and m.in_channels > 1)
    assert weight.is_contiguous(memory_format=settings.FORMATS[layout])


def test_nets_without_convolutions_have_one_layout(clock):
    clock |= {"fp32": 2.0, "bf16": 1.0}
    assert begun({"precision": "auto"}, model="mlp").recipe.train.precision == "bf16"


def test_a_measured_precision_leaves_the_compilation_as_asked_for(clock):
    clock |= {"fp32": 2.0, "bf16": 1.0}
    assert begun({"precision": "auto", "compile": "on"}, model="mlp").recipe.train.compile == "on"


def test_what_is_said_is_not_measured(monkeypatch):
    monkeypatch.setattr(tuning, "time_updates", lambda *_: pytest.fail("it measured"))
    assert begun({"precision": "bf16"}).recipe.train.precision == "bf16"
    assert begun({}).recipe.train.precision == "fp32"


def test_where_bf16_cannot_pay_it_is_not_tried_and_who_asks_for_it_is_told_the_factor(clock, units):
    units()
    clock |= {"fp32 channels_last": 2.0, "fp32 contiguous": 1.0}
    begun_ = begun({"precision": "auto"})
    assert begun_.recipe.train.precision == "fp32"
    clock |= {"fp32": 2.0, "bf16": 25.0}
    with pytest.warns(RobustfwWarning, match="no instructions for bf16: an update takes 12.5 times one in fp32"):
        assert begun({"precision": "bf16"}).recipe.train.precision == "bf16"


@pytest.mark.parametrize("damage", [{"precision": "int8"}, {"layout": []}, {"seconds": 3}, {"why": None}])
def test_a_damaged_record_is_refused(damage):
    facts = attrs.asdict(Tuning("fp32", None))
    assert settings.read(facts) == Tuning("fp32", None)
    with pytest.raises(RunError, match="'tuning' is damaged"):
        settings.read(facts | damage)


def test_it_is_in_the_record_and_a_resumed_run_measures_nothing(clock, monkeypatch, tmp_path):
    clock |= {"fp32": 2.0, "bf16": 1.0}
    options = {"dataset": "digits", "model": "mlp", "attack": "single-step", **TRAIN, "precision": "auto"}
    out = tmp_path / "run"
    for record in robustfw.train(**options | {"epochs": 2}, out=out, steps=True):
        if getattr(record, "batch", 0) == 1:
            break
    facts = json.loads((out / "manifest.json").read_text())["tuning"]
    assert facts["precision"] == "bf16"
    assert facts["seconds"] == {"fp32": 2.0, "bf16": 1.0}
    assert "0.50 of one in fp32" in facts["why"]
    clock.clear()
    assert settings.read(facts) == Tuning("bf16", None, facts["seconds"], facts["why"])
    assert list(robustfw.train(**options | {"epochs": 2}, out=out, resume=True))


def test_measuring_leaves_the_training_as_it_was():
    """Weights are as without it, where it chooses what was asked for."""
    nets = []
    for settle in (False, True):
        begun_ = begun({"epochs": 2})
        if settle:
            recipe = attrs.evolve(begun_.recipe, train=attrs.evolve(begun_.recipe.train, precision="auto"))
            found = tuning.choose(recipe, begun_.splits, begun_.state)
            assert set(found.seconds) == {f"{p} {layout}" for p in ("fp32", "bf16") for layout in settings.FORMATS}
            assert all(seconds > 0 for seconds in found.seconds.values())
        for record in begun_.records():
            net = record.model if hasattr(record, "model") else None
        nets.append([p.detach().clone() for p in net.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*nets, strict=True))


def test_a_part_of_a_large_batch_is_timed_for_the_whole(monkeypatch):
    ticks, seen = itertools.count(), []
    monkeypatch.setattr(timing, "ENOUGH", 50)
    monkeypatch.setattr(timing.time, "perf_counter", lambda: float(next(ticks)))
    monkeypatch.setattr(timing.engine, "update", lambda recipe, state, batch: seen.append(len(batch)))
    begun_ = begun({})
    eager = Tuning("fp32", None)
    assert timing.time_updates(begun_.recipe, begun_.splits, begun_.state, [eager]) == [400 / 50]
    assert set(seen) == {50}


def test_layouts_compute_the_same():
    net = robustfw.make("model", "madry-mnist").build(robustfw.DataSpec((1, 8, 8), 10))
    x = torch.rand(3, 1, 8, 8)
    before = net(x)
    for layout in settings.FORMATS:
        settings.lay_out(net, layout)
        torch.testing.assert_close(net(x), before)


@pytest.mark.slow
def test_a_compiled_training_learns_what_an_eager_one_does():
    nets = {}
    for how in ("off", "on"):
        for record in begun({"compile": how, "epochs": 2}, model="mlp").records():
            if hasattr(record, "model"):
                nets[how] = [p.detach().clone() for p in record.model.parameters()]
    for eager, compiled in zip(nets["off"], nets["on"], strict=True):
        torch.testing.assert_close(eager, compiled, rtol=1e-3, atol=1e-4)
