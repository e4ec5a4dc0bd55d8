"""The machine: what a record must say of it, what it can do, and the one setting of it that pays."""

from __future__ import annotations

import ctypes
import functools
import platform
from pathlib import Path

import torch

CPUINFO = Path("/proc/cpuinfo")


def describe(device: torch.device) -> dict[str, str | int]:
    """Processor, device, threads and versions: the circumstances of a number."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {
        "processor": _processor(),
        "device": name,
        "threads": torch.get_num_threads(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


@functools.cache
def matrix_units() -> bool:
    """Whether the processor has units for products of bf16 matrices (AMX), where Linux says so."""
    return "amx_bf16" in (_said("flags") or "").split()


@functools.cache
def bf16_units() -> bool | None:
    """Whether the processor has instructions for bf16 (AVX-512 BF16 or AMX); None where nobody says so.

    Without them torch computes in bf16 by way of float32, and an update takes 10 to 16 times as long as in float32.
    """
    flags = _said("flags")
    return None if flags is None else not {"avx512_bf16", "amx_bf16"}.isdisjoint(flags.split())


def _processor() -> str:
    return _said("model name") or platform.processor() or platform.machine()


def _said(key: str) -> str | None:
    """What Linux says of the first processor."""
    try:
        lines = CPUINFO.read_text().splitlines()
    except OSError:
        return None
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(key)), None)


def keep_freed_memory() -> None:
    """Let glibc keep the memory that tensors free, instead of handing it back and faulting it in at each step.

    Activations above 32 MB are otherwise mapped anew every time, which costs up to half of a step on a CPU. What is
    free at the end of the heap is never handed back, however much of it there is.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    m_trim_threshold, m_mmap_threshold = -1, -3
    never = -1
    libc = ctypes.CDLL(None)
    libc.mallopt(m_trim_threshold, never)
    libc.mallopt(m_mmap_threshold, 1 << 30)


def use_threads(count: int | None) -> None:
    """So many threads for torch; its own choice if None."""
    if count is not None:
        torch.set_num_threads(count)
