"""The options of the models; the nets are in `robustfw_vision.nets` and `paper_nets`, which need torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, final

import attrs
from attrs.validators import deep_iterable, ge, gt, in_, min_len

from robustfw import Model, learnt, with_learnt

if TYPE_CHECKING:
    from torch import nn

    from robustfw import DataSpec
    from robustfw.data.splits import Split


@final
@attrs.frozen
class Linear(Model):
    """Outputs W x + b, of images in pixels, of features once standardised by the data's statistics."""

    bias: Annotated[bool, "whether there is a b"] = True

    def build(self, spec: DataSpec) -> nn.Module:
        """One layer on the flattened example."""
        from robustfw_vision import nets

        return nets.mlp(spec, (), bias=self.bias)


@final
@attrs.frozen
class Mlp(Model):
    """A multi-layer perceptron with ReLU on the flattened, standardised example."""

    hidden: Annotated[tuple[int, ...], "units of the hidden layers"] = attrs.field(
        default=(256, 256), validator=deep_iterable(gt(0))
    )

    def build(self, spec: DataSpec) -> nn.Module:
        """Standardisation, then the layers."""
        from robustfw_vision import nets

        return nets.mlp(spec, self.hidden)


@final
@attrs.frozen
class Fcn(Model):
    """A small fully convolutional net: outputs for each pixel where each has a class, else their mean."""

    width: Annotated[int, "channels between the convolutions"] = attrs.field(
        default=32, validator=ge(1)
    )
    layers: Annotated[
        int, "3x3 convolutions; a pixel's outputs see 2·layers + 1 pixels across"
    ] = attrs.field(default=4, validator=ge(1))

    def build(self, spec: DataSpec) -> nn.Module:
        """28 thousand parameters on grey images, of any size."""
        from robustfw_vision import nets

        return nets.fcn(spec, self.width, self.layers)


@final
@attrs.frozen
class PaperMnist(Model):
    """The convnet of section 5.1: 5x5 convolutions of 32 and 64 filters, pools 3x3 and 2x2, 200 units.

    As in the authors' scripts images are padded to 32x32; their robust nets have a batch norm without parameters
    on the input (``input_norm=batch``) where the baseline has a fixed standardisation.

    The last values of both convolutions fill no window of their pool, so that of 28x28 images the net never sees the
    last two rows and columns. What is not used is not computed here.
    """

    input_norm: Annotated[
        Literal["fixed", "batch"], "fixed: by the data's statistics; batch: batch norm"
    ] = attrs.field(default="fixed", validator=in_(("fixed", "batch")))

    def build(self, spec: DataSpec) -> nn.Module:
        """106 thousand parameters on 28x28 images."""
        from robustfw_vision import paper_nets

        return paper_nets.paper_mnist(spec, self.input_norm)


@final
@attrs.frozen
class PaperCifar(Model):
    """The VGG variant of section 5.2: thirteen 3x3 convolutions with batch norm, in five blocks, 512 units; on YUV."""

    dropout: Annotated[
        bool, "0.3 to 0.5 between the layers, as the authors have it"
    ] = True

    def build(self, spec: DataSpec) -> nn.Module:
        """15 million parameters on 32x32 images."""
        from robustfw_vision import paper_nets

        return paper_nets.paper_cifar(spec, self.dropout)


@final
@attrs.frozen
class FastCifar(Model):
    """A small net that learns CIFAR-10 in minutes: whitened patches, then six 3x3 convolutions in three blocks.

    After the nets of today's speed records (Page 2019, Jordan 2024): a fixed first layer that whitens patches of 2x2 of
    the training images; batch norm with a short memory, whose shifts learn fast and whose scales are fixed; GELU, by
    hardswish; weights that begin as the identity; small logits. Meant for high learning rates and label smoothing.
    """

    widths: Annotated[
        tuple[int, ...], "channels of the blocks, each of which halves the image"
    ] = attrs.field(
        default=(64, 128, 256), validator=[deep_iterable(gt(0)), min_len(1)]
    )
    learnt: Any = learnt()
    """Filters (12, channels, 2, 2) that whiten patches of the training images, as a tensor."""

    def fit(self, train: Split) -> Self:
        """The model with the whitening filters of the first training images."""
        from robustfw_vision import whitening

        return with_learnt(self, learnt=whitening.learn_filters(train))

    def build(self, spec: DataSpec) -> nn.Module:
        """1.2 million parameters on 32x32 images; those of the first layer are fixed."""
        from robustfw_vision import nets

        return nets.fast_cifar(spec, self.widths, self.learnt)


@final
@attrs.frozen
class MadryMnist(Model):
    """The net of Madry et al. 2018: 5x5 convolutions of 32 and 64 filters with 2x2 pools, 1024 units."""

    def build(self, spec: DataSpec) -> nn.Module:
        """3.3 million parameters on 28x28 images; no standardisation, as in the original."""
        from robustfw_vision import paper_nets

        return paper_nets.madry_mnist(spec)


@final
@attrs.frozen
class Resnet18Cifar(Model):
    """ResNet-18 for small images with pre-activation blocks (He et al. 2016b): 3x3 stem, no stem pool."""

    width: Annotated[int, "channels of the first stage; 64 is the usual net"] = (
        attrs.field(default=64, validator=ge(1))
    )

    def build(self, spec: DataSpec) -> nn.Module:
        """11.2 million parameters at width 64."""
        from robustfw_vision import nets

        return nets.preact_resnet18(spec, self.width)


def _check_normalization(_: object, field: object, text: str) -> None:
    """Refuse a text that names no normalisation, before anything is built."""
    if text != "auto":
        from robustfw.interop import Normalization

        Normalization.read(text, channels=3)


@final
@attrs.frozen
class Torchvision(Model):
    """Any builder of ``torchvision.models``, behind a standardising layer; grey images are repeated to 3 channels.

    Pretrained weights get pixels standardised as they were trained, whatever the data's own statistics are. A data set
    with the weights' number of classes (1000 for ImageNet's) keeps the pretrained last layer, so that the net can be
    measured as it is; for any other number it is made anew.
    """

    builder: Annotated[
        str, "resnet18, convnext_tiny, … as in torchvision.models.list_models()"
    ] = attrs.field(default="resnet18", metadata={"positional": True})
    weights: Annotated[
        str | None, "pretrained weights such as DEFAULT or IMAGENET1K_V1"
    ] = None
    head: Annotated[
        Literal["auto", "keep", "new"],
        "the pretrained last layer: keep it, make it new, or auto: keep it where the data has the weights' classes",
    ] = attrs.field(default="auto", validator=in_(("auto", "keep", "new")))
    normalize: Annotated[
        str,
        "what the net expects: none, imagenet, cifar10, …, mean/std; auto: that of the weights, else of the data",
    ] = attrs.field(default="auto", validator=_check_normalization)

    def build(self, spec: DataSpec) -> nn.Module:
        """``torchvision.models.get_model(builder)`` for the data; named weights are downloaded to torch's cache."""
        from robustfw_vision import ready_made

        net = ready_made.classifier(spec, self.builder, self.weights, self.head)
        return ready_made.normalize_by(net, self.normalize)

    def build_untrained(self, spec: DataSpec) -> nn.Module:
        """The net of `build` with fresh weights, for a checkpoint's to be loaded; nothing is downloaded."""
        from robustfw_vision import ready_made

        net = ready_made.architecture(spec, self.builder, self.weights, self.head)
        return ready_made.normalize_by(net, self.normalize)


@final
@attrs.frozen
class Scattering(Model):
    """Fixed wavelet scattering, which moves points no further apart, and a learnt classifier (Oyallon & Mallat 2014).

    Distances of images, once standardised, bound those of their scattering coefficients: ‖S x − S x'‖₂ ≤ ‖x − x'‖₂.
    Only what comes after is learnt.
    """

    order: Annotated[int, "wavelets one after the other: 0, 1 or 2"] = attrs.field(
        default=2, validator=in_((0, 1, 2))
    )
    scales: Annotated[
        int, "J: wavelets of 1, 2, … 2^(J-1) pixels; coefficients at every 2^J-th pixel"
    ] = attrs.field(default=2, validator=ge(1))
    angles: Annotated[int, "L: directions of the wavelets, over half a turn"] = (
        attrs.field(default=8, validator=ge(1))
    )
    hidden: Annotated[
        tuple[int, ...], "units of hidden layers on top; none for a linear classifier"
    ] = attrs.field(default=(), validator=deep_iterable(gt(0)))

    def build(self, spec: DataSpec) -> nn.Module:
        """40 thousand parameters on 28x28 images, and 81 maps of 7x7."""
        from robustfw_vision import scattering

        options = {"scales": self.scales, "angles": self.angles, "order": self.order}
        return scattering.scattering(spec, **options, hidden=self.hidden)
