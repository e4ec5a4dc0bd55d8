"""Names of tensors in a file beside those of a net: which belong together, and why some do not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs
from torch import Tensor, nn

WRAPPERS = {"module", "_orig_mod"}
"""Parts of names that DataParallel, an averaged model and ``torch.compile`` add."""
PREFIXES = ("model", "net", "network")
"""First parts of names that classes around a net add."""
NORMALIZATION = {"mean", "std"}
"""Buffers of an adapter around a net."""
COUNTERS = ("n_averaged", "num_batches_tracked")
"""Last parts of names of counters, which change no output."""
FIRST = 3
"""Names that a message lists."""


@attrs.frozen
class Fit:
    """How the tensors of a file fit a net."""

    names: dict[str, str]
    """Names in the file to names in the net, of tensors with equal shapes."""
    missing: tuple[str, ...]
    """Names of the net that the file has not."""
    unexpected: tuple[str, ...]
    """Names of the file that the net has not."""
    other_shape: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]
    """Names of the net whose tensor in the file has another shape: in the file, in the net."""
    prefix: str = ""
    """What was dropped from the file's names."""
    unused: tuple[str, ...] = ()
    """Names of the file without the prefix, which is not of the net."""

    @property
    def is_complete(self) -> bool:
        """Whether all tensors of both belong together."""
        return not self.missing and not self.unexpected and not self.other_shape


def fit_names(tensors: Mapping[str, Tensor], net: nn.Module) -> Fit:
    """The best fit of a file's tensors to a net, over the prefixes that may be dropped."""
    own = {}
    for name, value in net.state_dict().items():
        if isinstance(value, Tensor):
            own[name] = value
    as_they_are = _fit(tensors, own, "")
    if as_they_are.is_complete:
        return as_they_are
    fits = [as_they_are]
    for prefix in PREFIXES:
        if any(_canonical(name).startswith(f"{prefix}.") for name in tensors):
            fits.append(_fit(tensors, own, f"{prefix}."))
    return max(fits, key=lambda fit: (fit.is_complete, len(fit.names)))


def _canonical(name: str) -> str:
    """A name without the parts that wrappers add, wherever they are."""
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def _fit(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor], prefix: str) -> Fit:
    """How tensors fit once a prefix is dropped from their names."""
    own_names = _by_canonical_name(own)
    names: dict[str, str] = {}
    unexpected: list[str] = []
    unused: list[str] = []
    other_shape = {}
    matched = set()
    for name, value in tensors.items():
        canonical = name if name in own and not prefix else _canonical(name)
        if not canonical.startswith(prefix):
            # a normalisation that is dropped would change every output
            outside = unexpected if canonical in NORMALIZATION else unused
            outside.append(name)
            continue
        own_name = own_names.get(_respell(canonical.removeprefix(prefix), own_names))
        if own_name is None:
            if not canonical.endswith(COUNTERS):
                unexpected.append(name)
            continue
        matched.add(own_name)
        target = own[own_name]
        if _shape(value) == _shape(target):
            names[name] = own_name
        else:
            other_shape[own_name] = (_shape(value), _shape(target))
    missing = [
        name for name in own if name not in matched and not name.endswith(COUNTERS)
    ]
    return Fit(
        names=names,
        missing=tuple(missing),
        unexpected=tuple(unexpected),
        other_shape=other_shape,
        prefix=_dropped(names, prefix),
        unused=tuple(unused),
    )


def _by_canonical_name(own: Iterable[str]) -> dict[str, str]:
    """The net's names by themselves, and by themselves without wrappers' parts."""
    names: dict[str, str] = {}
    for name in own:
        names.setdefault(_canonical(name), name)
        names[name] = name
    return names


def _respell(name: str, own_names: Mapping[str, str]) -> str:
    """A name of a weight norm as the net spells it: by attributes ``weight_g``, or by a parametrization."""
    if name in own_names:
        return name
    for old, new in (("_g", "original0"), ("_v", "original1")):
        module, _, last = name.rpartition(".")
        if last.endswith(old):
            parametrized = f"parametrizations.{last.removesuffix(old)}.{new}"
            candidate = f"{module}.{parametrized}" if module else parametrized
            if candidate in own_names:
                return candidate
        if last == new:
            owner, _, weight = module.rpartition(".")
            candidate = f"{owner.removesuffix('parametrizations')}{weight}{old}"
            if candidate in own_names:
                return candidate
    return name


def _shape(tensor: Tensor) -> tuple[int, ...]:
    """The shape; (−1,) for a parameter that has none before the first batch."""
    if nn.parameter.is_lazy(tensor):
        return (-1,)
    return tuple(tensor.shape)


def _dropped(names: Mapping[str, str], prefix: str) -> str:
    """What the file's names have in front of the net's, for a message; empty where nothing was dropped."""
    for name, own in names.items():
        if name != own and name.endswith(f".{own}"):
            return name.removesuffix(own)
    return prefix


def explain_mismatch(fit: Fit) -> str:
    """Why weights are not of a net, in one sentence."""
    head = _other_head(fit)
    if head is not None:
        layer, in_file, in_net = head
        return (
            f"the weights are of {in_file} classes, the data has {in_net} (the layer {layer}): take data of "
            "as many classes, or weights that were trained on this data"
        )
    total = len(fit.names) + len(fit.missing) + len(fit.other_shape)
    parts = [f"{len(fit.names)} of the net's {total} tensors fit"]
    if fit.missing:
        parts.append(f"the file lacks {_list(fit.missing)}")
    if fit.unexpected:
        parts.append(f"the net lacks {_list(fit.unexpected)}")
    if set(fit.unexpected) & NORMALIZATION:
        parts.append("which is a normalisation that the net must have too")
    if fit.other_shape:
        shapes = [
            f"{name} ({in_file}, not {in_net})"
            for name, (in_file, in_net) in fit.other_shape.items()
        ]
        parts.append(f"of another shape are {_list(shapes)}")
    return f"{', '.join(parts)}: take the model that the weights were trained with"


def _other_head(fit: Fit) -> tuple[str, int, int] | None:
    """The layer, the rows in the file and in the net, where nothing else keeps the weights from fitting."""
    if fit.missing or fit.unexpected or not fit.other_shape:
        return None
    layers = {name.rpartition(".")[0] for name in fit.other_shape}
    rows = {(in_file[:1], in_net[:1]) for in_file, in_net in fit.other_shape.values()}
    rest_differs = any(
        in_file[1:] != in_net[1:] for in_file, in_net in fit.other_shape.values()
    )
    if len(layers) != 1 or len(rows) != 1 or rest_differs:
        return None
    ((in_file, in_net),) = rows
    if not in_file or not in_net:
        return None
    return layers.pop() or "the last layer", in_file[0], in_net[0]


def _list(names: Iterable[str]) -> str:
    """The first few names, and how many there are besides."""
    listed = list(names)
    more = len(listed) - FIRST
    text = ", ".join(listed[:FIRST])
    return f"{text} and {more} more" if more > 0 else text
