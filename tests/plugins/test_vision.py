"""Models and data sets: facts of the papers' nets, and the real files where there are some."""

from __future__ import annotations

import copy
import itertools

import attrs
import pytest
import torch
from PIL import Image

import robustfw
from robustfw import DataError, DataSpec, UsageError
from robustfw.data.splits import LoadedSplit, Splits, TensorSplit
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


def test_digits_are_all_there(tmp_path):
    splits = robustfw.make("dataset", "digits").load(tmp_path)
    assert len(splits.train) + len(splits.validation) + len(splits.test) == 1797
    assert splits.spec.shape == (1, 8, 8)
    assert not list(tmp_path.iterdir())


def test_the_validation_share(tmp_path):
    splits = robustfw.make("dataset", "two-moons:examples=100,validation=0.25").load(tmp_path)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (60, 20, 20)
    assert len(robustfw.make("dataset", "digits:validation=0").load(tmp_path).validation) == 0


def test_crops_are_shifted_and_mirrored_copies():
    from robustfw_vision.augment import Crop

    x = torch.rand(200, 1, 8, 8)
    sides = []
    for epoch in range(4):
        still = Crop(pad=0, flip=True)(x, torch.Generator().manual_seed(epoch), epoch)
        mirrored = (still == x.flip(3)).flatten(1).all(1)
        assert (mirrored | (still == x).flatten(1).all(1)).all()
        sides.append(mirrored)
    assert 60 < int(sides[0].sum()) < 140
    assert all(torch.equal(one, ~next) for one, next in itertools.pairwise(sides)), "each image, in every epoch"
    moved = Crop(pad=2, flip=False)(x, torch.Generator().manual_seed(0), 1)
    centre = torch.nn.functional.pad(x, [2] * 4, mode="reflect")
    windows = torch.stack([centre[:, :, i : i + 8, j : j + 8] for i in range(5) for j in range(5)])
    assert (windows == moved).flatten(2).all(2).any(0).all()


def test_a_hole_is_a_square_of_one_colour_anywhere():
    from robustfw_vision.augment import Cutout

    x = torch.rand(400, 2, 9, 7)
    cut = Cutout(4, (2.0, 3.0))(x, torch.Generator().manual_seed(0), 0)
    colour = torch.tensor([2.0, 3.0])[:, None, None]
    hole = (cut == colour).all(1)
    assert torch.equal(cut, torch.where(hole[:, None], colour, x)), "elsewhere nothing changes"
    rows, columns = hole.any(2).sum(1), hole.any(1).sum(1)
    assert torch.equal(hole.flatten(1).sum(1), rows * columns), "a rectangle"
    assert int(rows.max()) == int(columns.max()) == 4
    assert int(rows.min()) == int(columns.min()) == 2, "half of it is inside"
    assert hole.any(0).all(), "no pixel is safe"


def test_augmentations_of_cifar10_are_options():
    from robustfw_vision.datasets import _augment

    x = torch.rand(8, 3, 32, 32)
    assert _augment("none", side=32) is None
    both = _augment("crop", side=32, shift=0, cutout=32, fill=(0.1, 0.2, 0.3))
    still = both(x, torch.Generator().manual_seed(0), 0)
    assert still.shape == x.shape
    assert (still[:, :, 16, 16] == torch.tensor([0.1, 0.2, 0.3])).all(), (
        "a hole as large as the image covers its centre"
    )
    with pytest.raises(robustfw.UsageError, match="cutout"):
        robustfw.make("dataset", "cifar10:cutout=33")


def test_few_labels_are_stratified_repeated_and_the_seeds(tmp_path):
    whole = robustfw.make("dataset", "digits").load(tmp_path)
    few = [robustfw.make("dataset", f"few-labels:labels=23,seed={seed}").load(tmp_path) for seed in (0, 0, 1)]
    assert few[0].fingerprint() == few[1].fingerprint() != few[2].fingerprint()
    for splits in few:
        splits.check()
        x, y, n = splits.train.x, splits.train.y, len(whole.train)
        assert torch.equal(x[:n], whole.train.x)
        labelled = y[:n] >= 0
        assert torch.equal(y[:n][labelled], whole.train.y[labelled])
        assert sorted(y[:n][labelled].bincount().tolist()) == [2] * 7 + [3] * 3
        assert float((y >= 0).float().mean()) == pytest.approx(0.2, abs=0.01)
        assert len(torch.cat([x[:n], x[n:]]).flatten(1).unique(dim=0)) == len(whole.train.x.flatten(1).unique(dim=0))
        assert torch.equal(splits.validation.y, whole.validation.y)
        assert torch.equal(splits.test.y, whole.test.y)


def test_few_labels_repeated_as_often_as_one_says(tmp_path):
    once, thrice = (
        robustfw.make("dataset", f"few-labels:labels=50,repeats={repeats}").load(tmp_path).train for repeats in (1, 3)
    )
    assert (len(thrice) - len(once), int((once.y >= 0).sum()), int((thrice.y >= 0).sum())) == (100, 50, 150)
    every = robustfw.make("dataset", "few-labels:dataset=(two-moons:examples=100),labels=60").load(tmp_path)
    assert int((every.train.y >= 0).sum()) == 60


def test_more_labels_than_there_are(tmp_path):
    with pytest.raises(DataError, match=r"5000 labels would be 500 of class 0, of which there are .*: keep fewer"):
        robustfw.make("dataset", "few-labels:labels=5000").load(tmp_path)


def test_only_training_may_lack_labels(tmp_path):
    splits = robustfw.make("dataset", "few-labels").load(tmp_path)
    with pytest.raises(DataError, match="validation: some examples have no label"):
        attrs.evolve(splits, validation=splits.train).check()
    net = robustfw.make("model", "linear").build(splits.spec)
    with pytest.raises(DataError, match=r"without a label .* cannot be evaluated"):
        robustfw.evaluate(net, splits.train, uncertainty="l2", attack="single-step", classes=10)


def test_image_folders_are_read_by_name(tmp_path):
    for part, count in (("train", 6), ("test", 2)):
        for label, colour in (("blue", (0, 0, 255)), ("red", (255, 0, 0))):
            folder = tmp_path / "pets" / part / label
            folder.mkdir(parents=True)
            for i in range(count):
                Image.new("RGB", (12, 10), colour).save(folder / f"{i}.png")
    splits = robustfw.make("dataset", "image-folder:path=pets,size=8,workers=0,validation=0.25").load(tmp_path)
    splits.check()
    assert isinstance(splits.train, LoadedSplit)
    assert splits.spec.labels == ("blue", "red")
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (9, 3, 4)
    x, y = next(splits.test.iterate(4))
    assert x.shape == (4, 3, 8, 8)
    assert x[y == 1][:, 0].min() == 1
    assert (
        splits.fingerprint()
        == robustfw.make("dataset", "image-folder:path=pets,size=8,workers=0,validation=0.25")
        .load(tmp_path)
        .fingerprint()
    )


def test_labels_of_files_stay(tmp_path):
    for part in ("train", "test"):
        (tmp_path / part / "one").mkdir(parents=True)
        for i in range(4):
            Image.new("RGB", (8, 8)).save(tmp_path / part / "one" / f"{i}.png")
    spec = f"few-labels:labels=1,dataset=(image-folder:path={tmp_path},size=8,workers=0)"
    with pytest.raises(DataError, match="from examples in memory only"):
        robustfw.make("dataset", spec).load(tmp_path)


def test_folders_that_are_not_there(tmp_path):
    with pytest.raises(DataError, match="image-folder reads train/<class>/ and test/<class>/"):
        robustfw.make("dataset", "image-folder:path=nowhere").load(tmp_path)


def test_mnist_is_the_real_one(data_dir):
    splits = robustfw.make("dataset", "mnist").load(data_dir)
    splits.check()
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (57_000, 3_000, 10_000)
    assert splits.test.y[:5].tolist() == [7, 2, 1, 0, 4]
    assert isinstance(splits.train, TensorSplit)
    assert splits.train.x.dtype == torch.uint8
    pixels = torch.cat([splits.train.x, splits.validation.x]).float() / 255
    assert float(pixels.mean()) == pytest.approx(0.1307, abs=1e-4)
    assert float(pixels.std()) == pytest.approx(0.3081, abs=1e-4)


def test_cifar10_is_the_real_one(data_dir):
    splits = robustfw.make("dataset", "cifar10").load(data_dir)
    splits.check()
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (47_500, 2_500, 10_000)
    assert splits.spec.labels[3] == "cat"
    assert splits.test.y[:4].tolist() == [3, 8, 8, 0]


@pytest.mark.parametrize("content", [b"", b"\0\0\x08\x03\0\0", b"no images" * 1000, "half"])
def test_broken_files_are_told_from_missing_ones(data_dir, tmp_path, content):
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for file in (data_dir / "MNIST" / "raw").iterdir():
        (folder / file.name).symlink_to(file)
    broken = folder / "train-images-idx3-ubyte"
    if content == "half":
        content = broken.read_bytes()[: broken.stat().st_size // 2]
    broken.unlink()
    broken.write_bytes(content)
    with pytest.raises(DataError, match=rf"the files of MNIST in {tmp_path} cannot be read \(.*\): remove them"):
        robustfw.make("dataset", "mnist").load(tmp_path)


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_the_laws_hold_on_the_real_files(data_dir, name):
    from robustfw.testing import check

    check(robustfw.make("dataset", name))


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
