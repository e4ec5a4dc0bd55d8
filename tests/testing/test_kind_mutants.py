"""Losses, tasks, updates, samplers, averages and data sets that are wrong in known ways: each dies by the law named."""

from __future__ import annotations

import itertools

import attrs
import pytest
import torch
from torch.nn import functional

import robustfw
from robustfw import (
    DataError,
    Dataset,
    DataSpec,
    Loss,
    Sampler,
    Split,
    Splits,
    StreamedSplit,
    Task,
    TensorSplit,
    Update,
)
from robustfw.averaging import Averaging, Ema
from robustfw.loss import CrossEntropy
from robustfw.stateful import Stateful
from robustfw.task import Classification, Regression
from robustfw.testing import findings
from robustfw.update import Once


def broken(plugin):
    return {finding.law for finding in findings(plugin) if finding.broken}


# Losses


class Function(Loss):
    """A loss by a function."""

    def __init__(self, function):
        self.function = function

    def __call__(self, outputs, y, /):
        return self.function(outputs, y)


def cross_entropy(outputs, y):
    if y.is_floating_point() or y.dim() != 1:
        raise DataError("labels only")
    return robustfw.losses.cross_entropy(outputs, y)


def refuse(outputs, y):
    raise DataError("nothing is good enough")


def through_probabilities(outputs, y):
    """−log of a softmax that has underflowed."""
    labelled = cross_entropy(outputs, y) != 0
    return -outputs.softmax(1).gather(1, y.clamp(min=0)[:, None])[:, 0].log() * labelled


def in_place(outputs, y):
    values = cross_entropy(outputs, y)
    with torch.no_grad():
        outputs -= outputs.amax(1, keepdim=True)
    return values


CALLS = itertools.count(1)
LOSSES = {
    "a mean": (lambda z, y: cross_entropy(z, y).mean(), {"form", "rows are independent"}),
    "a mean for every row": (lambda z, y: cross_entropy(z, y).mean().expand(len(z)), {"rows are independent"}),
    "refuses everything": (refuse, {"form"}),
    "an error of its own": (lambda z, y: functional.cross_entropy(z, y.squeeze(3), reduction="none"), {"form"}),
    "log of a softmax": (through_probabilities, {"gradient"}),
    "a constant": (lambda z, y: 0 * cross_entropy(z, y), {"gradient"}),
    "no label is the last": (lambda z, y: cross_entropy(z, y % z.shape[1]), {"unlabelled"}),
    "changes its outputs": (in_place, {"manners"}),
    "another value each time": (lambda z, y: cross_entropy(z, y) / next(CALLS), {"manners"}),
}


@pytest.mark.parametrize(("function", "killers"), LOSSES.values(), ids=LOSSES.keys())
def test_loss_mutants_die(function, killers):
    assert killers <= broken(Function(function))


def test_the_frame_of_losses_breaks_no_law():
    assert not broken(Function(cross_entropy))


# Tasks


class Kinds(Task):
    """Classification, or what else is given, with methods replaced."""

    def __init__(self, task=None, **wrong):
        self.task, self.labelled, self.graded = task or Classification(), True, False
        if task is not None:
            self.labelled, self.graded = task.labelled, task.graded
        for name, value in wrong.items():
            setattr(self, name, value)

    @property
    def loss(self):
        return self.task.loss if "raised" not in vars(self) else self.raised

    def outputs(self, classes):
        return self.task.outputs(classes)

    def targets(self, y):
        return self.task.targets(y)

    def read(self, outputs, n):
        return self.task.read(outputs, n)

    def check(self, y, classes):
        return self.task.check(y, classes)

    def wrong(self, outputs, y):
        return self.task.wrong(outputs, y)

    def measure(self, outputs, y):
        return self.task.measure(outputs, y)

    def metrics(self, measured):
        return self.task.metrics(measured)


TASKS = {
    "targets move each time": ({"targets": lambda y: y.long() + 1, "check": lambda y, k: None}, {"targets"}),
    "NaN is the first class": ({"wrong": lambda z, y: z.nan_to_num().argmax(1) != y}, {"wrong"}),
    "one verdict for all": (
        {"wrong": lambda z, y: (z.argmax(1) != y).any().expand(len(y)) | z.isnan().any(1)},
        {"wrong"},
    ),
    "the loss of the other way": ({"raised": lambda z, y: -CrossEntropy()(z, y)}, {"loss"}),
    "a mean loss": ({"raised": lambda z, y: CrossEntropy()(z, y).mean()}, {"loss"}),
    "graded without a measure": ({"graded": True}, {"measure"}),
    "takes any label": ({"check": lambda y, k: None}, {"refusals"}),
}


@pytest.mark.parametrize(("wrong", "killers"), TASKS.values(), ids=TASKS.keys())
def test_task_mutants_die(wrong, killers):
    assert killers <= broken(Kinds(**wrong))


@pytest.mark.parametrize(
    ("wrong", "killers"),
    [
        ({"measure": lambda o, y: (o - y).abs()[:, 0]}, {"measure"}),
        ({"metrics": lambda measured: {"error": float("nan")}}, {"measure"}),
        ({"check": lambda y, k: None}, {"refusals"}),
        ({"wrong": lambda o, y: (o - y).abs().amax(1) > 1}, {"wrong"}),
    ],
    ids=["measure without columns", "a figure that is none", "takes NaN as a target", "NaN is within tolerance"],
)
def test_mutants_of_a_regression_die(wrong, killers):
    assert killers <= broken(Kinds(Regression(), **wrong))


@pytest.mark.parametrize("task", [Classification(), Regression()])
def test_the_frame_of_tasks_breaks_no_law(task):
    assert not broken(Kinds(task))


# Updates


class Changed(Update):
    """An update by a function of its turn."""

    def __init__(self, function):
        self.function = function

    def __call__(self, turn):
        return self.function(turn)


def once(turn):
    return Once()(turn)


def uphill(turn):
    turn.clear()
    loss = turn.loss()
    turn.backward(-loss)
    turn.step()
    return loss.detach()


def without_step(turn):
    turn.clear()
    loss = turn.loss()
    turn.backward(loss)
    return loss.detach()


def moves_examples(turn):
    turn.batch.x.clamp_(0.2, 0.8)
    return once(turn)


@attrs.define
class Forgetful(Update):
    """Adds the gradient of the batch before, which no checkpoint has."""

    memory: list = attrs.field(factory=list, init=False)

    def __call__(self, turn):
        turn.clear()
        loss = turn.loss()
        turn.backward(loss)
        parameters = [p for group in turn.optimizer.param_groups for p in group["params"]]
        now = [p.grad.clone() for p in parameters]
        for parameter, before in zip(parameters, self.memory or now, strict=True):
            parameter.grad += before
        self.memory = now
        turn.step()
        return loss.detach()


@attrs.define
class Remembering(Forgetful, Stateful):
    """The same with its memory in the checkpoint."""

    def state_dict(self):
        return {f"before.{number}": each for number, each in enumerate(self.memory)}

    def load_state_dict(self, state):
        self.memory = [state[name] for name in sorted(state)]


UPDATES = {
    "uphill": (Changed(uphill), {"descends"}),
    "no step": (Changed(without_step), {"loss", "descends"}),
    "losses of all rows": (Changed(lambda turn: once(turn).expand(len(turn.batch))), {"loss"}),
    "a number": (Changed(lambda turn: float(once(turn))), {"loss"}),
    "examples changed": (Changed(moves_examples), {"examples untouched"}),
    "a memory that no checkpoint has": (Forgetful(), {"resumed"}),
}


@pytest.mark.parametrize(("update", "killers"), UPDATES.values(), ids=UPDATES.keys())
def test_update_mutants_die(update, killers):
    assert killers <= broken(update)


@pytest.mark.parametrize("update", [Changed(once), Remembering()])
def test_the_frames_of_updates_break_no_law(update):
    assert not broken(update)


# Samplers


class Ordered(Sampler):
    """A sampler by a function."""

    def __init__(self, function):
        self.function = function

    def order(self, split, generator, epoch):
        return self.function(len(split), generator)


SAMPLERS = {
    "one beyond the end": (lambda n, g: torch.arange(n) + 1, {"indices"}),
    "half of them": (lambda n, g: torch.arange(n // 2), {"indices"}),
    "int32": (lambda n, g: torch.arange(n, dtype=torch.int32), {"indices"}),
    "two axes": (lambda n, g: torch.arange(n)[None], {"indices"}),
    "torch's global generator": (lambda n, g: torch.randperm(n), {"generator decides"}),
}


@pytest.mark.parametrize(("function", "killers"), SAMPLERS.values(), ids=SAMPLERS.keys())
def test_sampler_mutants_die(function, killers):
    assert killers <= broken(Ordered(function))


def test_the_frame_of_samplers_breaks_no_law():
    assert not broken(Ordered(lambda n, generator: torch.randperm(n, generator=generator)))


# Averages


class Averaged(Averaging):
    """An exponential moving average with methods replaced."""

    def __init__(self, **wrong):
        self.right = Ema(0.5)
        for name, value in wrong.items():
            setattr(self, name, value)

    def build(self, model):
        return self.right.build(model)

    def update(self, average, model, progress):
        self.right.update(average, model, progress)

    def finish(self, average, batches):
        self.right.finish(average, batches)


@torch.no_grad()
def overshoots(average, model, progress):
    for mean, value in zip(average.module.parameters(), model.parameters(), strict=True):
        mean.add_(2 * (value - mean))


@torch.no_grad()
def moves_the_net(average, model, progress):
    Ema(0.5).update(average, model, progress)
    for mean, value in zip(average.module.parameters(), model.parameters(), strict=True):
        value.copy_(0.999 * mean)


@torch.no_grad()
def halves(average, batches):
    for mean in average.module.parameters():
        mean.mul_(0.5)


def shares_parameters(model):
    average = Ema(0.5).build(model)
    average.module = model
    return average


AVERAGES = {
    "overshoots": ({"update": overshoots}, {"mean"}),
    "changes the net": ({"update": moves_the_net}, {"net untouched"}),
    "halves its weights before an evaluation": ({"finish": halves}, {"net untouched"}),
    "is the net": ({"build": shares_parameters}, {"start"}),
}


@pytest.mark.parametrize(("wrong", "killers"), AVERAGES.values(), ids=AVERAGES.keys())
def test_averaging_mutants_die(wrong, killers):
    assert killers <= broken(Averaged(**wrong))


def test_the_frame_of_averages_breaks_no_law():
    assert not broken(Averaged())


# Data sets


class Rows(Split):
    """Examples by index, with methods replaced."""

    def __init__(self, whole, **wrong):
        self.whole, self.wrong = whole, wrong
        for name, value in wrong.items():
            setattr(self, name, value)

    def __len__(self):
        return len(self.whole)

    def batches(self, indices, device="cpu"):
        return self.whole.batches(indices, device)

    def fingerprint(self):
        return self.whole.fingerprint()

    def subset(self, indices):
        return Rows(self.whole.subset(indices))

    def metadata(self, indices):
        return self.whole.metadata(indices)


def examples(n=20):
    x = torch.rand(n, 3, generator=torch.Generator().manual_seed(0))
    return TensorSplit(x, torch.arange(n) % 2, {"group": torch.arange(n) % 5})


class Given(Dataset):
    """Data whose training split is given."""

    def __init__(self, train, spec=None):
        self.train, self.spec = train, spec or DataSpec((3,), 2)

    def load(self, root):
        return Splits(self.train, examples(4), examples(6), self.spec)


def first_batch_only(indices, device="cpu"):
    return itertools.islice(examples().batches(indices, device), 1)


def noisy(indices, device="cpu"):
    for x, y in examples().batches(indices, device):
        yield (x + 0.01 * torch.rand(x.shape)).clamp(0, 1), y


def sorted_rows(indices, device="cpu"):
    return examples().batches((rows.sort().values for rows in indices), device)


SPLITS = {
    "one batch, whatever is asked for": ({"batches": first_batch_only}, {"batches by index"}),
    "other examples each time": ({"batches": noisy}, {"batches by index"}),
    "ascending order": ({"batches": sorted_rows}, {"batches by index"}),
    "a subset is sorted": ({"subset": lambda i: Rows(examples().subset(i.sort().values))}, {"parts of a split"}),
    "a subset is all of it": ({"subset": lambda i: examples()}, {"parts of a split"}),
    "metadata of all": ({"metadata": lambda i: {"group": torch.arange(20) % 5}}, {"parts of a split"}),
    "metadata of a subset is lost": ({"subset": lambda i: Rows(examples().subset(i), metadata=lambda j: {})}, set()),
}


@pytest.mark.parametrize(("wrong", "killers"), SPLITS.values(), ids=SPLITS.keys())
def test_split_mutants_die(wrong, killers):
    assert killers | ({"parts of a split"} if not killers else set()) <= broken(Given(Rows(examples(), **wrong)))


def test_the_frame_of_splits_breaks_no_law():
    assert not broken(Given(Rows(examples()))) - {"splits apart"}


def test_targets_that_the_task_does_not_take_break_the_spec():
    numbers = Rows(TensorSplit(torch.rand(20, 3), torch.rand(20)))
    assert broken(Given(numbers)) == {"spec"}
    assert "spec" in broken(Given(Rows(TensorSplit(2 * torch.rand(20, 3), torch.arange(20) % 2))))


class Stream(StreamedSplit):
    """A stream in an order of the seed and the epoch, with parts replaced."""

    def __init__(self, *, length=21, skips=True, shares=True, seeded=True, groups=None):
        self.length, self.skips, self.shares, self.seeded = length, skips, shares, seeded
        self.groups = groups

    def __len__(self):
        return self.length

    def epoch(self, epoch, seed, batch_size, skip, share):
        whole, generator = examples(21), torch.Generator().manual_seed(1000 * seed + epoch)
        order = torch.randperm(21, generator=generator if self.seeded else None)
        rank, processes = share if self.shares else (0, 1)
        for rows in order.split(batch_size)[skip if self.skips else 0 :]:
            x, y = next(whole.batches([rows[rank::processes]]))
            yield (x, y) if self.groups is None else (x, y, {"group": self.groups(rows, rows[rank::processes])})

    def fingerprint(self):
        return "21"


STREAMS = {
    "fewer than it says": {"length": 40},
    "skips nothing": {"skips": False},
    "everything for every process": {"shares": False},
    "another order each time": {"seeded": False},
    "metadata of the whole batch": {"groups": lambda whole, own: whole % 3},
    "metadata of other examples": {"groups": lambda whole, own: torch.arange(len(own))},
}


@pytest.mark.parametrize("wrong", STREAMS.values(), ids=STREAMS.keys())
def test_stream_mutants_die(wrong):
    assert "stream" in broken(Given(Stream(**wrong)))


@pytest.mark.parametrize("groups", [None, lambda whole, own: own % 3])
def test_a_right_stream_breaks_no_law(groups):
    assert not broken(Given(Stream(groups=groups)))


# What a plugin declares


def test_a_model_of_an_unusual_shape_declares_it():
    class Sequences(robustfw.Model):
        shapes = ((5, 11),)

        def build(self, spec):
            if spec.shape[1:] != (11,):
                raise robustfw.UsageError("sequences of 11 steps only")
            layers = torch.nn.Conv1d(spec.shape[0], 4, 3), torch.nn.Flatten(), torch.nn.Linear(36, spec.outputs)
            return torch.nn.Sequential(*layers)

    class Undeclared(Sequences):
        shapes = None

    class OneLogitTooMany(Sequences):
        def build(self, spec):
            return super().build(attrs.evolve(spec, task=Classification()))

    assert not broken(Sequences())
    assert {finding.law for finding in findings(Undeclared()) if finding.broken} >= {"logits", "tasks"}
    assert "tasks" in broken(OneLogitTooMany())
