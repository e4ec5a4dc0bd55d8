"""Who may import whom: the table of the architecture, as data."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# A module of robustfw, and what it may import at run time; third-party packages stand under their own names.
TABLE = {
    "errors": "",
    "records": "attrs",
    "attack": "",
    "hookspecs": "pluggy",
    "version": "",
    "uncertainty": "attrs",
    "interface": "",
    "model": "",
    "optim": "",
    "stateful": "attrs",
    "dataset": "errors",
    "losses": "errors torch",
    "objective": "attrs errors",
    "regions": "attrs errors regions torch",
    "averaging": "attrs hookspecs torch",
    "sampler": "attrs errors hookspecs torch",
    "update": "attrs hookspecs",
    "loss": "attrs hookspecs losses",
    "task": "attrs errors hookspecs interop loss losses task torch",
    "data": "attrs data errors losses numpy task torch",
    "plugin": (
        "attack attrs averaging cattrs dataset errors hookspecs interface loss model numpy objective optim pluggy "
        "plugin safetensors sampler task torch uncertainty update"
    ),
    "inner": "attack attrs data errors inner interop losses regions task torch uncertainty",
    "interop": "attrs errors interop safetensors torch",
    "evaluation": "attack attrs data errors evaluation inner losses regions task torch uncertainty",
    "storage": "PIL attrs data errors evaluation inner numpy plugin records safetensors storage torch",
    "analysis": "analysis attrs data errors inner regions safetensors storage torch",
    "training": (
        "attack attrs averaging data dataset errors evaluation hookspecs inner interop loss losses model objective "
        "optim plugin records regions sampler stateful storage task torch training uncertainty update version"
    ),
    "adoption": (
        "adoption attrs data dataset errors evaluation inner interop model plugin storage task torch training "
        "uncertainty"
    ),
    "api": ("api attrs data dataset errors evaluation inner loss losses plugin records storage task torch training"),
    "testing": (
        "attack attrs averaging data dataset errors inner interface loss losses model objective optim plugin "
        "pytest regions safetensors sampler stateful task testing torch training uncertainty update"
    ),
    "results": (
        "attrs cattrs errors hookspecs interface matplotlib numpy plugin results safetensors scipy storage "
        "testing version"
    ),
    "console": "attrs console errors records results rich storage",
    "report": "attrs errors jinja2 markupsafe matplotlib numpy report results safetensors storage version",
    "reproduction": "attrs errors plugin reproduction results storage training",
    "cli": (
        "adoption analysis attrs cli click console data dataset errors evaluation inner plugin report reproduction "
        "results safetensors storage testing training version"
    ),
    "__main__": "cli",
    "": (
        "attack averaging data dataset errors hookspecs interface loss model objective optim plugin records "
        "sampler stateful task uncertainty update version"
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


def is_private(module: str) -> bool:
    return any(part.startswith("_") for part in module.split("."))


@pytest.mark.parametrize("path", sorted((ROOT / "plugins").glob("robustfw_*/**/*.py")), ids=lambda p: p.stem)
def test_plugins_import_no_other_plugin_and_no_private_module(path):
    own = path.relative_to(ROOT / "plugins").parts[0]
    for module in run_time_imports(path):
        if module.startswith("robustfw_"):
            assert module.partition(".")[0] in {own, "robustfw_kernels"}  # which is no plugin but a library for nets
        elif module.partition(".")[0] == "robustfw":
            assert not is_private(module), module


INTERFACES = {"few_labels.py": {"robustfw_manifold"}}
"""Plugins with a kind of their own, which a benchmark implements."""


def test_benchmarks_name_plugins_through_the_registry():
    for path in (ROOT / "benchmarks").glob("*.py"):
        plugins = {module for module in run_time_imports(path) if module.startswith("robustfw_")}
        assert plugins <= INTERFACES.get(path.name, set()), path


@pytest.mark.parametrize(
    "statement",
    [
        "import robustfw",
        "import robustfw.plugin.registry; robustfw.plugin.registry.Registry.installed()",
        "from robustfw.cli import main; main(['plugins', '--json'])",
        "from robustfw.cli import main; main(['plugins'])",
        "from robustfw.cli import main; main(['show', 'attack', 'pgd'])",
        "from robustfw.cli import main; main(['--help'])",
        "from robustfw.results._registered_kinds import kinds_by_name; kinds_by_name()",
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
        "from robustfw.plugin import registry; parts = registry.installed(); "
        "splits = parts.make('dataset', 'digits').load(None); parts.make('model', 'mlp').build(splits.spec)"
    )
    code = f"import sys; {statement}; print('torch' in sys.modules, 'torchvision' in sys.modules)"
    # in a process of its own, which says what it has imported: this one has imported both
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["True", "False"]


def test_the_table_names_every_module():
    files = (path.relative_to(ROOT / "robustfw") for path in (ROOT / "robustfw").rglob("*.py"))
    assert {file.parts[0].removesuffix(".py").replace("__init__", "") for file in files} == set(ALLOWED)
