"""The laws of a model, on the first data spec that it accepts; and for every task, on the shape of that."""

from __future__ import annotations

import attrs
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from robustfw.data.spec import DataSpec
from robustfw.errors import DataError, UsageError
from robustfw.model import Model
from robustfw.task import Binary, Multilabel, Regression, Segmentation
from robustfw.testing.laws import Law, LawBroken, require

SPECS = (
    DataSpec((1, 28, 28), 10, mean=(0.13,), std=(0.31,)),
    DataSpec((3, 32, 32), 10, mean=(0.49, 0.48, 0.45), std=(0.25, 0.24, 0.26)),
    DataSpec((3, 64, 64), 10, mean=(0.49, 0.48, 0.45), std=(0.25, 0.24, 0.26)),
    DataSpec((1, 8, 8), 10),
    DataSpec((2,), 2),
    DataSpec((7,), 3, bounds=None),
)
"""Data that models are tried on, unless they declare shapes of their own."""
TASKS = (
    (Binary(), 2),
    (Multilabel(), 4),
    (Regression(), 1),
    (Regression(), 3),
    (Segmentation(), 5),
)
"""Tasks, each with a number of classes, labels or targets."""


def _specs(model: Model) -> tuple[DataSpec, ...]:
    """Data specs of the shapes that the model declares, or the kit's own."""
    if model.shapes is None:
        return SPECS
    return tuple(DataSpec(shape, 10) for shape in model.shapes)


def _build(model: Model, seed: int) -> tuple[nn.Module, DataSpec]:
    """The net for the first data spec that the model accepts, and that spec."""
    for spec in _specs(model):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            try:
                return model.build(spec), spec
            except UsageError:
                continue
    tried = ", ".join(str(spec.shape) for spec in _specs(model))
    raise LawBroken(
        f"it accepts no data spec that the kit tries ({tried}): declare its own as `shapes`"
    )


def _batch(spec: DataSpec, seed: int, rows: int = 4) -> Tensor:
    """Random examples of a data spec's shape."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(rows, *spec.shape, generator=generator)


def check_logits(model: Model, seed: int) -> None:
    """X ↦ logits of shape (batch, classes), finite, and not probabilities; in training and in evaluation mode."""
    net, spec = _build(model, seed)
    for mode in (True, False):
        logits = net.train(mode)(_batch(spec, seed))
        require(
            logits.shape == (4, spec.outputs), f"output has shape {tuple(logits.shape)}"
        )
        require(bool(logits.isfinite().all()), "output is not finite")
        positive = logits >= 0
        sums_to_one = (logits.sum(1) - 1).abs() < 1e-4
        are_probabilities = bool(positive.all()) and bool(sums_to_one.all())
        require(
            not are_probabilities, "outputs are probabilities: a model gives logits"
        )


def check_tasks(model: Model, seed: int) -> None:
    """A net for each task has outputs that the task reads, as many as it needs; or building it is a `UsageError`.

    Outputs for each pixel are not required: a training says so if a net has none.
    """
    _, accepted = _build(model, seed)
    for task, classes in TASKS:
        spec = attrs.evolve(accepted, classes=classes, task=task)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            try:
                net = model.build(spec)
            except UsageError:
                continue
        name = type(task).__name__.lower()
        with torch.no_grad():
            raw_outputs = net.eval()(_batch(spec, seed))
        try:
            outputs = task.read(raw_outputs, 4)
        except DataError as error:
            if isinstance(task, Segmentation):
                continue
            raise LawBroken(f"{name}: {error}") from error
        width = raw_outputs.shape[1] if raw_outputs.dim() > 1 else 1
        require(
            width == spec.outputs,
            f"{name}: {width} outputs where the spec says {spec.outputs}",
        )
        require(bool(outputs.isfinite().all()), f"{name}: outputs are not finite")


def check_rows(model: Model, seed: int) -> None:
    """In evaluation mode row i of the logits depends on row i of x only; a batch of one will do."""
    net, spec = _build(model, seed)
    x = _batch(spec, seed)
    with torch.no_grad():
        logits = net.eval()(x)
        limit = 1e-4 * (1 + logits.abs().max())
        for i in range(len(x)):
            row = slice(i, i + 1)
            apart = (net(x[row]) - logits[row]).abs().max()
            require(
                bool(apart <= limit), f"row {i} depends on the rest, by {apart:.3g}"
            )


def check_input_gradient(model: Model, seed: int) -> None:
    """The gradient in x is finite and not zero."""
    net, spec = _build(model, seed)
    x = _batch(spec, seed).requires_grad_()
    logits = net.eval()(x)
    (gradient,) = torch.autograd.grad(logits.square().sum(), x)
    require(bool(gradient.isfinite().all()), "the input gradient is not finite")
    has_gradient = (gradient.flatten(1) != 0).any(1)
    require(
        bool(has_gradient.all()), "the input gradient is zero: an attack would be blind"
    )


def check_weights(model: Model, seed: int) -> None:
    """The seed decides the weights, and a safetensors file brings them back."""
    first, spec = _build(model, seed)
    second, _ = _build(model, seed)
    other, _ = _build(model, seed + 1)
    state = {}
    for name, value in first.state_dict().items():
        state[name] = value.contiguous()
    second_state = second.state_dict()
    for name, value in state.items():
        require(
            torch.equal(value, second_state[name]),
            "the same seed of torch's global generator gives other weights",
        )
    file_content = save(state)
    other.load_state_dict(load(file_content))
    x = _batch(spec, seed)
    with torch.no_grad():
        first_logits = first.eval()(x)
        other_logits = other.eval()(x)
    require(
        bool(torch.equal(first_logits, other_logits)),
        "weights read back give other logits",
    )


LAWS = (
    Law("logits", check_logits),
    Law("tasks", check_tasks),
    Law("rows are independent", check_rows),
    Law("input gradient", check_input_gradient),
    Law("weights", check_weights),
)
