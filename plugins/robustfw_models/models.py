"""The options of nets that code builds: a function of one's own, and other libraries' architectures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, final

import attrs
from attrs.validators import in_

from robustfw import Model
from robustfw.plugin.places import absolute_place
from robustfw_models.options import (
    Arguments,
    Input,
    Output,
    absolute_folder,
    arguments_option,
    normalize_option,
)

if TYPE_CHECKING:
    from torch import nn

    from robustfw import DataSpec


@final
@attrs.frozen
class Python(Model):
    """The net that a function of your own returns, by its place: ``python:package.module:build`` or ``file.py:build``.

    Options that are not listed here are arguments of the function. If it has parameters called ``spec`` or
    ``num_classes``, it is given the data's spec or its number of outputs. A net in the place of a function is taken as
    it is, with its weights.
    """

    place: Annotated[
        str, "module:name or file.py:name of what builds the net, or of the net itself"
    ] = attrs.field(
        default="robustfw_models.small:build",
        converter=absolute_place,
        metadata={"positional": True},
    )
    normalize: Annotated[
        str,
        "what the net expects of its input: imagenet, cifar10, …, mean/std; auto, none: as it is",
    ] = normalize_option()
    output: Output = "auto"
    input: Input = None
    arguments: Arguments = arguments_option()

    @property
    def files(self) -> tuple[Path, ...]:
        """The file with the code, where there is one."""
        from robustfw_models import python_code

        return python_code.files(self.place)

    def build(self, spec: DataSpec) -> nn.Module:
        """The function is called in the folder of its file, or the current one, as far as imports go."""
        from robustfw_models import fitting, python_code

        net = python_code.build(self.place, dict(self.arguments), spec)
        return fitting.adapt_net(net, spec, self.normalize, self.output, self.input)


@final
@attrs.frozen
class Timm(Model):
    """An architecture of timm, by its name, for the data's size, channels and classes: ``timm:resnet18``.

    Options that are not listed here are those of ``timm.create_model``.
    """

    architecture: Annotated[str, "a name in timm.list_models()"] = attrs.field(
        default="resnet18", metadata={"positional": True}
    )
    pretrained: Annotated[bool, "whether timm's pretrained weights are downloaded"] = (
        False
    )
    normalize: Annotated[
        str,
        "what the net expects: imagenet, …, mean/std, none; auto: that of timm's configuration",
    ] = normalize_option()
    output: Output = "auto"
    arguments: Arguments = arguments_option()

    def build(self, spec: DataSpec) -> nn.Module:
        """``timm.create_model(architecture, num_classes=…, in_chans=…)``, for images of the data's size."""
        from robustfw_models import timm_nets

        return timm_nets.build(self, spec, pretrained=self.pretrained)

    def build_untrained(self, spec: DataSpec) -> nn.Module:
        """The net of `build` with fresh weights: nothing is downloaded."""
        from robustfw_models import timm_nets

        return timm_nets.build(self, spec, pretrained=False)


@final
@attrs.frozen
class Transformers(Model):
    """An image classifier of transformers: a folder of ``save_pretrained``, or a type such as ``transformers:vit``.

    Options that are not listed here are those of its configuration, such as ``hidden_size=64``.
    """

    source: Annotated[
        str,
        "a folder with config.json, and weights if there are any; or a type of model, with fresh weights",
    ] = attrs.field(
        default="vit", converter=absolute_folder, metadata={"positional": True}
    )
    normalize: Annotated[
        str,
        "what the net expects: imagenet, …, mean/std, none; auto: that of the folder's image processor",
    ] = normalize_option()
    output: Output = "auto"
    input: Input = "pixel_values"
    arguments: Arguments = arguments_option()

    @property
    def files(self) -> tuple[Path, ...]:
        """The folder's configurations."""
        from robustfw_models import transformers_nets

        return transformers_nets.files(self.source)

    def build(self, spec: DataSpec) -> nn.Module:
        """``AutoModelForImageClassification`` of the configuration, with the folder's weights where it has any."""
        from robustfw_models import transformers_nets

        return transformers_nets.build(self, spec, weights=True)

    def build_untrained(self, spec: DataSpec) -> nn.Module:
        """The net of `build` with fresh weights."""
        from robustfw_models import transformers_nets

        return transformers_nets.build(self, spec, weights=False)


@final
@attrs.frozen
class HfHub(Model):
    """A pretrained net of the Hugging Face hub, by timm or by transformers, as its configuration says.

    Its files are downloaded once, to the hub's cache; a saved run opens from there without a network.
    """

    repository: Annotated[str, "owner/name on the hub"] = attrs.field(
        default="timm/resnet18.a1_in1k", metadata={"positional": True}
    )
    normalize: Annotated[
        str,
        "what the net expects: imagenet, …, mean/std, none; auto: that of its configuration",
    ] = normalize_option()
    output: Output = "auto"

    def build(self, spec: DataSpec) -> nn.Module:
        """The net with its pretrained weights."""
        from robustfw_models import hub

        return hub.build(self, spec, weights=True)

    def build_untrained(self, spec: DataSpec) -> nn.Module:
        """The net of `build` with fresh weights; its configuration is read from the hub's cache."""
        from robustfw_models import hub

        return hub.build(self, spec, weights=False)


@final
@attrs.frozen
class RobustBench(Model):
    """An architecture of RobustBench's zoo, by the package robustbench; weights are given apart, as a file."""

    name: Annotated[str, "a name in the zoo, such as Carmon2019Unlabeled"] = (
        attrs.field(default="Standard", metadata={"positional": True})
    )
    data: Annotated[
        Literal["cifar10", "cifar100", "imagenet"], "the zoo's data set"
    ] = attrs.field(
        default="cifar10", validator=in_(("cifar10", "cifar100", "imagenet"))
    )
    threat: Annotated[
        Literal["Linf", "L2", "corruptions"], "the zoo's threat model"
    ] = attrs.field(default="Linf", validator=in_(("Linf", "L2", "corruptions")))
    normalize: Annotated[
        str, "imagenet, …, mean/std; auto, none: what the zoo's net does itself"
    ] = normalize_option()
    output: Output = "auto"

    def build(self, spec: DataSpec) -> nn.Module:
        """The architecture with fresh weights; nothing is downloaded."""
        from robustfw_models import zoo

        return zoo.build(self, spec)
