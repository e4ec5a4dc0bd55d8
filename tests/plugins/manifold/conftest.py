"""Data of the tests of tangents."""

from __future__ import annotations

import pytest

import robustfw
from robustfw import Splits


@pytest.fixture(scope="session")
def digits() -> Splits:
    """The bundled images of digits."""
    splits: Splits = robustfw.make("dataset", "digits").load(None)
    return splits
