"""What is found out about the machine."""

from __future__ import annotations

import platform

import pytest
import torch

from robustfw.training import hardware


@pytest.mark.skipif(platform.system() != "Linux", reason="other systems do not say")
@pytest.mark.skipif(not hasattr(torch.cpu, "get_capabilities"), reason="this torch does not say")
def test_matrix_units_are_those_that_torch_finds():
    assert hardware.matrix_units() == bool(torch.cpu.get_capabilities().get("amx_bf16"))


@pytest.mark.parametrize(
    ("said", "there", "instructions"),
    [
        ("model name\t: one\nflags\t\t: fpu avx512_bf16 amx_bf16\n", True, True),
        ("model name\t: one\nflags\t\t: fpu avx512_bf16\n", False, True),
        ("model name\t: one\nflags\t\t: fpu avx2\n", False, False),
        ("processor\t: 0\n", False, None),
        (None, False, None),
    ],
)
def test_without_a_word_there_are_none(said, there, instructions, tmp_path, monkeypatch):
    if said is not None:
        (tmp_path / "cpuinfo").write_text(said)
    monkeypatch.setattr(hardware, "CPUINFO", tmp_path / "cpuinfo")
    assert hardware.matrix_units.__wrapped__() == there
    assert hardware.bf16_units.__wrapped__() is instructions
    assert hardware.describe(torch.device("cpu"))["processor"]
