"""The machine: its description for records, its instructions for bf16, and settings of memory and threads."""

from __future__ import annotations

import ctypes
import functools
import platform
from pathlib import Path

import torch

CPUINFO = Path("/proc/cpuinfo")
"""Where Linux describes the processors."""


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
    flags = _read_cpuinfo("flags") or ""
    return "amx_bf16" in flags.split()


@functools.cache
def bf16_units() -> bool | None:
    """Whether the processor has instructions for bf16 (AVX-512 BF16 or AMX); None where the system does not tell.

    Without them torch computes in bf16 by way of float32, and an update takes 10 to 16 times as long as in float32.
    """
    flags = _read_cpuinfo("flags")
    if flags is None:
        return None
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(flags.split())


def _processor() -> str:
    """The name of the processor."""
    return _read_cpuinfo("model name") or platform.processor() or platform.machine()


def _read_cpuinfo(key: str) -> str | None:
    """The value under a key in Linux's description of the first processor; None where there is none."""
    try:
        lines = CPUINFO.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith(key):
            return line.split(":", 1)[1].strip()
    return None


def keep_freed_memory() -> None:
    """Let glibc keep the memory that tensors free, instead of handing it back and faulting it in at each step.

    Activations above 32 MB are otherwise mapped anew every time, which costs up to half of a step on a CPU. What is
    free at the end of the heap is never handed back, however much of it there is.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    # parameters of mallopt, as malloc.h numbers them
    m_trim_threshold = -1
    m_mmap_threshold = -3
    never = -1
    one_gigabyte = 1 << 30
    libc = ctypes.CDLL(None)
    libc.mallopt(m_trim_threshold, never)
    libc.mallopt(m_mmap_threshold, one_gigabyte)


def use_threads(count: int | None) -> None:
    """Let torch compute with ``count`` threads; with None, with as many as it chooses itself."""
    if count is not None:
        torch.set_num_threads(count)
