"""What a training promises its callers: which epoch is best, which net a record has, and what reaches plugins."""

from __future__ import annotations

import copy
import math

import attrs
import pytest
import torch
from torch import nn

import robustfw
from robustfw import (
    Attack,
    DataError,
    DataSpec,
    Objective,
    Sampler,
    Split,
    Splits,
    Stateful,
    StreamedSplit,
    TensorSplit,
    UsageError,
)
from robustfw.optim import Optimizer

FAST = {"attack": "single-step", "uncertainty": "linf:radius=0.05", "epochs": 2, "batch_size": 16}


def examples(n=96, d=6, meta=None):
    generator = torch.Generator().manual_seed(5)
    y = torch.arange(n) % 2
    x = (0.5 + 0.1 * torch.randn(n, d, generator=generator) + 0.2 * (y[:, None] - 0.5)).clamp(0, 1)
    return TensorSplit(x, y, meta or {})


def splits_of(train=None, n=80, **more):
    whole = examples(**more)
    train = train or whole.subset(torch.arange(n))
    return Splits(train, whole.subset(torch.arange(80, 96)), whole.first(8), DataSpec((6,), 2))


def net(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))


def trained(splits=None, model="mlp:hidden=[8]", steps=False, **options):
    return list(robustfw.train(dataset=splits or splits_of(), model=model, steps=steps, **(FAST | options)))


def weights(module):
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def same(one, other):
    return all(torch.equal(value, other[name]) for name, value in one.items())


# Which epoch is best


def test_where_every_robust_accuracy_is_zero_the_clean_one_decides():
    """A set that covers the range leaves nothing standing; the first epoch is not the best for that."""
    found = trained(uncertainty="linf:radius=1", attack="pgd:steps=20", objective="clean", epochs=4)
    assert [record.robust_accuracy for record in found] == [0] * 4
    best = [record for record in found if record.best][-1]
    highest = max(record.clean_accuracy for record in found)
    assert best.clean_accuracy == highest
    alike = [record for record in found if record.clean_accuracy == highest]
    assert best.loss == min(record.loss for record in alike)


def test_without_validation_examples_the_last_epoch_is_the_best():
    whole = examples()
    splits = Splits(whole, whole.first(0), whole.first(8), DataSpec((6,), 2))
    found = trained(splits, epochs=3)
    assert all(math.isnan(record.robust_accuracy) for record in found)
    assert [record.best for record in found] == [True] * 3


# Which net a record has


def test_a_record_has_the_epochs_net_in_evaluation_mode_and_the_best_one():
    best, found = None, []
    for record in robustfw.train(dataset=splits_of(), model=net(), **(FAST | {"epochs": 4, "learning_rate": 0.5})):
        assert not any(module.training for module in record.model.modules())
        now = weights(record.model)
        best = now if record.best else best
        found.append(now)
        kept = record.best_model()
        assert not any(module.training for module in kept.modules())
        assert same(weights(kept), best)
        assert same(weights(record.model), now), "to ask for the best net leaves the live one alone"
    assert not same(found[0], found[-1])


def test_the_best_net_is_the_one_that_load_gives(tmp_path):
    *_, last = trained(model=net(), epochs=4, learning_rate=0.5, out=tmp_path / "run")
    assert same(weights(robustfw.load(tmp_path / "run", model=net(1))), weights(last.best_model()))


@pytest.mark.parametrize(
    "averaging", [{}, {"ema": 0.9}, {"averaging": "ema:decay=0.9"}, {"averaging": "swa:start=0.5"}]
)
def test_a_net_that_is_given_is_trained_in_place(averaging):
    """At the end it has the weights that the last epoch was judged by."""
    model = net()
    *_, last = trained(model=model, **averaging)
    assert not model.training
    x = examples().x
    torch.testing.assert_close(model(x), last.model(x), rtol=0, atol=0)
    assert same({k: v for k, v in weights(model).items() if "num_batches" not in k}, weights(last.model))


def test_ema_is_short_for_an_averaging_and_is_not_given_twice():
    one, other = (trained(model=net(), **given)[-1].model for given in ({"ema": 0.9}, {"averaging": "ema:decay=0.9"}))
    assert same(weights(one), weights(other))
    with pytest.raises(UsageError, match="ema is short for an averaging: give one of the two"):
        trained(ema=0.9, averaging="swa")


def test_the_mean_of_weights_has_batch_norm_statistics_of_its_own():
    """Those of training examples as they are, by the mean weights; not those of the net on its way."""
    splits, model = splits_of(), net()
    *_, last = trained(splits, model=model, averaging="swa:start=0.5", epochs=4)
    fresh = copy.deepcopy(last.model)
    torch.optim.swa_utils.update_bn((x for x, _ in splits.train.iterate(16)), fresh)
    mean, expected = last.model[1].running_mean, fresh[1].running_mean
    torch.testing.assert_close(mean, expected)
    assert not torch.equal(mean, net()[1].running_mean)


# Splits


class Short(Split):
    """Says that it has all examples, and gives fewer batches, or shorter ones."""

    def __init__(self, whole, *, batches=None, rows=None):
        self.whole, self.count, self.rows = whole, batches, rows

    def __len__(self):
        return len(self.whole)

    def batches(self, indices, device="cpu"):
        for number, (x, y) in enumerate(self.whole.batches(indices, device)):
            if number == self.count:
                return
            yield x[: self.rows], y

    def fingerprint(self):
        return "short"

    def subset(self, indices):
        return self.whole.subset(indices)


@pytest.mark.parametrize(
    ("short", "words"),
    [
        ({"batches": 3}, "the training split gave 3 of the 5 batches that 80 examples make"),
        ({"rows": 7}, "the training split gave 7 examples and 16 targets for 16 indices"),
    ],
)
def test_a_split_that_gives_less_than_it_says_is_named(short, words):
    with pytest.raises(DataError, match=words):
        trained(splits_of(Short(examples().subset(torch.arange(80)), **short)))


class Stream(StreamedSplit):
    """Examples in an order of the seed and the epoch."""

    def __init__(self, n=80, says=None, places=False):
        self.whole, self.says, self.places = examples().subset(torch.arange(n)), says or n, places

    def __len__(self):
        return self.says

    def epoch(self, epoch, seed, batch_size, skip, share):
        order = torch.randperm(len(self.whole), generator=torch.Generator().manual_seed(1000 * seed + epoch))
        rank, processes = share
        rows = [rows[rank::processes] for rows in order.split(batch_size)[skip:]]
        for own, (x, y) in zip(rows, self.whole.batches(rows), strict=True):
            yield (x, y, {"place": own}) if self.places else (x, y)

    def fingerprint(self):
        return "stream"


def interrupted(path, monkeypatch, after=3, **options):
    """The bytes of the last checkpoint of a training in one go, and in two."""
    monkeypatch.setattr("robustfw.storage.runs.SAVE_EVERY", -1.0)
    list(robustfw.train(out=path / "whole", **options))
    started = robustfw.train(out=path / "parts", steps=True, **options)
    for _ in range(after):
        next(started)
    started.close()
    list(robustfw.train(out=path / "parts", resume=True, **options))
    return [(path / name / "checkpoints" / "last.safetensors").read_bytes() for name in ("whole", "parts")]


@pytest.mark.parametrize("after", [1, 5, 7])
def test_a_stream_trains_and_resumes_bit_for_bit(tmp_path, monkeypatch, after):
    options = {"dataset": splits_of(Stream()), "model": "mlp:hidden=[8]", **FAST}
    one, two = interrupted(tmp_path, monkeypatch, after, **options)
    assert one == two


def test_a_stream_that_ends_too_soon_is_named():
    with pytest.raises(DataError, match="gave 5 of the 8 batches that 128 examples make"):
        trained(splits_of(Stream(says=128)))


# What reaches plugins


@attrs.define
class Watching(Objective):
    """The loss at worst cases; notes what it is given."""

    seen: list = attrs.field(factory=list, init=False, eq=False)

    def __call__(self, model, x, y, batch):
        self.seen.append((batch.epoch, batch.progress, dict(batch.meta), x.clone(), y.clone()))
        return batch.loss(model(batch()))


@attrs.define
class Noting(Attack):
    """One step; notes what is known of the rows."""

    seen: list = attrs.field(factory=list, init=False, eq=False)

    def maximize(self, problem, generator):
        self.seen.append(dict(problem.meta))
        return problem.region.support(problem.linearize()[1])


def test_index_and_groups_reach_objective_and_attack():
    groups = torch.arange(96) % 5
    splits = splits_of(meta={"group": groups})
    objective, attack = Watching(), Noting()
    trained(splits, objective=objective, attack=attack, validation_attack="single-step", epochs=2)
    assert len(objective.seen) == 10
    for _, _, meta, x, y in objective.seen:
        assert torch.equal(x, splits.train.x[meta["index"]])
        assert torch.equal(y, splits.train.y[meta["index"]])
        assert torch.equal(meta["group"], groups[meta["index"]])
    attacked = [meta for meta in attack.seen if meta]
    assert len(attacked) == 10
    for given, asked in zip(attacked, objective.seen, strict=True):
        assert torch.equal(given["index"], asked[2]["index"])
        assert torch.equal(given["group"], asked[2]["group"])
    assert [epoch for epoch, *_ in objective.seen] == [1] * 5 + [2] * 5
    assert [progress for _, progress, *_ in objective.seen] == pytest.approx([k / 10 for k in range(1, 11)])


def test_the_metadata_of_a_stream_reaches_objective_and_attack():
    stream, objective, attack = Stream(places=True), Watching(), Noting()
    options = {"objective": objective, "attack": attack, "validation_attack": "single-step", "averaging": "swa:start=0"}
    trained(splits_of(stream), **options, epochs=1)
    assert len(objective.seen) == 5
    for _, _, meta, x, _ in objective.seen:
        assert torch.equal(x, stream.whole.x[meta["place"]])
    attacked = [meta["place"].tolist() for meta in attack.seen if meta]
    assert attacked == [meta["place"].tolist() for _, _, meta, *_ in objective.seen]


def test_augmented_examples_are_still_themselves():
    """The index is that of the example that was augmented."""
    splits = splits_of()
    objective = Watching()
    flipped = attrs.evolve(splits, augment=lambda x, generator, epoch: x.flip(1))
    trained(flipped, objective=objective, epochs=1)
    for _, _, meta, x, _ in objective.seen:
        assert torch.equal(x.flip(1), splits.train.x[meta["index"]])


@attrs.define
class Groups(Objective, Stateful):
    """Weights of two groups, each by how bad it has been: a minimax over groups."""

    weights: torch.Tensor = attrs.field(factory=lambda: torch.full((2,), 0.5), init=False, eq=False)
    batches: int = attrs.field(default=0, init=False, eq=False)

    @property
    def couples_rows(self):
        return True

    def __call__(self, model, x, y, batch):
        values, group = batch.loss(model(batch())), batch.meta["group"] % 2
        means = torch.stack([values.detach()[group == each].mean() for each in range(2)]).nan_to_num()
        self.weights = torch.softmax((self.weights.log() + 0.5 * means), 0)
        self.batches += 1
        return 2 * self.weights[group] * values

    def state_dict(self):
        return {"weights": self.weights, "batches": self.batches}

    def load_state_dict(self, state):
        self.weights, self.batches = state["weights"], state["batches"]


@pytest.mark.parametrize("after", [1, 6])
def test_what_a_plugin_remembers_is_in_the_checkpoint(tmp_path, monkeypatch, after):
    splits = splits_of(meta={"group": torch.arange(96)})
    made = []

    def options():
        made.append(Groups())
        return {"dataset": splits, "model": "mlp:hidden=[8]", "objective": made[-1], **FAST}

    monkeypatch.setattr("robustfw.storage.runs.SAVE_EVERY", -1.0)
    list(robustfw.train(out=tmp_path / "whole", **options()))
    started = robustfw.train(out=tmp_path / "parts", steps=True, **options())
    for _ in range(after):
        next(started)
    started.close()
    list(robustfw.train(out=tmp_path / "parts", resume=True, **options()))
    one, two = ((tmp_path / name / "checkpoints" / "last.safetensors").read_bytes() for name in ("whole", "parts"))
    assert one == two
    whole, _, resumed = made
    assert torch.equal(whole.weights, resumed.weights)
    assert whole.batches == resumed.batches == 10
    assert float((whole.weights - 0.5).abs().max()) > 1e-3, "or nothing was remembered"


# Samplers, updates


def order(spec, split, seed=0):
    return robustfw.make("sampler", spec).order(split, torch.Generator().manual_seed(seed), 0)


def test_samplers_by_hand():
    n = 1000
    split = TensorSplit(torch.zeros(n, 1), (torch.arange(n) < 100).long(), {"group": torch.arange(n) % 4})
    assert order("shuffled", split).sort().values.tolist() == list(range(n))
    assert order("shuffled", split).tolist() != list(range(n))
    assert order("sequential", split).tolist() == list(range(n))
    shares = split.y[order("balanced", split)].float().mean()
    assert float(shares) == pytest.approx(0.5, abs=0.08), "a tenth of the examples, half of the epoch"
    groups = split.metadata(order("balanced:by=group", split))["group"].bincount()
    assert groups.tolist() == pytest.approx([n / 4] * 4, rel=0.2)
    with pytest.raises(UsageError, match=r"the examples have no 'colour'; balanced:by=… names one of \['group'\]"):
        order("balanced:by=colour", split)


def test_a_sampler_decides_which_examples_are_seen():
    class First(Sampler):
        """The first example, over and over."""

        def order(self, split, generator, epoch):
            return torch.zeros(len(split), dtype=torch.int64)

    objective = Watching()
    trained(objective=objective, sampler=First(), epochs=1)
    assert all(bool((meta["index"] == 0).all()) for _, _, meta, _, _ in objective.seen)
    sequential = Watching()
    trained(objective=sequential, sampler="sequential", epochs=1)
    assert torch.cat([meta["index"] for _, _, meta, _, _ in sequential.seen]).tolist() == list(range(80))


@pytest.mark.parametrize("parts", [2, 3, 16])
def test_gradients_of_parts_are_those_of_the_whole(parts):
    """Without batch norm, up to the order of sums; an attack that draws nothing."""
    found = [
        trained(model="mlp:hidden=[8]", update=update, objective="[robust,input-gradient]")[-1]
        for update in ("once", f"accumulate:parts={parts}")
    ]
    for one, other in zip(*(record.model.parameters() for record in found), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    assert found[0].loss == pytest.approx(found[1].loss, rel=1e-5)


@attrs.frozen
class Lbfgs(Optimizer):
    """torch's LBFGS, which asks for the loss several times in a step."""

    def build(self, parameters, learning_rate):
        return torch.optim.LBFGS(list(parameters), learning_rate, max_iter=5, line_search_fn="strong_wolfe")


def test_an_optimizer_may_ask_for_the_loss_as_often_as_it_likes():
    """On one batch of all examples LBFGS gets farther in a step than gradient descent."""
    splits, objective = splits_of(), Watching()
    options = {"batch_size": 80, "epochs": 3, "schedule": "constant", "objective": objective, "learning_rate": 1.0}
    by_lbfgs = trained(splits, model="linear", optimizer=Lbfgs(), **options)
    assert len(objective.seen) > 2 * 3, "worst cases of each of its points"
    by_descent = trained(splits, model="linear", optimizer="sgd:momentum=0", **options)
    assert by_lbfgs[-1].loss < by_descent[-1].loss


# Nets with ways of their own


class InPlace(nn.Module):
    """Normalises its input in place, or not."""

    def __init__(self, *, writes):
        super().__init__()
        torch.manual_seed(0)
        self.writes, self.layers = writes, nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))

    def forward(self, x):
        return self.layers(x.sub_(0.5) if self.writes else x - 0.5)


@pytest.mark.parametrize("objective", ["robust", "mixed", "trades", "[robust,vat]"])
def test_a_net_that_changes_its_input_in_place_learns_what_its_twin_does(objective):
    splits = splits_of()
    before = splits.train.x.clone()
    found = [trained(splits, model=InPlace(writes=writes), objective=objective)[-1] for writes in (True, False)]
    assert torch.equal(splits.train.x, before)
    for one, other in zip(*(record.model.parameters() for record in found), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)
    assert found[0].robust_accuracy == found[1].robust_accuracy


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # torch's compiler looks at it
@pytest.mark.parametrize(
    "objective", ["contractive:beta=1,probes=10", "input-gradient", "operator-norm", "[robust,vat]", "trades"]
)
def test_a_compiled_training_has_the_penalties_of_an_uncompiled_one(objective):
    """Hooks of a compiled net are not called: a penalty takes the module within."""
    first = {}
    for how in ("off", "on"):
        step, *_ = trained(model="mlp:hidden=[8]", objective=objective, compile=how, epochs=1, steps=True)
        first[how] = float(step.loss)
    assert first["on"] == pytest.approx(first["off"], rel=1e-4)
