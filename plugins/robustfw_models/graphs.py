"""The options of nets that are files with graph and weights: TorchScript, torch.export, ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, final

import attrs

from robustfw import Model
from robustfw_models.options import Input, Output, absolute, normalize_option

if TYPE_CHECKING:
    from torch import nn

    from robustfw import DataSpec


@final
@attrs.frozen
class TorchScript(Model):
    """A net that ``torch.jit.save`` wrote: ``torchscript:file.pt``."""

    file: Annotated[Path, "what torch.jit.save wrote"] = attrs.field(
        default=Path("model.pt"), converter=absolute, metadata={"positional": True}
    )
    normalize: Annotated[
        str, "imagenet, cifar10, …, mean/std; auto, none: as the file has it"
    ] = normalize_option()
    output: Output = "auto"
    input: Input = None

    @property
    def files(self) -> tuple[Path, ...]:
        """The file."""
        return (self.file,)

    def build(self, spec: DataSpec) -> nn.Module:
        """The net with the file's weights."""
        from robustfw_models import fitting, graph_files

        net = graph_files.load_torchscript(self.file)
        return fitting.adapt_graph(net, spec, self.normalize, self.output, self.input)


@final
@attrs.frozen
class Exported(Model):
    """A net that ``torch.export.save`` wrote: ``exported:file.pt2``; its batch axis must be dynamic.

    It stays in the mode, of training or of evaluation, in which it was exported.
    """

    file: Annotated[Path, "what torch.export.save wrote"] = attrs.field(
        default=Path("model.pt2"), converter=absolute, metadata={"positional": True}
    )
    normalize: Annotated[
        str, "imagenet, cifar10, …, mean/std; auto, none: as the file has it"
    ] = normalize_option()
    output: Output = "auto"
    input: Input = None

    @property
    def files(self) -> tuple[Path, ...]:
        """The file."""
        return (self.file,)

    def build(self, spec: DataSpec) -> nn.Module:
        """The net with the file's weights."""
        from robustfw_models import fitting, graph_files

        net = graph_files.load_exported(self.file)
        return fitting.adapt_graph(net, spec, self.normalize, self.output, self.input)


@final
@attrs.frozen
class Onnx(Model):
    """A net in ONNX, as torch's layers, by onnx2torch: ``onnx:file.onnx``; its batch axis must be dynamic.

    It stays in evaluation mode.
    """

    file: Annotated[Path, "the .onnx file"] = attrs.field(
        default=Path("model.onnx"), converter=absolute, metadata={"positional": True}
    )
    normalize: Annotated[
        str, "imagenet, cifar10, …, mean/std; auto, none: as the file has it"
    ] = normalize_option()
    output: Output = "auto"

    @property
    def files(self) -> tuple[Path, ...]:
        """The file."""
        return (self.file,)

    def build(self, spec: DataSpec) -> nn.Module:
        """The net with the file's weights."""
        from robustfw_models import fitting, graph_files

        net = graph_files.load_onnx(self.file)
        return fitting.adapt_graph(net, spec, self.normalize, self.output, None)
