"""Device, dtype and threads follow what the machine is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from colpali_serve.engine.machine import (
    blocks_pay,
    choose_device,
    choose_dtype,
    choose_host_threads,
    choose_threads,
    choose_workers,
    cpu_has_bfloat16,
    usable_cores,
)
from colpali_serve.schemas import ConfigError


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("fpu sse4_2 avx512f avx512_vnni", False),
        ("fpu avx512f avx512_bf16", True),
        ("fpu amx_tile amx_bf16 amx_int8", True),
    ],
)
def test_bfloat16_is_read_from_the_processors_flags(
    flags: str, expected: bool, tmp_path: Path
) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t: amx_bf16x\n")
    assert cpu_has_bfloat16(cpuinfo) is expected


def test_no_cpuinfo_means_float32(tmp_path: Path) -> None:
    assert cpu_has_bfloat16(tmp_path / "none") is False


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("avx512_bf16", True), ("avx512_bf16 amx_tile amx_bf16", False), ("avx2", False)],
)
def test_attention_in_blocks_is_for_bfloat16_without_tiles(
    flags: str, expected: bool, tmp_path: Path
) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"flags : {flags}\n")
    cpu = torch.device("cpu")
    assert blocks_pay(cpu, torch.bfloat16, cpuinfo) is expected
    assert not blocks_pay(cpu, torch.float32, cpuinfo)
    assert not blocks_pay(torch.device("cuda"), torch.bfloat16, cpuinfo)


def test_dtype() -> None:
    cpu = torch.device("cpu")
    expected = torch.bfloat16 if cpu_has_bfloat16() else torch.float32
    assert choose_dtype("auto", cpu) == expected
    assert choose_dtype("bfloat16", cpu) == torch.bfloat16


@pytest.mark.parametrize(
    ("content", "most"),
    [("max 100000", 10**6), ("100000 100000", 1), ("50000 100000", 1), ("x", 10**6)],
)
def test_cores_follow_the_containers_quota(content: str, most: int, tmp_path: Path) -> None:
    path = tmp_path / "cpu.max"
    path.write_text(content)
    assert 1 <= usable_cores(path) <= most
    assert usable_cores(tmp_path / "none") >= 1


def test_threads() -> None:
    assert choose_threads(3) == 3
    assert choose_threads(None) == max(1, usable_cores() // 2)


def test_host_threads() -> None:
    assert choose_host_threads(3) == 3
    assert choose_host_threads(None) == usable_cores()


def test_workers_fill_the_cores_where_a_forward_may_run_twice() -> None:
    cpu, card = torch.device("cpu"), torch.device("cuda", 0)
    assert choose_workers(None, 1, cpu, alone=False) == usable_cores()
    assert choose_workers(None, 10_000, cpu, alone=False) == 1
    assert choose_workers(5, 1, cpu, alone=False) == 5
    for device, alone in ((cpu, True), (card, False), (card, True)):
        assert choose_workers(None, 1, device, alone) == 1
        assert choose_workers(1, 1, device, alone) == 1


@pytest.mark.parametrize(
    ("device", "why"),
    [("cpu", "for this family, whose forward keeps state"), ("cuda", "on CUDA")],
)
def test_more_workers_than_there_may_be_are_refused(device: str, why: str) -> None:
    with pytest.raises(ConfigError, match=f"setting 'workers' is 2, expected 1 {why}"):
        choose_workers(2, 1, torch.device(device), alone=True)


def test_device() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_card_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match="expected an index below"):
        choose_device("cuda:99")
