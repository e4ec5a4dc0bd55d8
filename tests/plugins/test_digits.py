"""scikit-learn's digits, read without its module for data sets, whose import takes long."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits

from robustfw_vision import bundled


@pytest.mark.parametrize("elsewhere", [False, True], ids=["from the file", "where the file is elsewhere"])
def test_they_are_those_that_scikit_learn_loads(elsewhere, monkeypatch):
    if elsewhere:
        monkeypatch.setattr(bundled.importlib.util, "find_spec", lambda name: None)
    pixels, digit = bundled._read_digits()
    bunch = load_digits()
    np.testing.assert_array_equal(pixels, bunch.data)
    np.testing.assert_array_equal(digit, bunch.target)
    assert bundled._load_digits()[2].labels == tuple(str(name) for name in bunch.target_names)


def test_loading_them_imports_no_more_than_is_needed():
    load = "import sys, pathlib, robustfw; robustfw.make('dataset', 'digits').load(pathlib.Path())"
    code = f"{load}; print('sklearn' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"
