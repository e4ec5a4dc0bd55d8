"""The arithmetic of the benchmarks of speed; the times themselves are for them to say."""

from __future__ import annotations

import argparse
import functools
import json
import sys
from pathlib import Path

import pytest
import torch

import robustfw

sys.path.append(str(Path(__file__).parents[2]))

from benchmarks import data_feed, projection_speed, scaling, startup, step_cost, tables, turns  # by the line above
from benchmarks.projection_speed import RADIUS, Case


def test_ways_take_turns_and_each_round_begins_with_another():
    seen = []
    ways = {name: functools.partial(seen.append, name) for name in "abc"}
    seconds = turns.in_turns(ways, rounds=3, times=2)
    assert "".join(seen) == "ccaabbaabbccbbccaaccaabb"
    assert {name: len(taken) for name, taken in seconds.items()} == {"a": 3, "b": 3, "c": 3}


def test_ratios_are_of_the_same_round():
    found = turns.ratios({"a": [1.0, 4.0, 9.0], "b": [1.0, 2.0, 3.0]}, "a", "b")
    assert (found.median, found.least, found.most, found.n) == (2.0, 1.0, 3.0, 3)
    assert found.spell() == "2.00 (1.00 to 3.00)"


@pytest.mark.parametrize("as_json", [False, True])
def test_tables_are_printed_and_kept(as_json, tmp_path, capsys):
    options = argparse.Namespace(json=as_json, out=tmp_path / "new" / "kept.json")
    rows = [{"name": "a", "ms": "1.0"}, {"name": "b"}]
    text = tables.markdown(rows, {"name": "", "ms": "time"})
    assert text == "|  | time |\n|---|---|\n| a | 1.0 |\n| b |  |"
    tables.leave(options, "name", [text], rows, {"commit": "abc"})
    assert json.loads(options.out.read_text()) == {"rows": rows, "commit": "abc"}
    said = capsys.readouterr().out
    assert json.loads(said)["rows"] == rows if as_json else (text in said and "commit: abc" in said)


@pytest.mark.parametrize("kind", ["dense", "near"])
@pytest.mark.parametrize("boxed", [False, True])
def test_the_benchmarks_projection_is_the_nearest_member_and_so_is_ours(kind, boxed):
    case = Case.drawn(6, 40, kind, boxed=boxed)
    exact = case.exact()
    assert case.outside(exact) < 1e-12
    rest = case.z.double() - exact
    x = torch.zeros_like(exact) if case.x is None else case.x.double()
    ball = robustfw.make("uncertainty", f"l1:radius={RADIUS}").at(x)
    region = ball if case.x is None else ball.clip(0 - x, 1 - x)
    assert float((rest * (region.support(rest) - exact)).sum(1).max()) < 1e-9, "the variational inequality"
    assert float((projection_speed._ours(case)().double() - exact).abs().max()) < 1e-6 * RADIUS
    assert case.outside(exact * 1.5) > 1e-3


def test_a_projection_that_is_wrong_slow_or_outside_breaks_the_claim():
    def table(**changed):
        ours = {"library": "robustfw", "error": 1e-8, "outside": 0.0, "ratio": {"median": 1.0}}
        return [ours | changed, {"library": "peer", "ratio": {"median": 2.0}}]

    assert projection_speed.holds(table())
    assert not projection_speed.holds(table(error=1e-5))
    assert not projection_speed.holds(table(outside=1e-5))
    assert not projection_speed.holds([*table(), {"library": "other", "ratio": {"median": 0.9}}])


def test_exponents_of_powers_are_exact():
    assert scaling.exponent([1, 2, 4], [3, 6, 12]) == pytest.approx(1)
    assert scaling.exponent([10, 100, 1000], [1, 100, 10000]) == pytest.approx(2)
    assert not scaling.holds([{"exponent": 1.0}, {"exponent": 1.4}])


def test_rows_of_scaling_have_the_larger_half_fitted():
    row = scaling.measured("sleep", "size", {1.0: int, 2.0: int, 4.0: int}, rounds=2)
    assert row["sizes"] == [1.0, 2.0, 4.0]
    assert len(row["seconds"]) == 3
    two = scaling.measured("sleep", "threads", {1.0: int, 2.0: int}, rounds=2)
    assert two["exponent"] == pytest.approx(scaling.exponent(two["sizes"], two["seconds"])), "where there are few, all"
    assert callable(scaling.oracle("l1", 4.0, 50, "project"))
    assert scaling.oracle("l1", 4.0, 50, "project")().shape == (scaling.ROWS, 50)


def test_startup_times_the_program_and_the_imports():
    commands = startup.commands()
    assert set(startup.CLAIMED) < set(commands)
    assert startup.TORCH in commands
    assert startup.holds([{"command": "robustfw --help", "share": {"median": 0.1}}])
    assert not startup.holds([{"command": "robustfw --help", "share": {"median": 0.3}}])


def test_the_feed_of_batches_augments_them(tmp_path):
    seen = []
    x = torch.rand(30, 3, 8, 8)
    whole = robustfw.TensorSplit(x, torch.arange(30) % 2)
    splits = robustfw.Splits(
        whole, whole, whole, robustfw.DataSpec((3, 8, 8), 2), lambda b, *_: seen.append(b.shape) or b
    )
    data_feed.ours(splits, batch=10, batches=3)()
    assert seen == [torch.Size([10, 3, 8, 8])] * 3
    rows = [
        {"way": data_feed.OURS, "ratio": {"median": 1.0}},
        {"way": data_feed.LEARNING, "ratio": {"median": 20.0}},
        {"way": "loader", "ratio": {"median": 5.0}},
    ]
    assert data_feed.holds(rows)
    assert not data_feed.holds([*rows, {"way": "another", "ratio": {"median": 2.0}}])


def test_step_cost_counts_operations_and_judges():
    assert step_cost.operations(lambda: torch.rand(4, 5) @ torch.rand(5, 6)) == 2 * 4 * 5 * 6
    for net in step_cost.NETS.values():
        for parts in step_cost.steps(net).values():
            recipe = step_cost.read(net, parts, "fp32")
            assert recipe.train.batch_size == net.batch

    def row(step, ratio):
        return {"net": "paper-mnist", "step": step, "ratio": {"median": ratio}}

    assert step_cost.holds([row("robust, ℓ∞", 1.8), row("engine", 1.02), row("PGD-7, ℓ∞", 9.0)])
    assert not step_cost.holds([row("robust, ℓ∞", 1.81)])
    assert not step_cost.holds([row("engine", 1.04)])


def test_what_is_around_an_update_is_the_time_outside_of_it(monkeypatch):
    clock = [0.0]

    def waits(seconds):
        clock[0] += seconds

    def step():
        waits(1.0)
        step_cost.engine.update(4.0)

    monkeypatch.setattr(step_cost.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(step_cost.engine, "update", waits)
    seconds, share = step_cost.around(step, rounds=3, times=2)
    assert (seconds.median, share.median, share.n) == (5.0, 1.25, 3)
    assert step_cost.engine.update is waits, "put back"


def test_an_update_of_each_step_updates():
    net = step_cost.Net("mlp", "digits", 50, 1.0, 2.0, (0.1, 0.5, 1.0), 1, 1)
    splits = robustfw.make("dataset", "digits").load(None)
    x, y = next(splits.train.iterate(50))
    for name, parts in step_cost.steps(net).items():
        step = step_cost.update(step_cost.read(net, parts, "fp32"), splits, x, y)
        first, second = float(step()), [float(step()) for _ in range(12)][-1]
        assert second < first, name
    row = step_cost.engine_row(net, "fp32", 2, splits)
    assert row["ratio"]["least"] > 1, "there is more to a training than its updates"
    assert row["ratio"]["n"] == 2
    step_cost.plain(torch.rand(3, 1, 28, 28), torch.arange(3))()


@pytest.mark.parametrize("name", ["", "file/it.json"])
def test_where_the_numbers_go_is_looked_at_before_anything_is_measured(name, tmp_path, capsys):
    (tmp_path / "file").touch()
    parser = argparse.ArgumentParser()
    tables.add_flags(parser)
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(["--out", str(tmp_path / name)])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "is a folder: name a file" in said or "is no folder that can be written: name another file" in said
    assert parser.parse_args(["--out", str(tmp_path / "new" / "it.json")]).out == tmp_path / "new" / "it.json"


@pytest.mark.parametrize("as_json", [False, True])
def test_rows_are_printed_as_they_come(as_json, capsys):
    columns = {"name": "name", "ms": "time"}

    def rows():
        yield {"name": "a", "ms": "1.0"}
        assert "| a | 1.0 |" in "".join(capsys.readouterr()), "before the next one is measured"
        yield {"name": "b"}

    found = tables.stream(argparse.Namespace(json=as_json), rows(), columns)
    said = capsys.readouterr()
    assert (said.err if as_json else said.out) == "| b |  |\n"
    assert found == [{"name": "a", "ms": "1.0"}, {"name": "b"}]


def test_bf16_is_left_out_with_a_sentence_where_it_cannot_pay(monkeypatch, capsys):
    for units, pays in ((True, True), (None, True), (False, False)):
        monkeypatch.setattr(tables.hardware, "bf16_units", lambda said=units: said)
        assert tables.bf16_pays("--precision bf16 measures it") == pays
    assert "no instructions for it" in capsys.readouterr().err
