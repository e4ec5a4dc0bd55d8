"""The classifiers of torchvision: heads, standardisation, names of weights; no test downloads."""

from __future__ import annotations

import copy
import math

import pytest
import torch
import torchvision

import robustfw
from robustfw import DataError, DataSpec, UsageError
from robustfw.data.splits import Splits, TensorSplit

IMAGENET = DataSpec((3, 64, 64), 1000)
FEW = DataSpec((3, 64, 64), 7, mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))
MEAN = torch.tensor([0.485, 0.456, 0.406]).reshape(3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).reshape(3, 1, 1)


def fresh_state(builder):
    """Weights as a download of torchvision's would give them: 1000 classes, auxiliary outputs included."""
    options = {"init_weights": False, "aux_logits": True} if builder in ("googlenet", "inception_v3") else {}
    torch.manual_seed(7)
    return torchvision.models.get_model(builder, num_classes=1000, **options).state_dict()


@pytest.fixture
def download(monkeypatch):
    """Random weights in place of every download; the list of downloads."""
    downloaded = []

    def get_state_dict(weights, *args, **kwargs):
        builder = next(
            name
            for name in torchvision.models.list_models(torchvision.models)
            if torchvision.models.get_model_weights(name) is type(weights)
        )
        downloaded.append(f"{builder} {weights.name}")
        return fresh_state(builder)

    monkeypatch.setattr(torchvision.models.WeightsEnum, "get_state_dict", get_state_dict)
    return downloaded


@pytest.fixture
def no_network(monkeypatch):
    """No weights but those of a checkpoint."""

    def get_state_dict(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr(torchvision.models.WeightsEnum, "get_state_dict", get_state_dict)


def test_an_imagenet_classifier_can_be_measured_as_it_is(download):
    """On ImageNet's 1000 classes the net is the pretrained one, its last layer and its standardisation included."""
    net = robustfw.make("model", "torchvision:builder=resnet18,weights=DEFAULT").build(IMAGENET).eval()
    assert download == ["resnet18 IMAGENET1K_V1"]
    theirs = torchvision.models.resnet18()
    theirs.load_state_dict(fresh_state("resnet18"))
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(net(x), theirs.eval()((x - MEAN) / STD))


@pytest.mark.parametrize(
    ("builder", "layer"),
    [("resnet18", "fc"), ("squeezenet1_1", "classifier.1"), ("mobilenet_v3_small", "classifier.3")],
)
def test_other_numbers_of_classes_get_a_new_last_layer(download, builder, layer):
    net = robustfw.make("model", f"torchvision:builder={builder},weights=DEFAULT").build(FEW).eval()
    assert net(torch.rand(2, 3, 64, 64)).shape == (2, 7)
    pretrained = fresh_state(builder)
    for name, value in net[2].state_dict().items():
        if not name.startswith(f"{layer}."):
            assert torch.equal(value, pretrained[name]), name


def test_the_head_is_an_option(download):
    spec = "torchvision:builder=squeezenet1_1,weights=IMAGENET1K_V1"
    pretrained = fresh_state("squeezenet1_1")["classifier.1.weight"]
    kept, made = (robustfw.make("model", f"{spec},head={head}").build(IMAGENET) for head in ("keep", "new"))
    assert torch.equal(kept[2].classifier[1].weight, pretrained)
    assert made[2].classifier[1].weight.shape == pretrained.shape
    assert not torch.equal(made[2].classifier[1].weight, pretrained)
    with pytest.raises(UsageError, match="head=keep gives the 1000 outputs of IMAGENET1K_V1, where the data needs 7"):
        robustfw.make("model", f"{spec},head=keep").build(FEW)


def test_pretrained_weights_are_standardised_by_their_own_statistics(download):
    """Neither by none, as folders of images have none, nor by the data's."""
    for spec in (DataSpec((3, 64, 64), 7), FEW, DataSpec((1, 64, 64), 7, mean=(0.1,), std=(0.3,))):
        net = robustfw.make("model", "torchvision:builder=squeezenet1_1,weights=DEFAULT").build(spec).eval()
        x = torch.rand(2, *spec.shape)
        with torch.no_grad():
            torch.testing.assert_close(net(x), net[2]((x.expand(-1, 3, -1, -1) - MEAN) / STD))


def test_without_weights_the_datas_statistics_count():
    net = robustfw.make("model", "torchvision:builder=squeezenet1_1").build(FEW).eval()
    x = torch.rand(2, 3, 64, 64)
    torch.testing.assert_close(net(x), net[2]((x - 0.5) / 0.2))


@pytest.mark.parametrize("builder", ["resnet18", "vgg16", "vit_b_16"])
def test_weights_that_do_not_exist_are_told_with_those_that_do(builder):
    with pytest.raises(
        UsageError, match=rf"{builder} has no classifier's weights 'IMAGENET1K_V9': there are .*DEFAULT"
    ):
        robustfw.make("model", f"torchvision:builder={builder},weights=IMAGENET1K_V9").build(IMAGENET)


def test_weights_of_features_alone_are_no_classifier():
    """torchvision's VGG-16 of this name has NaN in its classifier."""
    with pytest.raises(UsageError, match=r"'IMAGENET1K_FEATURES': there are IMAGENET1K_V1, DEFAULT$"):
        robustfw.make("model", "torchvision:builder=vgg16,weights=IMAGENET1K_FEATURES").build(FEW)


def test_weights_that_cannot_be_downloaded_are_a_sentence(no_network):
    with pytest.raises(
        DataError, match=r"weights IMAGENET1K_V1 of resnet18 .* \(no network\): try again with a network"
    ):
        robustfw.make("model", "torchvision:weights=DEFAULT").build(IMAGENET)


@pytest.mark.parametrize(
    ("builder", "size"), [("googlenet", 64), ("inception_v3", 80), ("vit_b_32", 64), ("resnet18", 64)]
)
@pytest.mark.parametrize("weights", [None, "DEFAULT"])
def test_outputs_are_logits_in_training_too(download, builder, size, weights):
    """GoogLeNet and Inception have named tuples of three and two outputs in training."""
    if (builder, weights) == ("vit_b_32", "DEFAULT"):
        size = 224  # its position embedding is of that size
    spec = DataSpec((3, size, size), 5)
    net = robustfw.make("model", named(builder, weights)).build(spec)
    assert net.training
    for mode in (True, False):
        assert net.train(mode)(torch.rand(2, *spec.shape)).shape == (2, 5)


def named(builder, weights):
    return f"torchvision:builder={builder}" + ("" if weights is None else f",weights={weights}")


@pytest.mark.parametrize("builder", ["googlenet", "inception_v3", "squeezenet1_1", "vit_b_32"])
@pytest.mark.parametrize("classes", [5, 1000])
def test_a_net_for_a_checkpoint_needs_no_download(monkeypatch, download, builder, classes):
    """It has the layers of the pretrained one, and whatever else decides its outputs."""
    spec = DataSpec((3, 224, 224), classes)
    model = robustfw.make("model", named(builder, "DEFAULT"))
    trained = model.build(spec).eval()
    download.clear()
    opened = model.build_untrained(spec).eval()
    assert download == []
    opened.load_state_dict(copy.deepcopy(trained.state_dict()))
    x = torch.rand(1, *spec.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(opened(x), trained(x))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_checkpoint_of_a_net_that_standardised_nothing_keeps_its_function(download, channels):
    spec = DataSpec((channels, 64, 64), 7)
    net = robustfw.make("model", named("squeezenet1_1", "DEFAULT")).build_untrained(spec).eval()
    before = {name: value for name, value in net.state_dict().items() if not name.startswith("0.")}
    net.load_state_dict(before)
    x = torch.rand(2, *spec.shape)
    with torch.no_grad():
        torch.testing.assert_close(net(x), net[2](x.expand(-1, 3, -1, -1)))


@pytest.mark.parametrize(
    ("builder", "shape"),
    [("resnet18", (2,)), ("resnet18", (2, 32, 32)), ("alexnet", (3, 32, 32)), ("vit_b_16", (3, 30, 30))],
)
def test_data_that_a_builder_cannot_take_is_refused_when_it_is_built(builder, shape):
    with pytest.raises(UsageError, match=rf"{builder} (needs|cannot take) images"):
        robustfw.make("model", f"torchvision:builder={builder}").build(DataSpec(shape, 3))


def test_pretrained_weights_need_pixels_in_their_range(download):
    with pytest.raises(UsageError, match="need pixels from 0 to 1"):
        robustfw.make("model", "torchvision:weights=DEFAULT").build(DataSpec((3, 64, 64), 7, bounds=(0, 255)))


def test_a_run_from_pretrained_weights_opens_without_a_network(download, tmp_path):
    """A net with auxiliary outputs trains, too: its updates get logits."""
    x = torch.rand(8, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    whole = TensorSplit(x, torch.arange(8) % 2)
    splits = Splits.cut(whole, whole, DataSpec((3, 64, 64), 2), validation=0.25)
    model = "torchvision:builder=googlenet,weights=DEFAULT"
    records = list(
        robustfw.train(dataset=splits, model=model, objective="clean", epochs=1, batch_size=4, out=tmp_path / "run")
    )
    assert math.isfinite(records[-1].loss)
    assert download == ["googlenet IMAGENET1K_V1"]
    net = robustfw.load(tmp_path / "run")
    assert download == ["googlenet IMAGENET1K_V1"]
    assert net(x).shape == (8, 2)
