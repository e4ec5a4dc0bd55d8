"""Models of timm, transformers and torchvision, in files of code and of graphs: their numbers are a plain loop's."""

from __future__ import annotations

import sys
import types
import warnings

import attrs
import pytest
import torch
from torch import nn

import robustfw
from robustfw import DataError, DataSpec, RobustfwWarning, UsageError
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


CODE = """
from torch import nn
from helper import WIDTH
from robustfw import DataSpec

def build(width=WIDTH, num_classes=3, names=()):
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, width), nn.ReLU(), nn.Linear(width, num_classes))

def tupled(spec: DataSpec):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3 * 32 * 32, spec.classes)
        def forward(self, pixels, *, scale=1.0):
            return {"features": pixels, "scores": self.layer(pixels.flatten(1)) * scale}
    return Net()

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.LazyLinear(10))

made = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10))
number = 3

def listed():
    return [1]

def failing():
    raise KeyError("weights")
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current directory, with files of code."""
    (tmp_path / "nets.py").write_text(CODE)
    (tmp_path / "helper.py").write_text("WIDTH = 7")
    (tmp_path / "broken.py").write_text("import nowhere_to_be_found")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in ("nets", "helper", "broken"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    "spec",
    [
        "nets.py:build",
        "python:nets.py:build,width=5,num_classes=10",
        "python:nets:build,names=[a,[b,1]]",
        "python:nets.py:tupled,output=scores,input=pixels",
        "python:nets.py:Net",
        "python:nets:made",
    ],
)
def test_a_file_of_code(folder, spec):
    path = list(sys.path)
    model = robustfw.make("model", spec)
    torch.manual_seed(0)
    net = model.build(IMAGES).eval()
    assert sys.path == path
    assert [file.name for file in model.files] == ["nets.py"]
    inner = net.net
    if "scores" in spec:
        require_equal_numbers(net, lambda x: inner(x)["scores"])
    else:
        require_equal_numbers(net, inner)
    # it is found again from its record, in any folder
    record = REGISTRY.record(model)
    assert REGISTRY.make("model", record) == model
    assert REGISTRY.make("model", REGISTRY.spell(model)) == model
    assert hash(model) == hash(REGISTRY.make("model", record))


def test_arguments_reach_the_function(folder, monkeypatch):
    model = robustfw.make("model", "nets.py:build,width=5")
    monkeypatch.chdir("/")
    assert model.build(IMAGES).net[1].out_features == 5
    assert model.build(IMAGES).net[3].out_features == 10
    again = robustfw.make("model", {"use": "python", "place": str(folder / "nets.py:build"), "width": 5})
    assert again == model
    assert robustfw.make("model", "python").build(IMAGES)(torch.rand(2, 3, 32, 32)).shape == (2, 10)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nowhere.py:build", "there is no file nowhere.py"),
        ("python:nowhere.nets:build", "there is no module 'nowhere.nets'"),
        ("nets.py:biuld", "has no 'biuld': it has build, tupled"),
        ("nets.py:number", "is int, neither a function nor a net"),
        ("nets.py:listed", "returned list, and a torch.nn.Module is needed"),
        ("nets.py:failing", "failed, KeyError: 'weights'"),
        ("nets.py:build,depth=3", r"unexpected keyword argument 'depth'"),
        ("nets.py:made,width=3", "takes no arguments: leave out width"),
        ("broken.py:build", "could not be imported: No module named 'nowhere_to_be_found'"),
        ("nets.py", "names nothing in a module"),
        ("python:nets", "names nothing in a module"),
        ("nets.py:build,width=0.5", "failed, TypeError"),
        ("nets.py:tupled", "write output=NAME"),
    ],
)
def test_mistakes_with_code(folder, spec, message):
    with pytest.raises(UsageError, match=message):
        build(spec)


def test_a_net_that_does_not_take_the_data(folder):
    with pytest.raises(UsageError, match=r"cannot take 2 examples of shape \(3, 8, 8\)"):
        build("nets.py:build", DataSpec((3, 8, 8), 10))


@pytest.mark.filterwarnings("ignore:.torch.jit", "ignore:.*deprecated")  # torch's words about its own formats
@pytest.mark.parametrize("frozen", [False, True])
def test_torchscript(tmp_path, frozen):
    original = small_net()
    scripted = torch.jit.script(original)
    if frozen:
        scripted = torch.jit.freeze(scripted)
    torch.jit.save(scripted, tmp_path / "net.pt")
    model = robustfw.make("model", f"torchscript:{tmp_path / 'net.pt'}")
    require_equal_numbers(model.build(IMAGES).eval(), original)
    assert model.files == (tmp_path / "net.pt",)
    with pytest.raises(DataError, match=r"name it as the model, torchscript:"):
        read_weights(tmp_path / "net.pt")


def export(path, *, batch=True) -> nn.Module:
    original = small_net()
    shapes = ({0: torch.export.Dim("batch")},) if batch else None
    program = torch.export.export(original, (torch.rand(3, 3, 32, 32),), dynamic_shapes=shapes)
    torch.export.save(program, path)
    return original


def test_a_program_of_torch_export(tmp_path):
    original = export(tmp_path / "net.pt2")
    net = build(f"exported:{tmp_path / 'net.pt2'}")
    require_equal_numbers(net, original)
    # the program has one mode, and asking for another is no error
    x, _ = examples()
    assert torch.equal(net.train()(x), net.eval()(x))


def test_a_program_of_one_batch_size_is_refused(tmp_path):
    export(tmp_path / "net.pt2", batch=False)
    with pytest.raises(UsageError, match="cannot take 2 examples"):
        build(f"exported:{tmp_path / 'net.pt2'}")


def onnx_graph(original: nn.Module, last: str = "Gemm"):
    """The graph of `small_net`, written by hand."""
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    state = {name: value.numpy() for name, value in original.state_dict().items() if value.is_floating_point()}
    initial = [onnx.numpy_helper.from_array(value, name) for name, value in state.items()]
    statistics = ["1.weight", "1.bias", "1.running_mean", "1.running_var"]
    nodes = [
        helper.make_node("Conv", ["x", "0.weight", "0.bias"], ["a"], strides=[4, 4], kernel_shape=[3, 3]),
        helper.make_node("BatchNormalization", ["a", *statistics], ["b"]),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("Flatten", ["c"], ["d"], axis=1),
        helper.make_node("Gemm", ["d", "4.weight", "4.bias"], ["e"], transB=1),
        helper.make_node("Identity" if last == "Gemm" else last, ["e"], ["logits"]),
    ]
    kind = onnx.TensorProto.FLOAT
    x = helper.make_tensor_value_info("x", kind, ["batch", 3, 32, 32])
    logits = helper.make_tensor_value_info("logits", kind, ["batch", 10])
    graph = helper.make_graph(nodes, "net", [x], [logits], initial)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def test_onnx(tmp_path):
    pytest.importorskip("onnx2torch")
    import onnx

    original = small_net()
    onnx.save(onnx_graph(original), tmp_path / "net.onnx")
    require_equal_numbers(build(f"onnx:{tmp_path / 'net.onnx'}"), original)


def test_a_graph_without_a_gradient_is_said(tmp_path):
    pytest.importorskip("onnx2torch")
    import onnx

    original = small_net()
    onnx.save(onnx_graph(original, last="Floor"), tmp_path / "net.onnx")
    net = build(f"onnx:{tmp_path / 'net.onnx'}")
    x, _ = examples()
    assert torch.equal(net(x), original(x).floor())

    class Detached(nn.Module):
        def forward(self, x):
            return x.detach().flatten(1)[:, :10]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(Detached()), tmp_path / "net.pt")
    with pytest.warns(RobustfwWarning, match="no gradient flows through this net"):
        build(f"torchscript:{tmp_path / 'net.pt'}")


@pytest.mark.parametrize("kind", ["torchscript", "exported", "onnx"])
def test_files_that_are_none(tmp_path, kind):
    if kind == "onnx":
        pytest.importorskip("onnx2torch")
    with pytest.raises(DataError, match="there is no file"):
        build(f"{kind}:{tmp_path / 'nowhere'}")
    (tmp_path / "text").write_text("<html>not found</html>")
    with pytest.raises(DataError, match="can be read"):
        build(f"{kind}:{tmp_path / 'text'}")


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
