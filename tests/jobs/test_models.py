"""Nets of other libraries and files, measured by one command: the number is that of a plain loop."""

from __future__ import annotations

import warnings

import pytest
import torch
from safetensors.torch import save_file, save_model
from torch import nn

from .plain import (
    FAST,
    SET,
    fast_gradient_sign,
    save_npz,
    small_convolutional,
    standardised,
    write_module,
)

DATA = ("--dataset", "npz:images.npz,test=1,validation=0,range=[0,255]")
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.mark.parametrize(
    ("name", "options", "statistics"),
    [
        ("resnet18", {}, IMAGENET),
        ("vit_tiny_patch16_224", {"depth": 3}, HALF),
        ("mixer_s16_224", {}, HALF),
    ],
    ids=["convolutional", "vision transformer", "mixer"],
)
def test_timm(number, name, options, statistics):
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    size = {} if name == "resnet18" else {"img_size": 32}
    net = timm.create_model(name, num_classes=5, **size, **options).eval()
    nn.init.normal_(net.get_classifier().weight)  # zero in some of them
    torch.save(net.state_dict(), "net.pt")
    plain = standardised(net, *statistics)
    x, y = save_npz(plain)
    expected = fast_gradient_sign(plain, x, y)
    assert expected["correct"] > 30
    model = ",".join([f"timm:{name}", *(f"{option}={value}" for option, value in options.items())])
    assert number("--model", model, "--weights", "net.pt", *DATA, *SET, *FAST) == expected


def test_transformers(number):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = transformers.ViTConfig(image_size=32, patch_size=8, num_labels=5, **sizes)
    net = transformers.ViTForImageClassification(config).eval()
    net.save_pretrained("vit")
    transformers.ViTImageProcessor(image_mean=[0.5] * 3, image_std=[0.5] * 3).save_pretrained("vit")
    plain = standardised(lambda x: net(pixel_values=x).logits, *HALF)
    x, y = save_npz(plain)
    assert number("--model", "transformers:vit", *DATA, *SET, *FAST) == fast_gradient_sign(plain, x, y)


def test_torchvision(number):
    import torchvision

    torch.manual_seed(0)
    net = torchvision.models.mobilenet_v3_small(num_classes=5).eval()
    torch.save({"model": net.state_dict(), "epoch": 7}, "net.pth")
    plain = standardised(net, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
    x, y = save_npz(plain)
    model = "torchvision:mobilenet_v3_small,normalize=cifar10"
    assert number("--model", model, "--weights", "net.pth", *DATA, *SET, *FAST) == fast_gradient_sign(plain, x, y)


def test_a_module_of_your_own(number):
    write_module(
        "nets.py",
        "from torch import nn\n"
        "def build(width, num_classes):\n"
        "    return nn.Sequential(nn.Conv2d(3, width, 5, stride=4), nn.ReLU(), nn.Flatten(),\n"
        "                         nn.Linear(49 * width, num_classes))\n",
    )
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 5, stride=4), nn.ReLU(), nn.Flatten(), nn.Linear(294, 4))
    save_file({f"module.{name}": value for name, value in net.state_dict().items()}, "net.safetensors")
    x, y = save_npz(net)
    model = ("--model", "python:nets.py:build,width=6", "--weights", "net.safetensors")
    assert number(*model, *DATA, "--examples", "48", *SET, *FAST) == fast_gradient_sign(net, x, y)


def test_torchscript(number):
    net = small_convolutional()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch would rather have torch.export
        torch.jit.script(net).save("net.pt")
    x, y = save_npz(net)
    assert number("--model", "torchscript:net.pt", *DATA, *SET, *FAST) == fast_gradient_sign(net, x, y)


def test_an_exported_program(number):
    net = small_convolutional()
    x, y = save_npz(net)
    batch = torch.export.Dim("batch", min=1, max=512)
    torch.export.save(torch.export.export(net, (x[:4],), dynamic_shapes=({0: batch},)), "net.pt2")
    assert number("--model", "exported:net.pt2", *DATA, *SET, *FAST) == fast_gradient_sign(net, x, y)


def test_onnx(number):
    pytest.importorskip("onnx2torch")
    net = small_convolutional()
    x, y = save_npz(net)
    form = {"dynamo": False, "opset_version": 17, "input_names": ["x"], "dynamic_axes": {"x": {0: "batch"}}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch would rather have its new exporter
        torch.onnx.export(net, (x[:2],), "net.onnx", **form)
    assert number("--model", "onnx:net.onnx", *DATA, *SET, *FAST) == fast_gradient_sign(net, x, y)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_a_net_of_another_precision(number, dtype):
    write_module(
        "nets.py",
        "import torch\n"
        "from torch import nn\n"
        "def build():\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(3072, 16), nn.Tanh(), nn.Linear(16, 4)).to("
        f"torch.{str(dtype).removeprefix('torch.')})\n",
    )
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(3072, 16), nn.Tanh(), nn.Linear(16, 4)).to(dtype)
    save_model(net, "net.safetensors")

    def plain(x):
        return net(x.to(dtype)).float()

    x, y = save_npz(plain)
    model = ("--model", "python:nets.py:build", "--weights", "net.safetensors")
    ours = number(*model, *DATA, *SET, *FAST)
    expected = fast_gradient_sign(plain, x, y)
    assert ours["correct"] == expected["correct"]
    assert abs(ours["robust"] - expected["robust"]) <= 1, "signs of gradients that round to 0 may differ"
