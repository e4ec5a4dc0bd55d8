"""The net that trains fast on CIFAR-10: its whitening, its norm of a fixed scale, its checkpoints."""

from __future__ import annotations

import pytest
import torch

import robustfw
from robustfw import DataSpec, UsageError
from robustfw.data.splits import Splits, TensorSplit


@pytest.fixture(scope="module")
def photographs():
    """Small images whose neighbouring pixels are alike, as in photographs."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(300, 3, 6, 6, generator=generator)
    y = torch.arange(300) % 2
    coarse[:, 0] = 0.5 * coarse[:, 0] + 0.5 * y[:, None, None]  # one class is redder
    x = torch.nn.functional.interpolate(coarse, size=12, mode="bilinear").clamp(0, 1)
    spec = DataSpec((3, 12, 12), 2, mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))
    whole = TensorSplit(x, y)
    return Splits.cut(whole, whole.first(60), spec, validation=0.2)


def test_hardswish_is_nearly_gelu():
    from robustfw_vision.nets import STEEP

    x = torch.linspace(-10, 10, 2001)
    apart = (torch.nn.functional.hardswish(STEEP * x) / STEEP - torch.nn.functional.gelu(x)).abs()
    assert float(apart.max()) < 0.07


def test_the_first_layer_of_fast_cifar_whitens_patches_of_the_training_images(photographs):
    from robustfw_vision.nets import STEEP

    model = robustfw.make("model", "fast-cifar:widths=[8,8]").fit(photographs.train)
    assert model == robustfw.make("model", "fast-cifar:widths=[8,8]"), "what is learnt is no option"
    net = model.build(photographs.spec)
    responses = net[:3](photographs.train.x).detach() / STEEP
    assert responses.shape[1:] == (24, 11, 11)
    half = responses[:, :12].transpose(0, 1).flatten(1).double()
    torch.testing.assert_close(responses[:, 12:], -responses[:, :12])
    covariance = torch.cov(half)
    off = covariance - covariance.diagonal().diag()
    assert float(off.abs().max()) < 1e-3
    assert float((covariance.diagonal() - 1).abs().max()) < 0.2, "but for directions that hardly occur"
    assert float(covariance.diagonal()[-6:].sub(1).abs().max()) < 1e-3


def test_fast_cifar_learns_keeps_its_first_layer_and_comes_back_from_a_run(photographs, tmp_path):
    records = list(
        robustfw.train(
            dataset=photographs,
            model="fast-cifar:widths=[8,8]",
            objective="clean:smoothing=0.1",
            epochs=8,
            batch_size=40,
            schedule="one-cycle:shape=linear",
            learning_rate=0.3,
            out=tmp_path / "run",
        )
    )
    assert records[-1].clean_accuracy > 0.9
    first = robustfw.make("model", "fast-cifar:widths=[8,8]").fit(photographs.train).build(photographs.spec)[2]
    loaded = robustfw.load(tmp_path / "run")
    assert torch.equal(loaded[2].weight, first.weight)
    assert not torch.equal(loaded[4][-1].shift, torch.zeros(8))


@pytest.mark.parametrize("low", [False, True])
def test_a_norm_of_a_fixed_scale_shifts_eight_times_as_far(low):
    from robustfw_vision.nets import STEEP, ShiftedNorm

    ours, theirs = ShiftedNorm(16), torch.nn.BatchNorm2d(16, momentum=0.4)
    torch.nn.init.normal_(ours.shift, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        theirs.weight.fill_(STEEP)
        theirs.bias.copy_(8 * STEEP * ours.shift)
    x = torch.randn(64, 16, 5, 5, generator=torch.Generator().manual_seed(0)).contiguous(
        memory_format=torch.channels_last
    )
    for training in (True, False):
        found = []
        for norm in (ours.train(training), theirs.train(training)):
            here = (3 * x + 1).to(torch.bfloat16 if low else torch.float32).requires_grad_()
            y = norm(here)
            (of_x,) = torch.autograd.grad(y.float().pow(3).sum(), here)
            found.append((y, of_x, norm.running_mean, norm.running_var))
        torch.testing.assert_close(*found, **({"rtol": 0.05, "atol": 0.2} if low else {}))
    assert [name for name, _ in ours.named_parameters()] == ["shift"]


@pytest.mark.parametrize("pool", [1, 2])
def test_a_fixed_norm_is_the_convolutions_scale_and_bias(pool):
    from robustfw_vision.nets import NormedConv2d

    torch.manual_seed(0)
    layers = NormedConv2d(3, 8, pool=pool).double()
    torch.nn.init.normal_(layers[-1].shift)
    x = torch.randn(16, 3, 7, 6, dtype=torch.float64)
    trained = layers.train()(x)
    alone = torch.nn.Sequential(*layers)  # the same layers, one by one
    torch.testing.assert_close(alone(x), trained)
    wanted = [x.requires_grad_(), *layers.parameters()]
    found = [net.eval()(x) for net in (layers, alone)]
    torch.testing.assert_close(*found)
    torch.testing.assert_close(*(torch.autograd.grad(y.pow(3).sum(), wanted) for y in found))
    heard = []
    with layers[0].register_forward_hook(lambda layer, args, y: heard.append(y)):
        torch.testing.assert_close(layers(x), found[0])
    torch.testing.assert_close(heard[0], layers[0](x))


def test_fast_cifar_needs_an_image_that_can_be_halved_so_often():
    with pytest.raises(UsageError, match="at least 9x9"):
        robustfw.make("model", "fast-cifar").build(DataSpec((3, 8, 8), 10))
    assert robustfw.make("model", "fast-cifar").build(DataSpec((1, 9, 14), 4))(torch.rand(2, 1, 9, 14)).shape == (2, 4)
