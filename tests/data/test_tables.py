"""Tables of .csv and .parquet files: features, groups, scales and targets are those of a plain loop."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robustfw import DataError, UsageError
from robustfw.plugin.registry import installed
from robustfw_data.columns import scale_columns

pd = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")


def frame(n: int = 50):
    """People with an age, a town, an income and whether they pay."""
    generator = torch.Generator().manual_seed(0)
    draws = torch.rand(n, 3, generator=generator).double().numpy()
    towns = [("Graz", "Linz", "Wien")[int(3 * draw)] for draw in draws[:, 1]]
    pays = ["yes" if draw > 0.5 else "no" for draw in draws[:, 2]]
    return pd.DataFrame(
        {"age": (20 + 60 * draws[:, 0]).round(), "town": towns, "income": 1000 * draws[:, 2], "floor": 7, "pays": pays}
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frame().to_csv("people.csv", index=False)
    frame().to_parquet("people.parquet")
    return tmp_path


def load(spec, root="/nowhere"):
    from pathlib import Path

    return installed().make("dataset", spec).load(Path(root))


def everything(splits):
    parts = (splits.train, splits.validation, splits.test)
    return torch.cat([part.x for part in parts]), torch.cat([part.y for part in parts])


@pytest.mark.parametrize("file", ["csv:people.csv", "parquet:people.parquet"])
def test_the_numbers_are_those_of_a_plain_loop(folder, file):
    splits = load(f"{file},immutable=[town],scale=raw")
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (36, 4, 10)
    spec = splits.spec
    assert spec.features == ("age", "town=Graz", "town=Linz", "town=Wien", "income", "floor")
    assert (spec.groups, spec.immutable, spec.labels, spec.classes) == (((1, 2, 3),), (1, 2, 3), ("no", "yes"), 2)
    x, y = everything(splits)
    expected = []
    for row in frame().itertuples():
        town = [float(row.town == name) for name in ("Graz", "Linz", "Wien")]
        expected.append(([row.age, *town, row.income, row.floor], int(row.pays == "yes")))
    by_hand = sorted((torch.tensor(features).tolist(), label) for features, label in expected)
    assert sorted(zip(x.tolist(), y.tolist(), strict=True)) == by_hand
    lower, upper = spec.bounds
    assert lower == tuple(x.amin(0).tolist())
    assert upper == tuple(x.amax(0).tolist())


def test_a_unit_is_the_range_of_the_training_rows(folder):
    raw, unit = load("csv:people.csv,scale=raw"), load("csv:people.csv")
    low, high = raw.train.x.amin(0), raw.train.x.amax(0)
    width = torch.where(high > low, high - low, 1)
    assert torch.allclose(unit.test.x, (raw.test.x - low) / width, atol=1e-6)
    assert torch.equal(unit.train.x[:, 1:4], raw.train.x[:, 1:4])
    std = load("csv:people.csv,scale=std")
    assert torch.allclose(std.train.x[:, [0, 4]].mean(0), torch.zeros(2), atol=1e-5)
    assert torch.allclose(std.train.x[:, [0, 4]].std(0, correction=0), torch.ones(2), atol=1e-5)
    assert (std.train.x[:, 5] == 0).all()


def test_columns_are_chosen_dropped_and_made_categories(folder):
    splits = load("csv:people.csv,target=town,columns=[age,floor],categorical=[floor]")
    assert splits.spec.features == ("age", "floor=7")
    assert splits.spec.labels == ("Graz", "Linz", "Wien")
    assert load("csv:people.csv,drop=[town,floor]").spec.features == ("age", "income")
    regression = load("csv:people.csv,target=income,drop=[pays],task=(regression:tolerance=10)")
    assert regression.spec.classes == 1
    assert regression.train.y.shape == (36, 1)


def test_a_category_changes_as_a_whole_and_what_is_immutable_stays(folder):
    from robustfw import Threat

    splits = load("csv:people.csv,immutable=[age]")
    x = splits.test.x
    region = Threat.on(installed().make("uncertainty", "tabular:radius=0.1"), splits.spec).region(x)
    direction = torch.zeros_like(x)
    direction[:, :4] = torch.tensor([1.0, 1.0, 0.0, -1.0])
    change = region.support(direction)
    assert (change[:, 0] == 0).all()
    moved = x + change
    assert (moved[:, 1] == 1).all()
    assert (moved[:, 2:4] == 0).all()


@pytest.mark.parametrize(
    ("change", "spec", "error", "message"),
    [
        ({}, "csv:nowhere.csv", DataError, "there is no nowhere.csv"),
        ({}, "csv:people.csv,target=pay", UsageError, "no column 'pay'; did you mean 'pays'|no column 'pay'.*pays"),
        ({"age": [None, *[1.0] * 49]}, "csv:people.csv", DataError, "empty fields in 1 of 50 rows, in the columns age"),
        ({"town": [str(i) + "a" for i in range(50)]}, "csv:people.csv", None, None),
        ({"pays": [0.5, *[1.25] * 49]}, "csv:people.csv", DataError, "as of a regression: say which error counts"),
        ({"pays": [1, 2] * 25}, "csv:people.csv", DataError, "labels run from 1 to 2, and none is 0"),
        ({"pays": range(100, 150)}, "csv:people.csv,task=binary", DataError, "labels run from 100 to 149"),
        ({}, "csv:people.csv,columns=[age],drop=[age]", UsageError, "no column left"),
    ],
)
def test_what_is_wrong_is_one_sentence(folder, change, spec, error, message):
    table = frame()
    for name, values in change.items():
        table[name] = list(values)
    table.to_csv("people.csv", index=False)
    if error is None:
        assert len(load(spec).spec.groups[0]) == 50
        return
    with pytest.raises(error, match=message):
        load(spec)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), scale=st.sampled_from(["unit", "std", "raw"]), n=st.integers(2, 20))
def test_every_row_is_within_the_bounds_of_its_features(seed, scale, n):
    values = torch.randn(n, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    scaled, (lower, upper) = scale_columns(values, torch.arange(n // 2), [0, 2], scale)
    assert (scaled >= torch.tensor(lower)).all()
    assert (scaled <= torch.tensor(upper)).all()
    assert torch.equal(scaled[:, [1, 3]], values[:, [1, 3]].float())
