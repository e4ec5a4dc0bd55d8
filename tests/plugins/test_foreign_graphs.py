"""Nets in files of TorchScript, torch.export and ONNX: their numbers are those of a plain loop."""

from __future__ import annotations

import os
import pickle
import warnings

import pytest
import torch
from torch import nn

import robustfw
from robustfw import DataError, RobustfwWarning, UsageError
from robustfw.interop import read_weights
from robustfw_models import graph_files

from .foreign_models import IMAGES, build, examples, require_equal_numbers, small_net


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


def test_a_program_is_read_without_code(tmp_path):
    """Within the context under which programs are read, torch refuses a pickle of code whoever asks for it."""
    marker = tmp_path / "marker"

    class Malicious:
        def __reduce__(self):
            return os.mkdir, (str(marker),)

    torch.save(Malicious(), tmp_path / "w.pt")
    before = dict(os.environ)
    with graph_files.weights_only(), pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "w.pt", weights_only=False)
    assert not marker.exists()
    assert dict(os.environ) == before


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
