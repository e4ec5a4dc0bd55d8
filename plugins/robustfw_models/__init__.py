"""Nets from elsewhere as models: a function of one's own, other libraries' architectures, exported graphs."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from robustfw import hookimpl

if TYPE_CHECKING:
    from robustfw.hookspecs import Add


@hookimpl
def robustfw_register(add: Add) -> None:
    model = functools.partial(add, kind="model")
    model("python", "robustfw_models.models:Python")
    model("timm", "robustfw_models.models:Timm")
    model("transformers", "robustfw_models.models:Transformers")
    model("hf-hub", "robustfw_models.models:HfHub")
    model("robustbench", "robustfw_models.models:RobustBench")
    model("torchscript", "robustfw_models.graphs:TorchScript")
    model("exported", "robustfw_models.graphs:Exported")
    model("onnx", "robustfw_models.graphs:Onnx")
