"""The net of a run as the beginning of another training: its weights, its last layer, its frozen layers."""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING, Self

import attrs
from torch import nn

from robustfw.errors import RunError, UsageError
from robustfw.interop import last_layer, replace_head
from robustfw.storage.runs import Run

if TYPE_CHECKING:
    from robustfw.data.spec import DataSpec
    from robustfw.training.fine_tuning import FineTuned

BODY = "body"
"""The word in ``freeze`` for all layers but the last one."""
_BatchNorm = nn.modules.batchnorm._BatchNorm


def build(tuned: FineTuned, spec: DataSpec) -> nn.Module:
    """The net that a training begins with.

    Args:
        tuned: which net it is, and what is frozen or replaced.
        spec: the data that it is trained on.

    Raises:
        RunError: the run's weights do not fit its net.
        UsageError: a name is that of no layer, or the last layer cannot be replaced.
    """
    # 1. the net of the run, as it was built for the data of that run
    classes = tuned.classes or spec.classes
    if tuned.classes is None:
        net = tuned.model.build(spec)
    else:
        earlier = attrs.evolve(
            spec, classes=classes, mean=tuned.mean, std=tuned.std, labels=None
        )
        net = tuned.model.build_untrained(earlier)
    if tuned.run is not None:
        weights = Run.open(tuned.run).weights(tuned.weights)
        try:
            net.load_state_dict(weights)
        except RuntimeError as error:
            raise RunError(
                f"the weights in {tuned.run} do not fit its net for these data: "
                f"{str(error).splitlines()[-1].strip()}"
            ) from error

    # 2. its last layer
    has_other_classes = spec.task.outputs(classes) != spec.outputs
    if has_other_classes and tuned.head == "keep":
        raise UsageError(
            f"head=keep gives {spec.task.outputs(classes)} outputs, where the data needs {spec.outputs}: take head=new"
        )
    if tuned.head == "new" or has_other_classes:
        net = replace_head(net, spec.outputs)

    # 3. what is not to change
    for name in tuned.freeze:
        _freeze(net, name)
    return net


def _freeze(net: nn.Module, pattern: str) -> None:
    """Take layers out of the training: their parameters, and the statistics of their batch norm.

    Raises:
        UsageError: no layer has such a name.
    """
    if pattern == BODY:
        _freeze_whole(net)
        _, last = last_layer(net)
        for parameter in last.parameters():
            parameter.requires_grad_(True)
        return
    found = [part for name, part in net.named_modules() if _matches(name, pattern)]
    if not found:
        known = [name for name, _ in net.named_modules() if name]
        raise UsageError(
            f"freeze names {pattern!r}, and the net has no such layer; it has {', '.join(known[:12])}"
            f"{' …' if len(known) > 12 else ''}"
        )
    for part in found:
        _freeze_whole(part)


def _freeze_whole(part: nn.Module) -> None:
    """Freeze all parameters of a part of a net, and let its batch norm keep its statistics."""
    for parameter in part.parameters():
        parameter.requires_grad_(False)
    for module in part.modules():
        if isinstance(module, _BatchNorm):
            # the object changes its class, since callers may hold it already
            object.__setattr__(module, "__class__", _frozen_class(type(module)))
            module.eval()


def _matches(name: str, pattern: str) -> bool:
    """Whether a layer has that name or pattern; the wrappers that the net stands in may be left out."""
    if not name:
        return False
    return any(fnmatch.fnmatchcase(tail, pattern) for tail in _tails(name))


def _tails(name: str) -> list[str]:
    """A name, and what is left of it without wrappers: net.2.conv1 gives 2.conv1 and conv1 as well."""
    tails = [name]
    first, dot, rest = name.partition(".")
    while dot and (first == "net" or first.isdigit()):
        tails.append(rest)
        first, dot, rest = rest.partition(".")
    return tails


class _Frozen(nn.Module):
    """A layer that stays in evaluation mode, so that its running statistics do not change."""

    def train(self, mode: bool = True) -> Self:
        """Keep evaluation mode, whatever is asked for."""
        return super().train(False)


def _frozen_class(cls: type[nn.Module]) -> type[nn.Module]:
    """A class of batch norm that stays in evaluation mode."""
    if issubclass(cls, _Frozen):
        return cls
    return type(f"Frozen{cls.__name__}", (_Frozen, cls), {})
