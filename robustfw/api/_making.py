"""Plugins, losses and data from their specs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from robustfw import losses
from robustfw.dataset import Dataset, data_root
from robustfw.plugin import registry

if TYPE_CHECKING:
    from robustfw.plugin.options import Spec


def make(kind: str, spec: Any) -> Any:
    """The plugin object for a kind (uncertainty, attack, objective, model, dataset) and a spec.

    Specs are texts, as in ``make("uncertainty", "l1:radius=8")``, or mappings, ``{"use": "l1", "radius": 8}``.

    Raises:
        UsageError: no such kind, name or option, or a value that does not fit; the message lists what there is.
    """
    return registry.installed().make(kind, spec)


def make_loss(loss: losses.LossFunction | Spec | None) -> losses.LossFunction | None:
    """The loss for a spec; a function, or None, as it is."""
    if isinstance(loss, str | Mapping):
        loss_function: losses.LossFunction = make("loss", loss)
        return loss_function
    return loss


def load_data(data: Any) -> Any:
    """The splits of a data set or of its spec, ``"npz:examples.npz"``; any other data as it is.

    Args:
        data: a spec, a data set, or examples in a form that `robustfw.as_split` takes.
    """
    is_spec = isinstance(data, str) or (isinstance(data, Mapping) and "use" in data)
    if isinstance(data, Dataset) or is_spec:
        return registry.installed().make("dataset", data).load(data_root(None))
    return data
