"""How is this code built and written? Counts over a checkout: rooms, circles, density, comments, names, docstrings.

Question: is the tree easier to read than it was at another commit?

    python -m benchmarks.house                           # this checkout
    python -m benchmarks.house --of ../other             # and another one beside it
    python -m benchmarks.house --peer path/to/optimistix # and how dense a package of somebody else is

Nothing is timed and nothing of the checkout is imported: its files are parsed.
"""

from __future__ import annotations

import argparse
import ast
import re
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
CORE = "robustfw"
TEST_FILES = 5
"""How many of the longest test files are listed."""
LARGE = 20
"""Syntax nodes from which on a statement is hard to read at a glance."""

PARTICIPLE = re.compile(
    r"(ed|ing|wn|ept|ought|aught|orn|ade|aid|een|old|ung|elt|uilt|iven|aken|itten|osen|ead_off)$"
)
NO_PARTICIPLE = {
    *(
        "seed",
        "need",
        "feed",
        "embed",
        "exceed",
        "speed",
        "red",
        "bed",
        "proceed",
        "threshold",
        "fold",
        "hold",
        "old",
    ),
    *(
        "string",
        "padding",
        "setting",
        "warning",
        "ring",
        "scattering",
        "training",
        "rounding",
        "whitening",
        "bring",
    ),
    *(
        "fed",
        "sing",
        "king",
        "sling",
        "sampling",
        "smoothing",
        "down",
        "own",
        "unfold",
        "averaging",
        "scaling",
    ),
}
PREPOSITIONS = {
    *(
        "of",
        "at",
        "in",
        "on",
        "to",
        "with",
        "by",
        "from",
        "within",
        "around",
        "over",
        "under",
        "towards",
        "beyond",
    ),
    *("below", "above", "before", "after", "for", "like", "as"),
}


IDIOMS = {"from", "with", "to", "as"}
"""Prepositions that begin names in Python's own library, such as `from_iterable` and `with_suffix`."""


def python_files(root: Path, *folders: str) -> list[Path]:
    """The Python files in some folders of a checkout, without what a build has copied."""
    files = (
        path for folder in folders for path in sorted((root / folder).rglob("*.py"))
    )
    return [path for path in files if "build" not in path.relative_to(root).parts]


def unit_of(module: str) -> str:
    """The part of the core that a dotted name belongs to: a module at the top, or a room."""
    return module.split(".")[1] if "." in module else ""


def imports_of(tree: ast.Module, modules: set[str]) -> Iterator[str]:
    """Dotted names of the core's modules that a module imports when it runs, within functions too."""
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        if (
            isinstance(node, ast.If)
            and isinstance(node.test, ast.Name)
            and node.test.id == "TYPE_CHECKING"
        ):
            continue
        pending += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        if isinstance(node, ast.ImportFrom) and node.module in modules:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in modules else str(node.module)


def circles(arrows: dict[str, set[str]]) -> list[list[str]]:
    """Parts that reach each other, as lists of two and more (Tarjan's strongly connected components, by reach)."""
    reach: dict[str, set[str]] = {}
    for start in arrows:
        seen: set[str] = set()
        pending = [start]
        while pending:
            for following in arrows.get(pending.pop(), set()) - seen:
                seen.add(following)
                pending.append(following)
        reach[start] = seen
    groups = {
        frozenset({a} | {b for b in reach[a] if a in reach.get(b, set())})
        for a in arrows
    }
    return sorted(sorted(group) for group in groups if len(group) > 1)


def code_lines(source: str, tree: ast.Module) -> int:
    """Lines that are neither blank, nor a comment, nor part of a docstring."""
    left = {
        n
        for n, line in enumerate(source.splitlines(), 1)
        if line.strip() and not line.strip().startswith("#")
    }
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            left -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(left)


def density(paths: Iterable[Path]) -> float:
    """Syntax nodes for each line of code; what says only whether a name is read or written does not count."""
    context = ast.Load | ast.Store | ast.Del
    nodes = lines = 0
    for path in paths:
        source = path.read_text()
        tree = ast.parse(source)
        nodes += sum(1 for node in ast.walk(tree) if not isinstance(node, context))
        lines += code_lines(source, tree)
    return nodes / lines


def statement_sizes(paths: Iterable[Path]) -> list[int]:
    """Syntax nodes of each simple statement, which no layout changes; docstrings are left out."""
    simple = (
        ast.Assign | ast.AnnAssign | ast.AugAssign | ast.Return | ast.Expr | ast.Raise
    )
    context = ast.Load | ast.Store | ast.Del
    sizes = []
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            is_text = isinstance(node, ast.Expr) and isinstance(
                node.value, ast.Constant
            )
            if isinstance(node, simple) and not is_text:
                parts = [
                    part for part in ast.walk(node) if not isinstance(part, context)
                ]
                sizes.append(len(parts))
    return sizes


def describe_statements(paths: Iterable[Path]) -> str:
    """The mean size of a statement, and the share of large ones, in words."""
    sizes = statement_sizes(paths)
    large = sum(size > LARGE for size in sizes) / len(sizes)
    return f"{sum(sizes) / len(sizes):.2f}, {large:.1%} have more than {LARGE}"


def own_line_comments(path: Path) -> int:
    """Comments that have a line of their own."""
    with path.open("rb") as file:
        tokens = list(tokenize.tokenize(file.readline))
    return sum(
        token.type == tokenize.COMMENT and not token.line[: token.start[1]].strip()
        for token in tokens
    )


def functions_of(tree: ast.Module) -> list[ast.FunctionDef]:
    """Functions and methods."""
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def is_participle(function: ast.FunctionDef) -> bool:
    """Whether a participle or a preposition is its whole name, or the preposition begins it.

    Left out are properties, which are not called; names as Python's library has (``from_…``, ``with_…``, ``to_…``);
    an adjective before a noun (``squared_error``); and ``at``, the notation 𝒰(x) of an uncertainty set.
    """
    name = function.name
    words = name.strip("_").split("_")
    if name.startswith("__") or name == "at" or is_property(function):
        return False
    if words[0] in PREPOSITIONS:
        return len(words) == 1 or words[0] not in IDIOMS
    return (
        len(words) == 1
        and bool(PARTICIPLE.search(words[0]))
        and words[0] not in NO_PARTICIPLE
    )


def is_property(function: ast.FunctionDef) -> bool:
    """Whether it is read like an attribute."""
    return any(
        isinstance(decorator, ast.Name) and decorator.id == "property"
        for decorator in function.decorator_list
    )


def needs_arguments(function: ast.FunctionDef) -> bool:
    """Whether it is public and takes three arguments or more."""
    given = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return (
        not function.name.startswith("_")
        and len([a for a in given if a.arg not in ("self", "cls")]) >= 3
    )


def measure(root: Path) -> dict[str, str]:
    """All counts of one checkout, by name."""
    core = python_files(root, CORE)
    written = [
        *core,
        *(path for path in python_files(root, "plugins") if "tests" not in path.parts),
    ]
    names = {
        path: ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(
            ".__init__"
        )
        for path in core
    }
    modules, trees = (
        set(names.values()),
        {path: ast.parse(path.read_text()) for path in written},
    )

    arrows: dict[str, set[str]] = {}
    for path in core:
        unit = unit_of(names[path])
        targets = {unit_of(target) for target in imports_of(trees[path], modules)}
        arrows.setdefault(unit, set()).update(targets - {unit})
    up = sum("" in targets for targets in arrows.values())
    arrows = {unit: targets - {""} for unit, targets in arrows.items() if unit}

    lines = sum(code_lines(path.read_text(), trees[path]) for path in written)
    functions = [function for tree in trees.values() for function in functions_of(tree)]
    many = [function for function in functions if needs_arguments(function)]
    explained = [
        function for function in many if "Args:" in (ast.get_docstring(function) or "")
    ]
    participles = sorted(
        {function.name for function in functions if is_participle(function)}
    )
    tests = {
        str(path.relative_to(root)): len(path.read_text().splitlines())
        for path in python_files(root, "tests")
    }
    longest = sorted(tests.items(), key=lambda item: -item[1])[:TEST_FILES]

    top = [
        name
        for name in modules
        if name.count(".") == 1 and not (root / name.replace(".", "/")).is_dir()
    ]
    rooms = [
        name
        for name in modules
        if name.count(".") == 1 and (root / name.replace(".", "/")).is_dir()
    ]
    return {
        "modules at the top of robustfw/": str(len(top)),
        "rooms": str(len(rooms)),
        "parts that import robustfw itself": str(up),
        "circles of parts": "; ".join(" ".join(circle) for circle in circles(arrows))
        or "none",
        "lines of code, core and plugins": str(lines),
        "syntax nodes per line": f"{density(written):.2f}",
        "syntax nodes per statement": describe_statements(written),
        "comments on lines of their own": str(
            sum(own_line_comments(path) for path in written)
        ),
        "functions named by participles or prepositions": str(len(participles)),
        "public functions of three arguments and more": str(len(many)),
        "of these with Args": str(len(explained)),
        "longest test files": ", ".join(
            f"{name.removeprefix('tests/')} {count}" for name, count in longest
        ),
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.house",
        description=(__doc__ or "").partition("\n")[0],
    )
    parser.add_argument(
        "--of",
        type=Path,
        action="append",
        default=[],
        help="another checkout; may be repeated",
    )
    parser.add_argument(
        "--peer",
        type=Path,
        action="append",
        default=[],
        help="a package's folder; may be repeated",
    )
    parser.add_argument(
        "--names", action="store_true", help="list the functions named by participles"
    )
    given = parser.parse_args()
    roots = [*given.of, HERE]
    columns = [measure(root) for root in roots]
    print("| | " + " | ".join(root.resolve().name for root in roots) + " |")
    print("|---" * (len(roots) + 1) + "|")
    for name in columns[0]:
        print(f"| {name} | " + " | ".join(column[name] for column in columns) + " |")
    for peer in given.peer:
        files = sorted(peer.rglob("*.py"))
        by_statement = describe_statements(files)
        print(
            f"{peer.resolve().name}: {density(files):.2f} syntax nodes per line; per statement {by_statement}"
        )
    if given.names:
        for path in [*python_files(HERE, CORE), *python_files(HERE, "plugins")]:
            for function in functions_of(ast.parse(path.read_text())):
                if is_participle(function):
                    print(f"{path.relative_to(HERE)}:{function.lineno} {function.name}")


if __name__ == "__main__":
    main()
