"""What this machine computes fast: device, dtype, threads."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from colpali_serve.schemas import ConfigError

_CPUINFO = Path("/proc/cpuinfo")
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(name: str) -> torch.device:
    """Return the device to compute on.

    Args:
        name: "auto", "cpu", "cuda" or "cuda:<index>".

    Raises:
        ConfigError: CUDA was asked for and is not there, or has no card of that index.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda":
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        if not torch.cuda.is_available():
            where = "" if visible is None else f" (CUDA_VISIBLE_DEVICES={visible})"
            raise ConfigError(
                f"setting 'device' is '{name}': no CUDA device is available here{where}, "
                "expected one, or 'cpu' or 'auto'",
                "device",
            )
        count = torch.cuda.device_count()
        if (device.index or 0) >= count:
            raise ConfigError(
                f"setting 'device' is '{name}', expected an index below {count}", "device"
            )
    return device


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """Return the dtype to compute in.

    Args:
        name: "auto", "float32", "bfloat16" or "float16".
        device: What it will run on.

    Returns:
        For "auto": bfloat16 on a CUDA card or a CPU with instructions for it, else float32,
        since a CPU without them emulates bfloat16 several times slower than float32.
    """
    if name != "auto":
        return _DTYPES[name]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(False) else torch.float16
    return torch.bfloat16 if cpu_has_bfloat16() else torch.float32


def cpu_has_bfloat16(cpuinfo: Path = _CPUINFO) -> bool:
    """Whether the processor multiplies bfloat16 matrices itself (AMX or AVX512-BF16)."""
    return not {"amx_bf16", "avx512_bf16"}.isdisjoint(_flags(cpuinfo))


def blocks_pay(device: torch.device, dtype: torch.dtype, cpuinfo: Path = _CPUINFO) -> bool:
    """Whether attention in blocks (`engine.attention`) is faster here than torch's own."""
    if device.type != "cpu" or dtype != torch.bfloat16:
        return False
    flags = _flags(cpuinfo)
    return "avx512_bf16" in flags and "amx_bf16" not in flags


def _flags(cpuinfo: Path) -> list[str]:
    try:
        text = cpuinfo.read_text()
    except OSError:  # not Linux: float32 is right everywhere
        return []
    return next((line for line in text.splitlines() if line.startswith("flags")), "").split()


def usable_cores(cgroup: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Cores this process may use: affinity, and the container's quota where there is one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        quota, period = cgroup.read_text().split()
        limit = cores if quota == "max" else max(1, int(quota) // int(period))
    except (OSError, ValueError):  # no cgroup v2 here
        limit = cores
    return min(cores or 1, limit or 1)


def choose_threads(threads: int | None) -> int:
    """CPU threads for one forward: as set, else half of the usable cores, at least one."""
    return threads if threads is not None else max(1, usable_cores() // 2)


def choose_workers(workers: int | None, threads: int, device: torch.device, alone: bool) -> int:
    """Forwards at a time: as set, else as many as fit the cores; one on CUDA.

    Args:
        workers: The setting.
        threads: CPU threads of one forward.
        device: Where they run.
        alone: Whether the family's forward must not run twice at once.

    Raises:
        ConfigError: Several were asked for where there may be only one.
    """
    most = 1 if alone or device.type == "cuda" else None
    if workers is not None and most is not None and workers > most:
        why = "on CUDA" if device.type == "cuda" else "for this family, whose forward keeps state"
        raise ConfigError(f"setting 'workers' is {workers}, expected 1 {why}", "workers")
    return workers or most or max(1, usable_cores() // threads)


def choose_host_threads(host_threads: int | None) -> int:
    """Threads that decode and preprocess: as set, else one for each usable core."""
    return host_threads if host_threads is not None else usable_cores()
