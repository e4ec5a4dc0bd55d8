"""Models of timm, transformers, torchvision, hubs and zoos: their numbers are those of a plain loop."""

from __future__ import annotations

import sys
import types

import attrs
import pytest
import torch
from torch import nn

import robustfw
from robustfw import DataError, DataSpec, UsageError
from robustfw.interop import Adapter, normalization_in_effect, read_weights
from robustfw.plugin.registry import Registry
from robustfw.testing import LAWS

from .foreign_models import IMAGES, build, examples, require_equal_numbers, small_net

REGISTRY = Registry.installed()
TINY_VIT = "hidden_size=16,num_hidden_layers=1,num_attention_heads=2,intermediate_size=16,patch_size=8"
TIMM = {
    "convnet": "timm:test_resnet",
    "vit": "timm:test_vit",
    "mixer": "timm:mixer_s16_224",
}


@pytest.mark.parametrize("spec", TIMM.values(), ids=TIMM)
def test_timm(spec):
    pytest.importorskip("timm")
    net = build(spec)
    # the mixer's last layer is all zeros at first
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape))
    normalization = normalization_in_effect(net)
    assert normalization.source.startswith("timm's configuration")
    mean = torch.tensor(normalization.mean).view(3, 1, 1)
    std = torch.tensor(normalization.std).view(3, 1, 1)
    require_equal_numbers(net, lambda x: net.net((x - mean) / std))


@pytest.mark.parametrize("spec", [TIMM["convnet"], TIMM["vit"], "timm:resnet18"])
@pytest.mark.parametrize("law", LAWS["model"], ids=lambda law: law.name)
def test_laws_of_timm(spec, law):
    pytest.importorskip("timm")
    law.check(REGISTRY.make("model", spec), 0)


@pytest.mark.parametrize("law", LAWS["model"], ids=lambda law: law.name)
def test_laws_of_transformers(law):
    pytest.importorskip("transformers")
    law.check(REGISTRY.make("model", f"transformers:vit,{TINY_VIT}"), 0)


WRAPPED = {
    "plain": lambda net: net.state_dict(),
    "DataParallel": lambda net: nn.DataParallel(net).state_dict(),
    "compiled": lambda net: torch.compile(net).state_dict(),
    "with an average": lambda net: {
        "ema": build("timm:test_resnet", seed=9).net.state_dict(),
        "model": net.state_dict(),
    },
}


@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED)
@pytest.mark.parametrize("library", ["timm", "torchvision"])
def test_weights_of_a_script_load(tmp_path, library, wrap):
    if library == "timm":
        timm = pytest.importorskip("timm")
        original = timm.create_model("test_resnet", num_classes=10).eval()
        model = build("timm:test_resnet,normalize=none", seed=5)
    else:
        torchvision = pytest.importorskip("torchvision")
        original = torchvision.models.resnet18(num_classes=10).eval()
        model = build("torchvision:resnet18,normalize=none", seed=5)
    torch.save(wrap(original), tmp_path / "w.pt")
    read_weights(tmp_path / "w.pt").load_into(model)
    x, _ = examples()
    assert torch.equal(model(x), original(x))


def test_timm_takes_grey_images_and_other_normalisations():
    pytest.importorskip("timm")
    grey = DataSpec((1, 32, 32), 10)
    assert normalization_in_effect(build("timm:test_resnet", grey)).source.endswith("averaged over channels")
    assert normalization_in_effect(build("timm:test_resnet,normalize=none")) is None
    given = build("timm:test_resnet,normalize=[0.1,0.2,0.3]/[1,2,4]")
    assert normalization_in_effect(given).std == (1, 2, 4)
    with pytest.raises(UsageError, match="for pixels from 0 to 1"):
        build("timm:test_resnet", attrs.evolve(IMAGES, bounds=(0, 255)))
    with pytest.raises(UsageError, match="there is no normalisation 'imagnet'"):
        robustfw.make("model", "timm:resnet18,normalize=imagnet")
    with pytest.raises(UsageError, match="needs images"):
        build("timm:test_resnet", DataSpec((7,), 3))
    with pytest.raises(UsageError, match="no architecture 'resnet19': there are"):
        build("timm:resnet19")


def save_vit(folder, **processor):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    options = dict(part.split("=") for part in TINY_VIT.split(","))
    config = transformers.ViTConfig(**{k: int(v) for k, v in options.items()}, image_size=32, num_labels=10)
    net = transformers.ViTForImageClassification(config).eval()
    net.save_pretrained(folder)
    if processor:
        transformers.ViTImageProcessor(**processor).save_pretrained(folder)
    return net


def test_a_folder_of_transformers(tmp_path):
    original = save_vit(tmp_path / "vit", image_mean=[0.4, 0.5, 0.6], image_std=[0.2, 0.3, 0.4])
    model = robustfw.make("model", f"transformers:{tmp_path / 'vit'}")
    net = model.build(IMAGES).eval()
    assert {file.name for file in model.files} == {"config.json", "preprocessor_config.json"}
    assert normalization_in_effect(net).mean == (0.4, 0.5, 0.6)
    mean = torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1)
    std = torch.tensor([0.2, 0.3, 0.4]).view(3, 1, 1)
    require_equal_numbers(net, lambda x: original((x - mean) / std).logits)
    # a saved run opens with fresh weights, for a checkpoint's
    opened = model.build_untrained(IMAGES)
    opened.load_state_dict(net.state_dict())
    x, _ = examples()
    assert torch.equal(opened.eval()(x), net(x))


def test_mistakes_with_transformers(tmp_path):
    save_vit(tmp_path / "vit")
    with pytest.raises(DataError, match="of 10 classes, the data has 7"):
        build(f"transformers:{tmp_path / 'vit'}", attrs.evolve(IMAGES, classes=7))
    with pytest.raises(UsageError, match=r"no config\.json"):
        build(f"transformers:{tmp_path}")
    with pytest.raises(UsageError, match="hf-hub:google/vit"):
        build("transformers:google/vit")
    with pytest.raises(UsageError, match="no option 'hiden_size'"):
        build("transformers:vit,hiden_size=16")


def test_torchvision_with_a_normalisation_of_ones_own():
    as_before = build("torchvision:resnet18", seed=1)
    named = build("torchvision:resnet18,normalize=cifar10", seed=1)
    assert "2.fc.weight" in as_before.state_dict()
    normalization = normalization_in_effect(named)
    assert normalization.source == "cifar10"
    mean = torch.tensor(normalization.mean).view(3, 1, 1)
    std = torch.tensor(normalization.std).view(3, 1, 1)
    inner = as_before[2]
    require_equal_numbers(named, lambda x: inner((x - mean) / std))
    grey = build("torchvision:resnet18,normalize=imagenet", DataSpec((1, 32, 32), 10))
    assert normalization_in_effect(grey).source == "imagenet"


def test_a_hub_out_of_reach_is_one_sentence(monkeypatch):
    hub = pytest.importorskip("huggingface_hub")

    def fail(*args, **kwargs):
        raise OSError("no route to host\nand more")

    monkeypatch.setattr(hub, "hf_hub_download", fail)
    with pytest.raises(DataError, match=r"owner/name could not be downloaded \(no route to host\): check the name"):
        build("hf-hub:owner/name")
    with pytest.raises(DataError, match="found in the hub's cache"):
        robustfw.make("model", "hf-hub:owner/name").build_untrained(IMAGES)


def test_a_folder_of_the_hub_is_read_by_the_library_of_its_configuration(monkeypatch, tmp_path):
    hub = pytest.importorskip("huggingface_hub")
    original = save_vit(tmp_path / "vit")
    monkeypatch.setattr(hub, "hf_hub_download", lambda *a, **k: str(tmp_path / "vit" / "config.json"))
    monkeypatch.setattr(hub, "snapshot_download", lambda *a, **k: str(tmp_path / "vit"))
    net = build("hf-hub:owner/name")
    x, _ = examples()
    assert torch.allclose(net(x), original(x).logits, atol=1e-5)


def test_the_zoo_needs_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "robustbench", None)
    with pytest.raises(UsageError, match="robustbench could not be imported"):
        build("robustbench:Standard")


def test_architectures_of_the_zoo(monkeypatch):
    """The zoo's table has the form that its package documents: data set, threat model, name, class."""
    zoo = types.ModuleType("robustbench.model_zoo")
    zoo.model_dicts = {"cifar10": {"Linf": {"Small2020": {"model": small_net}}}}
    enums = types.ModuleType("robustbench.model_zoo.enums")
    enums.BenchmarkDataset = str
    enums.ThreatModel = str
    for name, module in (("", types.ModuleType("robustbench")), (".model_zoo", zoo), (".model_zoo.enums", enums)):
        monkeypatch.setitem(sys.modules, f"robustbench{name}", module)
    net = build("robustbench:Small2020")
    x, _ = examples()
    assert isinstance(net, Adapter)
    assert torch.equal(net(x), small_net()(x))
    with pytest.raises(UsageError, match="no net 'Big' for data=cifar10,threat=Linf: it has Small2020"):
        build("robustbench:Big")
