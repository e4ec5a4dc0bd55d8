"""Who may import whom: the table of the architecture, as data."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
INTERFACES = "attack dataset model objective uncertainty"

# A module of robustfw, and what it may import at run time; third-party packages stand under their own names.
TABLE = {
    "errors": "",
    "interface": "",
    "names": "",
    "ratios": "",
    "torchrun": "attrs errors",
    "failures": "errors",
    "locks": "attrs errors",
    "manifests": "errors files",
    "checkpoints": "errors files safetensors torch",
    "files": "",
    "hookspecs": "pluggy",
    "attack": "",
    "model": "",
    "objective": "attrs errors",
    "dataset": "errors",
    "uncertainty": "attrs",
    "stateful": "attrs",
    "losses": "errors torch",
    "loss": "attrs hookspecs losses",
    "task": "attrs errors hookspecs loss losses torch",
    "dataspec": "attrs task",
    "orthogonal": "torch",
    "optim": "attrs hookspecs orthogonal torch",
    "update": "attrs hookspecs",
    "sampler": "attrs errors hookspecs torch",
    "averaging": "attrs hookspecs torch",
    "grammar": "errors ratios",
    "arrays": "errors numpy safetensors torch",
    "option_types": "arrays ratios",
    "options": "arrays attrs cattrs errors grammar names option_types ratios",
    "entries": "attrs errors interface",
    "loggers": "errors",
    "registry": (
        "arrays attrs averaging entries errors hookspecs interface loss names optim options pluggy sampler task update "
        f"{INTERFACES}"
    ),
    "recipe": f"attrs averaging errors loss optim options sampler update {INTERFACES}",
    "modes": "torch",
    "parallel": "errors torch torchrun",
    "hardware": "torch",
    "randomness": "torch",
    "seeds": "attrs",
    "bounds": "errors torch",
    "regions": "attrs errors regions torch",
    "splits": "attrs bounds dataspec errors losses task torch",
    "threat": "attrs bounds errors regions torch uncertainty",
    "problem": "attrs errors losses regions torch",
    "adversary": "attack attrs errors losses problem regions task threat torch",
    "inner": "adversary errors modes problem torch",
    "batch": "adversary attack attrs bounds inner losses problem regions task threat torch uncertainty",
    "overfitting": "adversary attrs inner regions task torch",
    "evaluation": (
        "adversary attack attrs bounds errors evaluation inner losses problem randomness regions splits task "
        "threat torch uncertainty"
    ),
    "records": "attrs",
    "state": "attrs errors problem randomness recipe stateful torch",
    "engine": (
        "adversary attrs batch errors evaluation modes overfitting parallel problem randomness recipe records splits "
        "state threat torch"
    ),
    "tuning": "adversary attrs batch engine errors hardware parallel randomness recipe splits state threat torch",
    "runs": "attrs checkpoints errors files locks manifests records state torch",
    "results": (
        "robustfw attrs cattrs errors files hookspecs interface matplotlib numpy options registry results safetensors "
        "seeds testing"
    ),
    "collection": "attrs bounds errors evaluation files locks registry safetensors splits threat torch",
    "partial": "attrs evaluation files problem safetensors torch",
    "analysis": "analysis attrs dataspec errors files inner regions safetensors splits torch",
    "session": (
        "robustfw adversary attrs checkpoints dataset dataspec engine errors evaluation failures hardware inner locks "
        "loggers model modes options parallel recipe records registry runs splits state stateful threat torch tuning"
    ),
    "api": (
        "adversary attrs bounds errors evaluation inner losses problem recipe records registry runs session splits "
        "task threat torch"
    ),
    "report": "robustfw attrs errors files jinja2 markupsafe matplotlib numpy options report results safetensors",
    "reproduction": "attrs errors files hardware options reproduction results seeds",
    "__main__": "cli",
    "console": "attrs errors files records results rich",
    "cli": (
        "robustfw analysis attrs cli click collection console dataset errors evaluation failures files hardware locks "
        "names options partial recipe registry report reproduction results runs safetensors session splits testing "
        "threat torchrun"
    ),
    "testing": (
        "adversary arrays attrs averaging batch bounds dataspec engine errors hypothesis inner interface loss losses "
        "optim problem pytest randomness recipe regions registry safetensors sampler session splits state stateful "
        f"task testing threat torch update {INTERFACES}"
    ),
    "": (
        "attack averaging dataset dataspec errors hookspecs interface loss model objective optim options records "
        "sampler stateful task uncertainty update"
    ),
}
ALLOWED = {module: {"" if word == "robustfw" else word for word in words.split()} for module, words in TABLE.items()}


def test_arrows_go_one_way():
    """No module is allowed what, directly or not, is allowed it; the package itself is its version and lazy names."""
    own = {module: {other for other in words if other in ALLOWED} - {module, ""} for module, words in ALLOWED.items()}
    assert len(tuple(graphlib.TopologicalSorter(own).static_order())) == len(ALLOWED)


def run_time_imports(path: Path) -> set[str]:
    """Modules that a file imports when it runs: not those under TYPE_CHECKING."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom) and node.module:
            found.update(
                f"robustfw.{alias.name}" if node.module == "robustfw" and is_module(alias.name) else node.module
                for alias in node.names
            )
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text()))
    return found


def is_module(name: str) -> bool:
    return (ROOT / "robustfw" / f"{name}.py").exists() or (ROOT / "robustfw" / name).is_dir()


def short(module: str) -> str | None:
    """A module as the table names it; None for the standard library."""
    top, _, rest = module.partition(".")
    if top == "robustfw":
        return rest.partition(".")[0]
    return None if top in sys.stdlib_module_names else top


@pytest.mark.parametrize("path", sorted((ROOT / "robustfw").rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_core_imports_only_what_the_table_allows(path):
    owner = path.relative_to(ROOT / "robustfw").parts[0].removesuffix(".py").replace("__init__", "")
    imported = {short(module) for module in run_time_imports(path)} - {None}
    assert imported <= ALLOWED[owner], f"{owner} may not import {imported - ALLOWED[owner]}"


@pytest.mark.parametrize("path", sorted((ROOT / "plugins").glob("robustfw_*/**/*.py")), ids=lambda p: p.stem)
def test_plugins_import_no_other_plugin_and_no_inside_of_the_engine(path):
    own = path.relative_to(ROOT / "plugins").parts[0]
    public = {"", "regions", "splits", "losses", "errors", "modes", "hardware", "options", "task", "dataset"}
    public |= {"testing", "cli", "results"}  # a kind brings its own laws; a command measures runs as ours do
    for module in run_time_imports(path):
        if module.startswith("robustfw_"):
            assert module.partition(".")[0] == own
        elif module.partition(".")[0] == "robustfw":
            assert short(module) in public


INTERFACES = {"few_labels.py": {"robustfw_manifold"}}
"""Of plugins that brought a kind of their own, which a benchmark implements."""


def test_benchmarks_name_plugins_through_the_registry():
    for path in (ROOT / "benchmarks").glob("*.py"):
        plugins = {module for module in run_time_imports(path) if module.startswith("robustfw_")}
        assert plugins <= INTERFACES.get(path.name, set()), path


@pytest.mark.parametrize(
    "statement",
    [
        "import robustfw",
        "import robustfw.registry; robustfw.registry.Registry.installed()",
        "from robustfw.cli import main; main(['plugins', '--json'])",
        "from robustfw.cli import main; main(['plugins'])",
        "from robustfw.cli import main; main(['show', 'attack', 'pgd'])",
        "from robustfw.cli import main; main(['--help'])",
        "from robustfw.results.kinds import kinds_by_name; kinds_by_name()",
        "from robustfw import console; console.show('audit', {'uncertainty': 'u', 'verdict': 'sound', 'lines': []})",
    ],
)
def test_no_torch_before_it_is_needed(statement):
    code = f"import sys, atexit; atexit.register(lambda: print('torch' in sys.modules, file=sys.stderr)); {statement}"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert answer.stderr.splitlines()[-1] == "False"


def test_torchvision_only_where_it_is_read_or_built():
    """It brings torch's compiler, and takes as long to import as torch itself."""
    statement = (
        "from robustfw import registry; parts = registry.installed(); "
        "splits = parts.make('dataset', 'digits').load(None); parts.make('model', 'mlp').build(splits.spec)"
    )
    code = f"import sys; {statement}; print('torch' in sys.modules, 'torchvision' in sys.modules)"
    # in a process of its own, which says what it has imported: this one has imported both
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["True", "False"]


def test_the_table_names_every_module():
    files = (path.relative_to(ROOT / "robustfw") for path in (ROOT / "robustfw").rglob("*.py"))
    assert {file.parts[0].removesuffix(".py").replace("__init__", "") for file in files} == set(ALLOWED)
