"""Who may import whom: the table of the architecture, as data."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
INTERFACES = "attack dataset model objective uncertainty"

# A module of robustfw, and what it may import at run time; third-party packages stand under their own names.
TABLE = {
    "attack": "",
    "model": "",
    "objective": "attrs errors losses",
    "dataset": "",
    "dataspec": "attrs",
    "uncertainty": "attrs",
    "errors": "",
    "interface": "",
    "hookspecs": "pluggy",
    "options": "attrs cattrs errors",
    "optim": "attrs hookspecs orthogonal torch",
    "orthogonal": "torch",
    "registry": f"attrs errors hookspecs interface optim options pluggy {INTERFACES}",
    "recipe": f"attrs errors optim options {INTERFACES}",
    "losses": "torch",
    "modes": "torch",
    "regions": "attrs errors regions torch",
    "splits": "attrs dataspec errors losses torch",
    "problem": "attrs errors losses regions torch",
    "inner": "attack errors losses modes problem regions torch uncertainty",
    "torchrun": "attrs errors",
    "failures": "errors",
    "locks": "attrs errors",
    "manifests": "errors files",
    "checkpoints": "errors files safetensors torch",
    "parallel": "errors torch torchrun",
    "records": "attrs",
    "hardware": "torch",
    "state": "attrs problem recipe torch",
    "overfitting": "attack attrs inner losses problem regions torch uncertainty",
    "collection": "attrs errors evaluation files inner locks registry safetensors splits torch uncertainty",
    "results": "robustfw attrs errors files safetensors",
    "evaluation": f"attrs errors evaluation inner losses problem regions splits torch {INTERFACES}",
    "analysis": "analysis attrs dataspec errors files inner regions safetensors splits torch",
    "engine": (
        "attrs errors evaluation inner losses modes objective overfitting parallel problem recipe records "
        "splits state torch uncertainty"
    ),
    "tuning": "attrs engine errors hardware inner parallel recipe splits state torch",
    "files": "",
    "seeds": "attrs",
    "runs": "attrs checkpoints errors files locks manifests records state torch",
    "session": (
        "robustfw attrs checkpoints dataset dataspec engine errors failures hardware locks model options parallel "
        "recipe records registry runs splits state torch tuning"
    ),
    "api": "evaluation inner losses problem recipe records registry runs session splits torch",
    "report": (
        "robustfw attrs cattrs errors jinja2 markupsafe matplotlib numpy options registry report safetensors seeds"
    ),
    "reproduction": "attrs errors files hardware options reproduction results seeds",
    "__main__": "cli",
    "console": "records rich",
    "cli": (
        "robustfw analysis attrs cli click collection console engine errors evaluation failures files hardware locks "
        "losses options parallel recipe registry report reproduction results runs session testing torchrun"
    ),
    "testing": (
        "attrs dataspec errors hypothesis inner interface losses optim problem pytest regions registry "
        f"safetensors session splits testing torch {INTERFACES}"
    ),
    "": (
        "api attack dataset dataspec errors hookspecs interface model objective options problem records "
        "regions splits uncertainty"
    ),
}
ALLOWED = {module: {"" if word == "robustfw" else word for word in words.split()} for module, words in TABLE.items()}


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
    public = {"", "regions", "splits", "losses", "errors", "modes", "hardware"}
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
