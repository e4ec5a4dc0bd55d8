"""Tasks beside the classification of images, each measured by one command: the number is that of a plain loop."""

from __future__ import annotations

import numpy as np
import torch
from safetensors.torch import save_file
from torch.nn.functional import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    mse_loss,
)

from .plain import FAST, binary_losses, fast_gradient_sign, write_module

NETS = """
from torch import nn


def table(outputs):
    return nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, outputs))

def pixelwise():
    return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 1))

class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(4, 8, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x, mask):
        states, _ = self.rnn(x * mask[..., None])
        weights = mask[..., None].to(states)
        return self.head((states * weights).sum(1) / weights.sum(1))
"""
SET = ("--uncertainty", "linf:radius=0.05")
RADIUS = 0.05


def nets():
    """The functions of the module, as a namespace, and the file nets.py with them."""
    write_module("nets.py", NETS)
    names: dict = {}
    exec(NETS, names)
    torch.manual_seed(0)
    return names


def rows(n=80):
    return torch.rand(n, 6, generator=torch.Generator().manual_seed(1))


def measured(number, net, model, data, task):
    save_file(net.state_dict(), "net.safetensors")
    options = f",task={task}" if task else ""
    return number(
        "--model",
        f"python:nets.py:{model}",
        "--weights",
        "net.safetensors",
        "--dataset",
        f"npz:data.npz,test=1,validation=0{options}{data}",
        *SET,
        *FAST,
    )


def test_binary_by_one_logit(number):
    net = nets()["table"](1)
    x = rows()
    y = (net(x).detach().reshape(-1) > 0).long()
    y[::7] = 1 - y[::7]
    np.savez("data.npz", x=x.numpy(), y=y.numpy())

    def right(outputs, y):
        return (outputs.reshape(-1) > 0).long() == y

    expected = fast_gradient_sign(net, x, y, losses=binary_losses, right=right, radius=RADIUS)
    assert measured(number, net, "table,outputs=1", "", "binary") == expected


def test_several_labels(number):
    net = nets()["table"](3)
    x = rows()
    y = (net(x).detach() > 0).long()
    y[::7, 0] = 1 - y[::7, 0]
    np.savez("data.npz", x=x.numpy(), y=y.numpy())

    def losses(outputs, y):
        return binary_cross_entropy_with_logits(outputs, y.float(), reduction="none").mean(1)

    def right(outputs, y):
        return ((outputs > 0).long() == y).all(1)

    expected = fast_gradient_sign(net, x, y, losses=losses, right=right, radius=RADIUS)
    assert measured(number, net, "table,outputs=3", "", "multilabel") == expected


def test_a_regression(number):
    net = nets()["table"](1)
    x = rows()
    y = net(x).detach().reshape(-1) + 0.05 * torch.randn(80, generator=torch.Generator().manual_seed(2))
    np.savez("data.npz", x=x.numpy(), y=y.numpy())

    def losses(outputs, y):
        return mse_loss(outputs.reshape(-1), y, reduction="none")

    def right(outputs, y):
        return (outputs.reshape(-1) - y).abs() <= 0.1

    expected = fast_gradient_sign(net, x, y, losses=losses, right=right, radius=RADIUS)
    assert 0 < expected["robust"] < expected["correct"] < 80
    assert measured(number, net, "table,outputs=1", "", "(regression:tolerance=0.1)") == expected


def test_a_segmentation(number):
    net = nets()["pixelwise"]()
    x = torch.rand(30, 1, 8, 8, generator=torch.Generator().manual_seed(3))
    y = net(x).argmax(1)
    y[:, :, 0] = 1 - y[:, :, 0]
    np.savez("data.npz", x=x.numpy(), y=y.numpy())

    def losses(outputs, y):
        return cross_entropy(outputs, y, reduction="none").flatten(1).mean(1)

    def right(outputs, y):
        return (outputs.argmax(1) != y).float().flatten(1).mean(1) <= 0.2

    expected = fast_gradient_sign(net, x, y, losses=losses, right=right, radius=RADIUS)
    assert 0 < expected["robust"] < 30
    assert measured(number, net, "pixelwise", "", "(segmentation:share=0.2)") == expected


def test_sequences_with_a_mask(number):
    net = nets()["Recurrent"]()
    generator = torch.Generator().manual_seed(4)
    x = torch.rand(60, 9, 4, generator=generator)
    lengths = torch.randint(2, 10, (60,), generator=generator)
    mask = torch.arange(9) < lengths[:, None]
    y = net(x, mask).argmax(1)
    y[::5] = (y[::5] + 1) % 3
    y[-3:] = torch.arange(3)
    np.savez("data.npz", x=x.numpy(), y=y.numpy(), valid=mask.numpy())

    # padded steps are not perturbed
    expected = fast_gradient_sign(lambda x: net(x, mask), x, y, radius=RADIUS * mask[..., None])
    assert measured(number, net, "Recurrent", ",mask=valid,range=[0,1]", "") == expected
