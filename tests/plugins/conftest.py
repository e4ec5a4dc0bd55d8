"""The outside solver of the tests of linear programs and theorems."""

from __future__ import annotations

import pytest


@pytest.fixture
def cvxpy():
    """CVXPY; tests that need it are skipped where it is not installed."""
    return pytest.importorskip("cvxpy", reason="the outside solver CVXPY is not installed")
