"""Every installed plugin, ours and strangers', against the laws of its interface."""

from __future__ import annotations

import pytest

from robustfw.plugin.registry import KINDS, Registry
from robustfw.testing import LAWS, LawBroken, check, findings

REGISTRY = Registry.installed()
ELSEWHERE = {
    "mnist", "fashion-mnist", "cifar10", "cifar100", "svhn", "image-folder", "folder", "npz", "csv", "parquet", "hf",
    "disk", "python",
}  # fmt: skip
"""Data sets whose files a machine may not have: tests/plugins/test_vision_datasets.py and tests/data have theirs."""
FOREIGN = {"timm", "transformers", "hf-hub", "robustbench", "torchscript", "exported", "onnx"}
"""Models of packages, hubs and files that a machine may not have: tests/plugins/test_foreign_*.py have those."""

VARIANTS = [
    ("uncertainty", "linf:radius=[0.1,0.2,0.3]"),
    ("uncertainty", "linf:radius=8/255"),
    ("uncertainty", "linf:radius=0"),
    ("uncertainty", "linf:radius=5"),
    ("uncertainty", "l2:radius=[0.5,1,2]"),
    ("uncertainty", "l2:radius=0"),
    ("uncertainty", "l2:radius=100"),
    ("uncertainty", "l1:radius=0"),
    ("uncertainty", "l1:radius=0.3"),
    ("uncertainty", "l1:radius=1000"),
    ("uncertainty", "l0:radius=0"),
    ("uncertainty", "l0:radius=2,unit=pixel"),
    ("uncertainty", "l0:radius=1000,limit=0.5"),
    ("uncertainty", "tangent:radius=0"),
    ("uncertainty", "tangent:radius=100,basis=(transform:moves=[shear,stretch])"),
    ("uncertainty", "tangent:basis=knn-pca"),
    ("uncertainty", "tangent:basis=(cae:hidden=[8,4],epochs=1)"),
    ("uncertainty", "tangent:basis=decoder"),
    ("uncertainty", "lp:p=1,radius=1"),
    ("uncertainty", "lp:p=4,radius=0"),
    ("uncertainty", "budget:radius=0.5,gamma=1.5"),
    ("uncertainty", "group-l2:norm=max,radius=0.4"),
    ("uncertainty", "group-l2:groups=block,radius=0"),
    ("uncertainty", "polyhedron:a=[[1,2,-1],[-1,0,1],[0,-1,-1]],b=[0.5,0,0.3],limit=1"),
    ("uncertainty", "patch:side=2,row=0,column=0"),
    ("uncertainty", "rotation-translation:angle=10,shift=0,padding=border"),
    ("uncertainty", "tabular:radius=2,integer=[0,1],step=[1,0.5],immutable=[2],one_hot=[[3,4,5]]"),
    ("uncertainty", "corruptions:kinds=[contrast],severities=[2]"),
    ("basis", "transform:moves=[thickness],step=0.5"),
    ("basis", "knn-pca:neighbors=5,dim=10"),
    ("basis", "cae:hidden=[8,4],epochs=2"),
    ("attack", "single-step:random_start=true,step=1.25"),
    ("attack", "pgd:steps=1,random_start=false,step=1"),
    ("attack", "pgd:direction=gradient"),
    ("attack", "apgd:steps=1"),
    ("attack", "apgd:steps=12,rho=0.5,random_start=false"),
    ("attack", "targeted:target=least-likely"),
    ("attack", "pgd:steps=5,momentum=0.9,result=last"),
    ("attack", "strongest:attacks=[random,(restarts:n=2,attack=(frank-wolfe:steps=5))]"),
    ("attack", "deepfool:norm=linf"),
    ("attack", "lbfgs:target=best"),
    ("attack", "targeted:target=random,attack=cw"),
    ("model", "python:robustfw_models.small:build,width=8"),
    ("model", "paper-mnist:input_norm=batch"),
    ("model", "mlp:hidden=[]"),
    ("model", "fcn:width=4,layers=1"),
    ("model", "resnet18-cifar:width=4"),
    ("model", "scattering:order=0"),
    ("model", "scattering:order=1,scales=1,angles=2,hidden=[10]"),
    ("objective", "mixed:alpha=0"),
    ("objective", "vat:iterations=3,xi=0.1"),
    ("objective", "contractive:probes=20"),
    ("objective", "noise:kind=uniform,bounds=none"),
    ("objective", "[robust,vat,(contractive:beta=0.1),operator-norm]"),
    ("objective", "[input-gradient,vat]"),
    ("dataset", "diabetes:scale=raw"),
    ("dataset", "breast-cancer:scale=raw"),
    ("dataset", "wine:scale=raw"),
    ("dataset", "few-labels:dataset=(two-moons:examples=200),labels=7,repeats=3"),
    ("objective", "tangent-prop:output=loss,basis=(cae:epochs=1)"),
    ("optimizer", "sgd:momentum=0"),
    ("optimizer", "muon:momentum=0"),
    ("schedule", "multistep:milestones=[0.1,0.2],gamma=0.5"),
]
LAWS_OF = LAWS | {kind: base.laws() for kind, base in REGISTRY.kinds.items() if kind not in LAWS}
ON_DEMAND = {
    "tangent:radius=0",
    "tangent:basis=knn-pca",
    "tangent:basis=(cae:hidden=[8,4],epochs=1)",
    "tangent:basis=decoder",
}
"""Variants of the tangent set, which takes longest of all: the set itself, and one variant, are tried at each run."""
CASES = [(e.kind, e.name) for e in REGISTRY.entries.values() if e.name not in ELSEWHERE | FOREIGN] + VARIANTS


@pytest.mark.parametrize(
    ("kind", "spec", "law"),
    [
        pytest.param(kind, spec, law, marks=[pytest.mark.slow] if spec in ON_DEMAND else [])
        for kind, spec in CASES
        for law in LAWS_OF[kind]
    ],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_law(kind, spec, law):
    law.check(REGISTRY.make(kind, spec), 0)


@pytest.mark.parametrize(("kind", "name"), list(REGISTRY.entries))
def test_every_registered_class_builds_without_options_and_comes_back_from_its_spec(kind, name):
    plugin = REGISTRY.make(kind, name)
    assert REGISTRY.make(kind, REGISTRY.spell(plugin)) == plugin
    assert REGISTRY.make(kind, REGISTRY.record(plugin)) == plugin


def test_every_interface_has_laws():
    assert set(LAWS) == set(KINDS)
    assert all(LAWS_OF[kind] for kind in REGISTRY.kinds)


def test_expected_failures_need_a_law_and_must_happen():
    good = REGISTRY.make("uncertainty", "linf")
    with pytest.raises(Exception, match="there is no law nearness"):
        list(findings(good, expected_failures={"nearness": "a typo"}))
    with pytest.raises(LawBroken, match="holds, though expected not to"):
        check(good, expected_failures={"nearest": "it is said not to be convex"})
