"""Architectures of RobustBench's zoo, where its package is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from robustfw import DataSpec, UsageError
from robustfw_models.fitting import adapt_net, first_line, require_images

if TYPE_CHECKING:
    from robustfw_models.models import RobustBench


def build(model: RobustBench, spec: DataSpec) -> nn.Module:
    """The zoo's net with fresh weights.

    Args:
        model: the options.
        spec: images of the zoo's data set.

    Raises:
        UsageError: robustbench is not installed, or its zoo has no such net.
    """
    try:
        from robustbench.model_zoo import model_dicts
        from robustbench.model_zoo.enums import BenchmarkDataset, ThreatModel
    except ImportError as error:
        raise UsageError(
            f"robustbench could not be imported ({first_line(error)}): install it as its own page says"
        ) from error
    require_images(spec, f"robustbench:{model.name}")
    nets = model_dicts[BenchmarkDataset(model.data)].get(ThreatModel(model.threat), {})
    if model.name not in nets:
        raise UsageError(
            f"the zoo has no net {model.name!r} for data={model.data},threat={model.threat}: it has "
            f"{', '.join(sorted(nets)) or 'none'}"
        )
    net: nn.Module = nets[model.name]["model"]()
    return adapt_net(net, spec, model.normalize, model.output, None)
