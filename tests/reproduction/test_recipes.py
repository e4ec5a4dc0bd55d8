"""Recipes: those that ship can be run, and what is wrong in one is said in a sentence."""

from __future__ import annotations

import tomllib
import types
from pathlib import Path

import pytest

from robustfw import UsageError
from robustfw.plugin import registry
from robustfw.reproduction._experiment import KINDS, Experiment, merge_parts
from robustfw.reproduction._plan import Plan
from robustfw.reproduction._recipes import find_recipe, find_recipes
from robustfw.training.recipe import Recipe

TINY = (Path(__file__).parent / "tiny.toml").read_text()
SHIPPED = find_recipes(registry.installed().modules())


@pytest.mark.parametrize("name", SHIPPED)
def test_what_ships_can_be_made(name):
    recipe, known = SHIPPED[name], registry.installed()
    assert recipe.about
    if not recipe.is_experiment:
        Recipe.read(tomllib.loads(recipe.text), known)
        return
    experiment = Experiment.read(recipe.text, name)
    for mode in experiment.modes:
        for net in experiment.nets_of(mode):
            assert net in experiment.labels
            for budget in experiment.budgets:
                Recipe.read(experiment.parts(mode, net, budget), known)
    for spec in (*experiment.transfer.uncertainties, *(each.uncertainty for each in experiment.sweeps)):
        known.make("uncertainty", spec)
    assert sum(each.claim for each in experiment.sweeps) == 1
    claims = experiment.claims
    assert set(claims["clean"]) == set(claims["transfer"]) == set(experiment.nets)


def test_the_papers_recipe_has_the_papers_numbers():
    experiment = Experiment.read(SHIPPED["mnist"].text, "mnist")
    assert experiment.claims["clean"] == {"baseline": 99.09, "l1": 99.16, "l2": 99.28, "linf": 99.33}
    assert experiment.claims["transfer"] == {"baseline": 0, "l1": 33.83, "l2": 76.55, "linf": 79.96}
    radii = {net: experiment.nets[net]["uncertainty"] for net in experiment.robust_nets()}
    scale = 0.2752  # the standard deviation of the padded images
    assert radii == {
        "l1": f"l1:radius={2 * scale:g}", "l2": f"l2:radius={2 * scale:g}", "linf": f"linf:radius={0.2 * scale:.3f}"
    }  # fmt: skip
    faithful = experiment.parts("faithful", "linf", "paper")
    assert faithful["train"] | {"epochs": 120, "ascent_mode": "train", "learning_rate": 0.01} == faithful["train"]
    assert (faithful["model"], faithful["dataset"]) == ("paper-mnist:input_norm=batch", "mnist:box=false")
    exact = {experiment.parts("exact", net, "paper")["model"] for net in experiment.nets}
    assert exact == {"paper-mnist"}


def test_the_recipe_of_the_second_experiment():
    experiment = Experiment.read(SHIPPED["cifar10"].text, "cifar10")
    assert experiment.claims["clean"] == {"baseline": 90.79, "l1": 91.11, "l2": 91.04, "linf": 91.36}
    assert experiment.claims["transfer"] == {"baseline": 0, "l1": 56.31, "l2": 59.92, "linf": 65.01}
    quick, paper = (experiment.parts("exact", "linf", budget) for budget in ("quick", "paper"))
    assert (quick["model"], paper["model"]) == ("fast-cifar", "paper-cifar")
    assert paper["dataset"] == "cifar10:augment=none,validation=0.02"
    assert experiment.parts("faithful", "l2", "paper")["dataset"] == "cifar10:augment=none,box=false,validation=0.02"
    rates = registry.installed().make("schedule", paper["train"]["schedule"])
    assert [round(300 * share) for share in rates.milestones] == list(range(25, 300, 25)), "halved every 25 epochs"


def test_another_model_is_everybodys_but_for_nets_that_name_one():
    experiment = Experiment.read(SHIPPED["cifar10"].text, "cifar10").with_model("resnet18-cifar")
    for budget in experiment.budgets:
        assert experiment.parts("exact", "l1", budget)["model"] == "resnet18-cifar"
    mnist = Experiment.read(SHIPPED["mnist"].text, "mnist").with_model("madry-mnist")
    assert mnist.parts("exact", "l1", "quick")["model"] == "madry-mnist"
    assert mnist.parts("faithful", "l1", "quick")["model"] == "paper-mnist:input_norm=batch"


def test_modes_on_demand_are_run_where_they_are_asked_for():
    experiment = Experiment.read(SHIPPED["cifar10"].text, "cifar10")
    assert experiment.modes_of("full") == ("exact",)
    assert experiment.modes_of("full", ("faithful",)) == ("faithful",)
    assert experiment.modes_of("full", ("faithful", "exact")) == ("exact", "faithful")


def test_a_recipe_says_how_many_commands_run_at_a_time():
    assert {name: Experiment.read(SHIPPED[name].text, name).processes for name in ("mnist", "cifar10")} == {
        "mnist": 2,
        "cifar10": 2,
    }
    for wrong in ("0", "true", "1.5", '"2"'):
        text = SHIPPED["cifar10"].text.replace("processes = 2 ", f"processes = {wrong} ")
        with pytest.raises(UsageError, match="cifar10: processes is a whole number from 1 on, not "):
            Experiment.read(text, "cifar10")


def test_a_budget_may_have_modes_of_its_own():
    experiment = Experiment.read(SHIPPED["mnist"].text, "mnist")
    assert experiment.modes_of("full") == ("exact", "faithful")
    assert experiment.modes_of("quick") == ("exact",)
    assert experiment.modes_of("quick", ("faithful",)) == ("faithful",)
    other = Experiment.read(SHIPPED["mnist"].text.replace('modes = ["exact"]', 'modes = ["exat"]'), "mnist")
    with pytest.raises(UsageError, match="no mode 'exat'; did you mean exact"):
        other.modes_of("quick")


def test_without_its_box_an_l1_step_is_one_pixel():
    import torch

    made = registry.installed().make("uncertainty", "l1:radius=0.5504")
    x = torch.rand(20, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    g = torch.randn(20, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    assert ((made.at(x).support(g) != 0).flatten(1).sum(1) == 1).all()


def test_later_layers_win_key_by_key():
    layers = [{"a": 1, "train": {"x": 1, "y": 1}}, {"b": 2, "train": {"y": 2}}, {"a": 3}]
    assert merge_parts(layers) == {"a": 3, "b": 2, "train": {"x": 1, "y": 2}}


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('title = "Digits', "title = Digits", "is not TOML"),
        ("[nets.", "[net.", r"has no table \[nets.…\]: it is one for robustfw train"),
        ("[transfer]", "[transfers]", "unknown key 'transfers'; did you mean transfer"),
        ("[transfer]", "[comparison]\nimages = 3\n\n[transfer]", "comparison has an unknown key 'images'"),
        ("radii =", "radiuses =", "sweeps has an unknown key 'radiuses'"),
        ("baseline = \"baseline\"\n\n[common]", "[common]", "lacks baseline"),
        ("[modes.exact]\nabout = \"as it should be\"\n", "[modes.exact]\n", "modes.exact lacks about"),
        ("[modes.exact]\nabout = \"as it should be\"\n", "", None),
        ('baseline = "baseline"\n\n', 'baseline = "baseline"\nweights = 1\n', "weights are best or last, not 1"),
    ],
)  # fmt: skip
def test_a_recipe_that_is_wrong(old, new, words):
    assert old in TINY
    if words is None:
        assert list(Experiment.read(TINY.replace(old, new), "it").modes) == ["faithful"]
        return
    with pytest.raises(UsageError, match=words):
        Experiment.read(TINY.replace(old, new), "it")


def test_a_budget_that_is_none():
    with pytest.raises(UsageError, match="no budget named 'quik'; did you mean quick"):
        Experiment.read(TINY, "it").parts("exact", "l2", "quik")


def test_recipes_are_found_in_packages(tmp_path, monkeypatch):
    package = tmp_path / "somebody"
    (package / "recipes").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "recipes" / "mine.toml").write_text("# Mine\ndataset = 'digits'\n")
    (package / "recipes" / "notes.txt").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    import somebody

    found = find_recipes([somebody, types.ModuleType("not_a_package"), object()])
    assert {name: (r.about, r.package, r.is_experiment) for name, r in found.items()} == {
        "mine": ("Mine", "somebody", False)
    }
    with pytest.raises(UsageError, match="no recipe named 'mime'; did you mean mine"):
        find_recipe("mime", [somebody])


def test_every_flag_of_a_plan_comes_from_the_recipe():
    plan = Plan(Experiment.read(TINY, "it"), ("exact", "faithful"), "quick", 2, data_dir="d")
    jobs = plan.jobs()
    commands = [job.command for job in jobs]
    assert len(set(commands)) == len(commands)
    assert sum(job.makes == "run" for job in jobs) == 2 * (3 + 4)
    made = set()
    for job in jobs:
        assert made.issuperset(job.needs)
        assert "--data-dir" in job.arguments
        made.add(job.at)
    (faithful,) = (job for job in jobs if job.at == "runs/faithful-linf-1" and job.makes == "run")
    flags = dict(zip(faithful.arguments[1::2], faithful.arguments[2::2], strict=False))
    assert (flags["--ascent-mode"], flags["--seed"], flags["--epochs"], flags["--dataset"]) == (
        "train",
        "1",
        "2",
        "digits",
    )
    assert set(flags) >= {f"--{kind}" for kind in KINDS if kind != "objective"}


def test_the_weights_of_the_last_epoch_are_those_of_every_measurement():
    experiment = Experiment.read(TINY.replace("[common]", 'weights = "last"\n[common]', 1), "it")
    for job in Plan(experiment, ("exact",), "quick", 1).jobs():
        assert job.makes == "run" or "--weights last" in job.command, job.command


def test_a_sum_of_objectives_is_a_flag_for_each_part():
    experiment = Experiment.read(TINY.replace('objective = "clean"', 'objective = ["clean", "vat"]', 1), "it")
    commands = [job.command for job in Plan(experiment, ("exact",), "quick", 1, data_dir="d").jobs()]
    assert any("--objective clean --objective vat" in command for command in commands)


def test_a_small_budget_shrinks_what_is_no_part_of_the_papers_table():
    experiment = Experiment.read(SHIPPED["cifar10"].text, "cifar10")
    jobs = Plan(experiment, ("exact",), "quick", 1).jobs()
    crafted = {job.at: job.command for job in jobs if job.makes == "collection"}
    source = crafted.pop("transfer/exact-baseline-0")
    assert "--examples" not in source
    assert len(crafted) == 3
    assert all("--examples 600" in command for command in crafted.values())
    compared = [job.command for job in jobs if job.command.startswith("robustfw compare")]
    assert len(compared) == 3
    assert all("--attack single-step --examples 2000" in command for command in compared)
    audited = [job.command for job in jobs if job.command.startswith("robustfw audit")]
    assert len(audited) == 4
    assert all("--examples 12" in command for command in audited)
