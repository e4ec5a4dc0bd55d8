"""Weights from a file: which of its entries they are, and how they are put into a net."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from robustfw.errors import DataError, RobustfwWarning, UsageError
from robustfw.interop._adapter import Adapter, unwrap
from robustfw.interop._files import is_state_dict, read_file
from robustfw.interop._fitting import Fit, explain_mismatch, fit_names

PLAIN = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "network",
    "weights",
    "params",
    "module",
)
"""Names under which checkpoints usually hold the weights of the net, best known first."""
AVERAGED = {"ema", "swa", "averaged", "average"}
"""Words in the names of entries that hold averaged weights."""
DEEPEST = 3
"""Levels of a checkpoint that are searched for weights."""
SEPARATOR = "::"
"""What stands between a file and the name of an entry in it."""


def split_entry(text: str) -> tuple[Path, str | None]:
    """The file and the entry of ``FILE::ENTRY``; None for the entry of a plain ``FILE``.

    Raises:
        UsageError: the file or the entry is empty.
    """
    file, separator, entry = text.rpartition(SEPARATOR)
    if not separator or Path(text).exists():
        return Path(text).expanduser(), None
    if not file or not entry:
        raise UsageError(
            f"cannot read {text!r}: write FILE{SEPARATOR}ENTRY, such as model.pt{SEPARATOR}ema"
        )
    return Path(file).expanduser(), entry


@attrs.frozen(eq=False)
class Weights:
    """The tensors of a weights file, by the names that the file gives them."""

    tensors: Mapping[str, Tensor] = attrs.field(
        repr=lambda tensors: f"{len(tensors)} tensors"
    )
    path: Path
    sha256: str
    """The hash of the file."""
    entry: str = ""
    """The entry of the file that holds them; empty where the file is nothing but these."""
    other_entries: tuple[str, ...] = ()
    """Entries of the file that might have been taken in its place."""

    def load_into(self, net: nn.Module) -> str:
        """Put the weights into a net: the whole of it, or else the net behind its adapter or its standardisation.

        Prefixes that wrappers leave in names are dropped where that makes names fit. Nothing is loaded unless every
        tensor of the net, or of that part, has its own in the file.

        Returns:
            A sentence that says what was loaded.

        Raises:
            DataError: the weights are not of this net; the message says how many fit, and which do not.
        """
        fits = []
        for target in _targets(net):
            fit = fit_names(self.tensors, target)
            if fit.is_complete:
                target.load_state_dict(_renamed(self.tensors, fit), strict=False)
                return self._describe(fit, target)
            fits.append(fit)
        nearest = max(fits, key=lambda fit: len(fit.names))
        raise DataError(f"{self.name}: {explain_mismatch(nearest)}{self._advice()}")

    @property
    def name(self) -> str:
        """The file, with the entry where there is one, as the command line takes it."""
        return f"{self.path}{SEPARATOR}{self.entry}" if self.entry else str(self.path)

    def _describe(self, fit: Fit, target: nn.Module) -> str:
        """What was loaded, in one sentence."""
        parts = [f"{len(fit.names)} tensors of {self.path}"]
        if self.entry:
            parts.append(f"entry {self.entry}")
        if fit.prefix:
            parts.append(f"without the prefix {fit.prefix}")
        if fit.unused:
            parts.append(f"{', '.join(fit.unused[:3])} left out")
        state = target.state_dict()
        types_in_file = _floating_types(self.tensors, fit.names.keys())
        types_in_net = _floating_types(state, fit.names.values())
        if types_in_file != types_in_net:
            parts.append(f"{types_in_file} as {types_in_net}")
        return ", ".join(parts) + self._advice()

    def _advice(self) -> str:
        """How to take another entry of the file, for the end of a sentence; empty where there is none."""
        if not self.other_entries:
            return ""
        others = " or ".join(
            f"{self.path}{SEPARATOR}{entry}" for entry in self.other_entries
        )
        return f"; the file has other weights too: write {others} to take them"


def read_weights(path: str | Path, entry: str | None = None) -> Weights:
    """Read a weights file: safetensors, or what torch saves (``.pt``, ``.pth``, ``.bin``); no code of it is run.

    Args:
        path: the file.
        entry: the name of the entry to take, as dots join nested ones, or the first part of the names of the tensors
            to take; by default the weights of the net itself, and not their average.

    Raises:
        DataError: the file is missing, damaged or holds no weights; it holds objects that only code could read; there
            is no such entry, or several and none is the usual one.

    Warns:
        RobustfwWarning: there are values that are no numbers.
    """
    path = Path(path)
    content, digest = read_file(path)
    candidates = _find_entries(content)
    if entry is None:
        entry = _choose(path, candidates, content)
        tensors = candidates[entry]
    else:
        tensors = _take(path, candidates, entry)
    others = tuple(name for name in candidates if name not in (entry, ""))
    weights = Weights(_detach(tensors), path, digest, entry, others)
    _warn_of_nan(weights)
    return weights


def _find_entries(
    content: Any, name: str = "", depth: int = 0
) -> dict[str, dict[str, Tensor]]:
    """All mappings of names to tensors in a checkpoint, by the dotted names of their entries; optimizers' are none."""
    if not isinstance(content, Mapping):
        return {}
    # the state of an optimizer, or of its parts
    if "param_groups" in content:
        return {}
    if is_state_dict(content):
        tensors = {
            key: value for key, value in content.items() if isinstance(value, Tensor)
        }
        return {name: tensors}
    entries: dict[str, dict[str, Tensor]] = {}
    if depth < DEEPEST:
        for key, part in content.items():
            if isinstance(key, str):
                entries |= _find_entries(
                    part, f"{name}.{key}" if name else key, depth + 1
                )
    if not entries and depth == 0:
        # weights side by side with numbers or texts
        tensors = {
            key: value
            for key, value in content.items()
            if isinstance(key, str) and isinstance(value, Tensor)
        }
        if tensors:
            entries[name] = tensors
    return entries


def _is_averaged(entry: str) -> bool:
    """Whether an entry's name says that its weights are averaged."""
    words = set(re.split(r"[._\-]", entry.lower()))
    return bool(words & AVERAGED)


def _choose(path: Path, candidates: Mapping[str, Any], content: Any) -> str:
    """The entry with the weights of the net itself."""
    if not candidates:
        if isinstance(content, Tensor):
            raise DataError(
                f"{path} holds one tensor, not the weights of a net: save net.state_dict()"
            )
        keys = (
            ", ".join(map(str, content))
            if isinstance(content, Mapping)
            else type(content).__name__
        )
        raise DataError(
            f"{path} holds no weights of a net, only {keys[:200]}: save net.state_dict()"
        )
    plain = [name for name in candidates if not _is_averaged(name)] or list(candidates)
    for usual in PLAIN:
        for name in plain:
            if name.split(".")[0] == usual:
                return name
    if len(plain) == 1:
        return plain[0]
    listed = " or ".join(f"{path}{SEPARATOR}{name}" for name in plain)
    raise DataError(f"{path} holds the weights of several nets: write {listed}")


def _take(
    path: Path, candidates: Mapping[str, dict[str, Tensor]], entry: str
) -> dict[str, Tensor]:
    """The tensors of a named entry, or those whose names begin with its name."""
    if entry in candidates:
        return candidates[entry]
    prefix = f"{entry}."
    for tensors in candidates.values():
        under = {
            name.removeprefix(prefix): value
            for name, value in tensors.items()
            if name.startswith(prefix)
        }
        if under:
            return under
    names = [name for name in candidates if name]
    if not names:
        names = sorted(
            {key.split(".")[0] for tensors in candidates.values() for key in tensors}
        )[:10]
    raise DataError(
        f"{path} has no weights {entry!r}: it has {', '.join(names) or 'none'}"
    )


def _detach(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors without graphs; parameters become plain tensors."""
    return {name: tensor.detach() for name, tensor in tensors.items()}


def _warn_of_nan(weights: Weights) -> None:
    """Warn where values are no numbers: outputs will be none, either."""
    bad = []
    for name, tensor in weights.tensors.items():
        if (
            tensor.layout == torch.strided
            and tensor.is_floating_point()
            and bool(tensor.isnan().any())
        ):
            bad.append(name)
    if bad:
        warnings.warn(
            f"{weights.name} holds NaN in {len(bad)} of {len(weights.tensors)} tensors, {bad[0]} first: if its "
            "training diverged, take an earlier checkpoint",
            RobustfwWarning,
            stacklevel=3,
        )


def _targets(net: nn.Module) -> list[nn.Module]:
    """The net, then what is within it without adapter and standardisation, which foreign weights are of."""
    targets = [net]
    inner = unwrap(net)
    while True:
        if isinstance(inner, Adapter):
            inner = unwrap(inner.net)
        elif isinstance(inner, nn.Sequential) and _only_last_learns(inner):
            inner = unwrap(inner[-1])
        else:
            return targets
        targets.append(inner)


def _only_last_learns(net: nn.Sequential) -> bool:
    """Whether layers without parameters, such as a standardisation, stand before one other."""
    before = list(net.children())[:-1]
    return bool(before) and not any(list(layer.parameters()) for layer in before)


def _floating_types(tensors: Mapping[str, Any], names: Iterable[str]) -> str:
    """The floating-point types of some of the tensors, in words."""
    types = set()
    for name in names:
        if tensors[name].is_floating_point():
            types.add(str(tensors[name].dtype).removeprefix("torch."))
    return " and ".join(sorted(types))


def _renamed(tensors: Mapping[str, Tensor], fit: Fit) -> dict[str, Tensor]:
    """The tensors by the net's own names."""
    return {own: tensors[name] for name, own in fit.names.items()}
