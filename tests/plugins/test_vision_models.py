"""Models for images: numbers of parameters and facts of the papers' nets."""

from __future__ import annotations

import copy

import pytest
import torch

import robustfw
from robustfw import DataSpec, UsageError
from robustfw_kernels.layers import Standardize

MNIST = DataSpec((1, 28, 28), 10, mean=(0.1307,), std=(0.3081,))
CIFAR = DataSpec((3, 32, 32), 10, mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616))


def parameters(model, spec):
    return sum(p.numel() for p in robustfw.make("model", model).build(spec).parameters())


@pytest.mark.parametrize(
    ("model", "spec", "expected"),
    [
        ("paper-mnist", MNIST, 105_506),
        ("madry-mnist", MNIST, 3_274_634),
        ("linear", MNIST, 7_850),
        ("mlp:hidden=[100]", MNIST, 79_510),
        ("resnet18-cifar", CIFAR, 11_171_146 + 2 * 512),  # with the last batch norm of He et al. 2016b
        ("paper-cifar", CIFAR, 14_991_946),
    ],
)
def test_numbers_of_parameters(model, spec, expected):
    assert parameters(model, spec) == expected


def test_paper_mnist_standardises_the_padded_image():
    """The authors' statistics: mean 0.1001 and standard deviation 0.2752 on images padded to 32x32."""
    net = robustfw.make("model", "paper-mnist").build(MNIST)
    (layer,) = [layer for layer in net.modules() if isinstance(layer, Standardize)]
    assert float(layer.mean) == pytest.approx(0.1001, abs=1e-4)
    assert float(layer.std) == pytest.approx(0.2752, abs=1e-4)


def test_the_robust_nets_of_the_paper_have_a_batch_norm_on_the_input():
    net = robustfw.make("model", "paper-mnist:input_norm=batch").build(MNIST)
    assert isinstance(net[1], torch.nn.BatchNorm2d)
    assert not net[1].affine


@pytest.mark.parametrize(
    ("size", "unseen"), [((28, 28), (2, 2)), ((24, 31), (0, 0)), ((34, 33), (2, 1)), ((36, 41), (0, 3))]
)
@pytest.mark.parametrize("input_norm", ["fixed", "batch"])
def test_what_paper_mnist_leaves_out_has_no_use(size, unseen, input_norm):
    """The net as one writes it, which reads all of the padded image, has the same values and gradients."""
    spec = DataSpec((1, *size), 10, mean=(0.1307,), std=(0.3081,))
    net = robustfw.make("model", f"paper-mnist:input_norm={input_norm}").build(spec)
    whole = copy.deepcopy(net)
    if input_norm == "fixed":
        _, standard, _, convolution, pool = whole[0]
        whole[0] = torch.nn.Sequential(torch.nn.ZeroPad2d(2), standard, convolution, pool)
    else:
        whole[2] = torch.nn.Identity()
    x = torch.rand(3, *spec.shape, generator=torch.Generator().manual_seed(0))
    for each in (net, whole):
        each.train()
    found, expected = net(x), whole(x)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    for ours, written in zip(net.buffers(), whole.buffers(), strict=True):
        torch.testing.assert_close(ours, written)
    used = []
    for each in (net, whole):
        at = x.clone().requires_grad_()
        each(at).square().sum().backward()
        used.append([*(p.grad for p in each.parameters()), at.grad])
    torch.testing.assert_close(*used, rtol=1e-3, atol=1e-4)
    read = torch.autograd.functional.jacobian(whole.eval(), x[:1]).abs().amax((0, 1, 2, 3)) > 0
    assert [size[0] - int(read.any(1).nonzero().max()) - 1, size[1] - int(read.any(0).nonzero().max()) - 1] == list(
        unseen
    )


def test_any_builder_of_torchvision():
    net = robustfw.make("model", "torchvision:builder=mobilenet_v3_small").build(DataSpec((1, 64, 64), 7))
    assert net.eval()(torch.rand(2, 1, 64, 64)).shape == (2, 7)
    with pytest.raises(UsageError, match="has no classifier 'resnet19'"):
        robustfw.make("model", "torchvision:builder=resnet19").build(CIFAR)


@pytest.mark.parametrize("model", ["paper-mnist", "paper-cifar", "resnet18-cifar"])
def test_images_that_are_too_small_are_refused(model):
    with pytest.raises(UsageError, match=f"{model} needs images of at least"):
        robustfw.make("model", model).build(DataSpec((1, 4, 4), 2))
