"""The memory of worst perturbations: what it keeps, what it goes on from, and what it forgets."""

from __future__ import annotations

import copy
import json

import attrs
import pytest
import safetensors.torch
import torch

import robustfw
from robustfw import Attack, UsageError, losses
from robustfw.inner.problem import InnerProblem
from robustfw_attacks.memory import Memory


@attrs.frozen
class Told(Attack):
    """Gives what it is told, and notes where it was asked to begin."""

    answers: list
    starts: list

    def maximize(self, problem, generator):
        self.starts.append(problem.start)
        return torch.full_like(problem.region.zero(), self.answers.pop(0))


def problem(x, function=lambda moved: moved.sum(1), spec="linf:radius=0.5"):
    return InnerProblem.from_function(function, x, robustfw.make("uncertainty", spec).at(x))


def run(attack, problem, seed=0):
    return attack.maximize(problem, torch.Generator().manual_seed(seed))


X = torch.arange(6, dtype=torch.float64).reshape(3, 2)


def test_it_begins_at_the_worst_of_what_is_kept_and_never_falls_behind_it():
    told = Told([0.3, 0.1, 0.2], [])
    memory = Memory(told, keep=2)
    assert (run(memory, problem(X)) == 0.3).all()
    assert (run(memory, problem(X)) == 0.3).all()
    assert (run(memory, problem(X)) == 0.3).all()
    assert told.starts[0] is None
    assert (told.starts[1] == 0.3).all()
    assert (told.starts[2] == 0.3).all()


def test_the_worst_is_that_of_the_net_as_it_is_now():
    """Two perturbations are kept; when the function turns round, the other one is the start."""
    told = Told([0.3, -0.2, 0.0, 0.0], [])
    memory = Memory(told, keep=2)
    for _ in range(2):
        run(memory, problem(X))
    assert (run(memory, problem(X, lambda moved: -moved.sum(1))) == -0.2).all()
    assert (told.starts[2] == -0.2).all()
    one = Memory(Told([0.3, -0.2, 0.0], []), keep=1)
    for _ in range(2):
        run(one, problem(X))
    assert (run(one, problem(X, lambda moved: -moved.sum(1))) == 0.0).all()


def test_examples_are_known_by_their_bytes_in_any_order_and_company():
    told = Told([0.3, 0.1, 0.1], [])
    memory = Memory(told)
    run(memory, problem(X))
    other = torch.cat([X[2:], X[:1] + 1e-12])
    delta = run(memory, problem(other))
    assert (delta[0] == 0.3).all()
    assert (delta[1] == 0.1).all()
    assert [None if start is None else len(start) for start in told.starts] == [None, 1, None]


def test_what_is_kept_is_brought_into_the_set_of_today():
    memory = Memory(Told([0.3, 0.0], []))
    run(memory, problem(X))
    small = problem(X, spec="linf:radius=0.1")
    assert (run(memory, small) == 0.1).all()


def test_memory_is_bounded_and_the_rest_is_attacked_without():
    told = Told([0.3, 0.1, 0.1], [])
    memory = Memory(told, examples=2)
    run(memory, problem(X))
    assert run(memory, problem(X))[:, 0].tolist() == [0.3, 0.3, 0.1]


def test_an_example_that_stands_twice_in_a_batch_and_an_empty_batch():
    memory = Memory(Told([0.3, 0.1], []))
    twice = problem(X[[0, 0]])
    assert run(memory, twice).shape == (2, 2)
    assert (run(memory, twice) == 0.3).all()
    assert run(memory, problem(X[:0])).shape == (0, 2)


def test_data_of_another_form_have_a_memory_of_their_own():
    memory = Memory()
    for x in (X, X.float(), torch.rand(3, 1, 4, 4)):
        assert run(memory, problem(x, lambda moved: moved.flatten(1).sum(1))).shape == x.shape


def test_solved_rows_are_left_alone_once_a_kept_perturbation_solves_them():
    told = Told([0.3], [])
    memory = Memory(told)
    p = attrs.evolve(problem(X), criterion=lambda values, y: values > y.sum(1) + 0.5)
    assert (run(memory, p) == 0.3).all()
    assert (run(memory, p) == 0.3).all()  # a second answer would be asked of an empty list


def test_two_memories_share_nothing_and_a_spec_says_nothing_of_what_is_kept():
    first, second = (robustfw.make("attack", "memory") for _ in range(2))
    run(first, problem(X))
    assert first == second
    assert not second._past


def test_it_gains_on_the_same_attack_over_several_visits(net, batch):
    x, y = batch
    net.eval().requires_grad_(False)
    region = robustfw.make("uncertainty", "linf:radius=0.1").at(x).clip(0 - x, 1 - x)
    p = InnerProblem(net, losses.cross_entropy, x, y, region)
    short = robustfw.make("attack", "pgd:steps=2,step=0.25")
    memory = Memory(short)
    alone = [p.value(run(short, p, seed)).mean() for seed in range(5)]
    kept = [p.value(run(memory, p, seed)).mean() for seed in range(5)]
    assert kept == sorted(kept)
    assert kept[-1] > max(alone)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_any_type(dtype):
    memory, p = Memory(), problem(X.to(dtype), lambda moved: moved.float().sum(1))
    for _ in range(2):
        assert run(memory, p).dtype == dtype


def stored(state, folder):
    """A state's way through a checkpoint: tensors to safetensors, the rest to JSON, and back."""
    tensors = {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}
    plain = {name: value for name, value in state.items() if name not in tensors}
    safetensors.torch.save_file(tensors, folder / "memory.safetensors")
    return json.loads(json.dumps(plain)) | safetensors.torch.load_file(folder / "memory.safetensors")


def test_a_memory_goes_on_in_another_process_from_its_state(tmp_path):
    first, images = Memory(keep=2), torch.rand(3, 1, 2, 2)
    for x in (X, images):
        run(first, problem(x, lambda moved: moved.flatten(1).sum(1)))
    second = Memory(Told([0.1, 0.2], starts := []), keep=2)
    second.load_state_dict(stored(first.state_dict(), tmp_path))
    for x in (X, images):
        p = problem(x, lambda moved: moved.flatten(1).sum(1))
        before = run(copy.deepcopy(first), p)
        run(second, p)
        torch.testing.assert_close(starts[-1], before)
    assert str(first.state_dict()["forms"]) == str(second.state_dict()["forms"])


def test_a_state_is_what_was_seen_and_no_more():
    memory = Memory(Told([0.3], []), keep=2)
    run(memory, problem(X))
    state = memory.state_dict()
    assert (state["keys.0"].shape, state["keys.0"].dtype) == ((3, 16), torch.uint8)
    assert (state["table.0"][:, 0] == 0.3).all()
    assert state["table.0"][:, 1].isnan().all()
    assert Memory().state_dict() == {"forms": []}


def test_loading_a_state_forgets_what_was_there_and_a_copy_has_a_memory_of_its_own():
    memory = Memory(Told([0.3, 0.1, 0.2], starts := []))
    empty = memory.state_dict()
    run(memory, problem(X))
    twin = copy.deepcopy(memory)
    memory.load_state_dict(empty)
    assert not memory._past
    assert len(twin.state_dict()["keys.0"]) == 3
    run(memory, problem(X))
    assert starts[-1] is None


@pytest.mark.parametrize("other", [{"keep": 2}, {"examples": 2}])
def test_a_state_of_other_options_is_refused(other):
    memory = Memory()
    run(memory, problem(X))
    with pytest.raises(UsageError, match="resume with the options of the run"):
        Memory(**other).load_state_dict(memory.state_dict())


@pytest.mark.parametrize("wrong", [{"dtype": "nn"}, {"delta_dtype": "float17"}, {"delta_shape": [7]}])
def test_a_file_that_is_no_state_is_refused(wrong):
    memory = Memory()
    run(memory, problem(X))
    state = memory.state_dict()
    state["forms"][0] |= wrong
    with pytest.raises(UsageError, match="this is no state of a memory"):
        memory.load_state_dict(state)
