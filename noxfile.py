"""The checks, as `nox` runs them: lint, types, tests, and the example plugin as a stranger has it."""

import shutil

import nox

nox.options.reuse_venv = "yes"  # torch takes long to install
nox.options.sessions = ["lint", "types", "tests", "example_plugin"]
EXAMPLE = "plugins/example-ellipsoid"


def install(session: nox.Session, *requirements: str) -> None:
    """Install, from sources alone: setuptools would put modules deleted since its last build into the wheel."""
    shutil.rmtree("build", ignore_errors=True)
    session.install(*requirements)


@nox.session
def lint(session: nox.Session) -> None:
    """Lint and format, the whole tree."""
    session.install("ruff>=0.6")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """mypy, strict, on robustfw and the plugins."""
    install(session, ".[testing]", "mypy>=1.13")
    session.run("mypy")


@nox.session
def tests(session: nox.Session) -> None:
    """The test suite, against the installed package: pytest leaves the source tree off the path."""
    install(session, ".[test]")
    session.run("pytest", *session.posargs)


@nox.session
def example_plugin(session: nox.Session) -> None:
    """The example, installed like anyone's plugin, and its own tests."""
    install(session, ".", f"./{EXAMPLE}[test]")
    session.run("pytest", f"{EXAMPLE}/tests", *session.posargs)
