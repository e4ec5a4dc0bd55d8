"""How a net from elsewhere is fitted to data: its normalisation, an adapter around it, and a trial on two examples."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import torch
from torch import nn

from robustfw import DataSpec, RobustfwError, RobustfwWarning, UsageError
from robustfw.inner.modes import evaluation_mode
from robustfw.interop import Adapter, Normalization
from robustfw.task import Segmentation

ROWS = 2
"""Examples of the trial: more than one, so that a fixed batch of one is noticed."""


def require_images(spec: DataSpec, name: str) -> None:
    """Raise a `UsageError` unless the data is images with one answer each."""
    if len(spec.shape) != 3:
        raise UsageError(
            f"{name} needs images, (channels, height, width); the data has shape {spec.shape}"
        )
    if isinstance(spec.task, Segmentation):
        raise UsageError(
            f"{name} gives one answer for each image, and this data has a class for each pixel"
        )


def of_configuration(
    mean: Sequence[float], std: Sequence[float], spec: DataSpec, source: str
) -> Normalization:
    """The normalisation that a configuration states for pixels from 0 to 1, for the data's channels.

    Args:
        mean: a number for each of the configuration's channels.
        std: as many.
        spec: the data. Where it has another number of channels, all of them get the mean over the configuration's.
        source: whose configuration it is, in words.

    Raises:
        UsageError: the data has another range.
    """
    if spec.bounds not in (None, (0, 1)):
        raise UsageError(
            f"the normalisation of {source} is for pixels from 0 to 1, and the data's range is {spec.bounds}: give "
            "normalize=mean/std in the data's own unit"
        )
    normalization = Normalization(mean, std, source)
    channels = spec.shape[0]
    if len(normalization.mean) in (1, channels):
        return normalization.for_channels(channels)
    middle = sum(mean) / len(mean)
    spread = sum(std) / len(std)
    averaged = Normalization(middle, spread, f"{source}, averaged over channels")
    return averaged.for_channels(channels)


def adapt_net(
    net: nn.Module,
    spec: DataSpec,
    normalize: str,
    output: str | int,
    input: str | None,
    automatic: Callable[[], Normalization | None] | None = None,
) -> nn.Module:
    """The net behind an `Adapter`, once it has answered two examples; of masked data it is given x and the mask.

    Args:
        net: the net.
        spec: the data.
        normalize: the option: auto, none, a name, or mean/std.
        output: the option.
        input: the option.
        automatic: gives what ``auto`` means; by default no normalisation.

    Raises:
        UsageError: the net cannot take such examples, or has none of the outputs that were named.
    """
    if normalize != "auto":
        channels = spec.shape[0] if spec.shape else 1
        normalization = Normalization.read(normalize, channels)
    elif automatic is not None:
        normalization = automatic()
    else:
        normalization = None
    if isinstance(net, Adapter) and normalization is None:
        adapted = net
    else:
        # sequences have a mask as their last feature, which a net takes as its second argument
        adapted = Adapter(
            net,
            normalization=normalization,
            output=output,
            input=input,
            mask=spec.masked or None,
        )
    _try(adapted, spec)
    return adapted


def adapt_graph(
    net: nn.Module,
    spec: DataSpec,
    normalize: str,
    output: str | int,
    input: str | None,
) -> nn.Module:
    """A net of a file behind an `Adapter`; where no gradient flows through it, this is said.

    Args:
        net: the net.
        spec: the data.
        normalize: the option.
        output: the option.
        input: the option.

    Raises:
        UsageError: the net cannot take such examples, or has none of the outputs that were named.

    Warns:
        RobustfwWarning: no gradient flows.
    """
    adapted = adapt_net(net, spec, normalize, output, input)
    x = torch.full((ROWS, *spec.shape), 0.5, requires_grad=True)
    with torch.enable_grad():
        logits = adapted(x)
    if not logits.requires_grad:
        warnings.warn(
            "no gradient flows through this net: only attacks that need none, such as random, say anything about it",
            RobustfwWarning,
            stacklevel=2,
        )
    return adapted


def _try(net: nn.Module, spec: DataSpec) -> None:
    """Raise a `UsageError` where the net cannot take two examples of the data's shape."""
    x = torch.full((ROWS, *spec.shape), 0.5)
    try:
        with (
            evaluation_mode(net),
            torch.no_grad(),
            torch.random.fork_rng(devices=[]),
        ):
            net(x)
    except RobustfwError as error:
        raise UsageError(str(error)) from error
    except Exception as error:  # a stranger's net may raise anything
        reason = first_line(error)
        raise UsageError(
            f"the net cannot take {ROWS} examples of shape {spec.shape}: {reason}"
        ) from error


def first_line(error: BaseException) -> str:
    """The beginning of an error's message; its type where it has none."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0].strip()[:200] if lines else type(error).__name__


def missing_package(name: str, error: ImportError) -> UsageError:
    """The error for a library that is not installed, or that does not load."""
    return UsageError(
        f"{name} could not be imported ({first_line(error)}): pip install 'robustfw[interop]'"
    )
