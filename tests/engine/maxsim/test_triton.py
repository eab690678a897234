"""The Triton backend: in the interpreter, through the compiler for several cards, on a card."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from colpali_serve.engine.maxsim import Scorer, backends
from colpali_serve.engine.maxsim.arithmetic import Arithmetic
from colpali_serve.engine.maxsim.forms import Form, Rows, floats, rows_of
from colpali_serve.engine.maxsim.ragged import ragged as ragged_pages
from colpali_serve.engine.maxsim.ragged import widened
from colpali_serve.schemas import ConfigError, compress
from tests.conftest import ROOT
from tests.engine.maxsim.exact import Sides, double_loop, magnitudes, ragged
from tests.engine.maxsim.interpreting import INTERPRETED, TRITON_DEVICE
from tests.engine.maxsim.test_backends import BOUNDS, quick

triton = pytest.importorskip("triton", reason="torch was built without Triton")

interpreted = pytest.mark.skipif(not INTERPRETED, reason="test_in_the_interpreter runs it")
compiled = pytest.mark.skipif(INTERPRETED, reason="the interpreter compiles nothing")
on_a_card = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

CARDS = (80, 90, 100)
"""Compute capabilities, times ten."""
SHARED_BYTES = 99 * 1024
"""Memory that the threads of a block share on the smallest of these cards."""
NARROW = {"fp16": "fp16", "bf16": "bf16", "i8": "fp16", "u8": "fp16"}
"""What pages lie in, and what they are multiplied in."""


@compiled
def test_in_the_interpreter() -> None:
    """Every test of a backend, and those of this file that want it, with Triton on a CPU."""
    files = [f"tests/engine/maxsim/test_{name}.py" for name in ("backends", "store", "triton")]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-k", "triton", "-m", "not gpu", *files],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed and int(passed[1]) >= 25, done.stdout[-3000:]


@interpreted
@quick
@given(
    sides=ragged(st.sampled_from([8, 24, 96, 128, 136, 160])),
    form=st.sampled_from(["float32", "float16", "bfloat16", "int8", "binary"]),
    precision=st.sampled_from(["auto", "float32", "bfloat16"]),
)
def test_every_form_at_every_width(sides: Sides, form: str, precision: str) -> None:
    scorer = Scorer("triton", precision, device=TRITON_DEVICE)
    if form == "bfloat16":
        rows = [_bfloat16(page) for page in sides.pages]
        pages = [_widened(each) for each in rows]
    else:
        pages = [compress(page.astype(np.float32), form) for page in sides.pages]
        rows = [rows_of(page) for page in pages]
    narrow = scorer.arithmetic(rows[0]) is Arithmetic.BFLOAT16
    # What is multiplied in float16 is only rounded on the queries' side, and eight times less.
    exact = BOUNDS["bfloat16"] if form in ("float32", "bfloat16") else 1.01 / 2048
    allowed = (exact if narrow else BOUNDS["float32"]) * magnitudes(sides.queries, pages) + 1e-30
    queries = [np.ascontiguousarray(query, np.float32) for query in sides.queries]
    packed = [scorer.pack(each) for each in rows]
    assert all(new.nbytes <= old.nbytes for new, old in zip(packed, rows, strict=True))
    for taken in (rows, packed):
        error = np.abs(scorer.score_rows(queries, taken) - double_loop(sides.queries, pages))
        assert (error <= allowed).all()


@interpreted
@pytest.mark.parametrize("block_bytes", [1, 4 * 70, 4 * 70 * 3, 1 << 20])
def test_best_similarities_are_held_in_parts(block_bytes: int) -> None:
    rng = np.random.default_rng(4)
    queries = [rng.standard_normal((n, 16)).astype(np.float32) for n in (1, 69)]
    pages = [rng.standard_normal((n, 16)).astype(np.float32) for n in (3, 64, 1, 130, 65, 9, 128)]
    pages = [compress(page * 2**i, "int8") for i, page in enumerate(pages)]
    found = Scorer("triton", "float32", 1, block_bytes, TRITON_DEVICE).score(queries, pages)
    np.testing.assert_allclose(found, double_loop(queries, pages), rtol=1e-5)


@interpreted
def test_queries_beyond_the_range_of_float16() -> None:
    rng = np.random.default_rng(5)
    pages = [rng.standard_normal((9, 32)).astype(np.float16) * 1000 for _ in range(3)]
    queries = [rng.standard_normal((5, 32)).astype(np.float32) for _ in range(3)]
    queries = [query * scale for query, scale in zip(queries, (1e7, 1e-9, 0), strict=True)]
    found = Scorer("triton", "auto", device=TRITON_DEVICE).score(queries, pages)
    np.testing.assert_allclose(found, double_loop(queries, pages), rtol=2e-3)


@interpreted
def test_rows_of_the_compiled_kernel() -> None:
    values = np.array([[1, 127, 128, 255] * 8], np.uint8)
    query = np.arange(32, dtype=np.float32)[np.newaxis]
    rows = Rows(values, Form.UINT8, 1, 32, 0.5)
    found = Scorer("triton", "float32", device=TRITON_DEVICE).score_rows([query], [rows])
    assert found.tolist() == [[0.5 * float((query * (values.astype(np.float32) - 128)).sum())]]


@interpreted
def test_it_passes_the_trial_that_decides_on_a_card(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(backends, "_fastest", {})
    with caplog.at_level("INFO", "colpali_serve.engine.maxsim"):
        names = [backends._on_card(1 << 20, "cpu").name for _ in range(2)]
    assert names == [*backends._fastest.values()] * 2 and names[0] in ("torch", "triton")
    assert [record.levelname for record in caplog.records] == ["INFO"], caplog.text
    assert "ms, torch" in caplog.text


@compiled
def test_without_a_card_it_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    message = "backend 'triton' needs a CUDA card, device is 'cpu', expected 'cuda' or 'cuda:"
    with pytest.raises(ConfigError, match=message):
        Scorer("triton")
    with caplog.at_level("WARNING", "colpali_serve.engine.maxsim"):
        assert backends._on_card(1 << 20, "cpu").name == "torch"
    assert message in caplog.text
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="torch finds no CUDA card"):
            Scorer("triton", device="cuda")


@compiled
@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize("stored", NARROW)
def test_narrow_products_are_tensor_cores(card: int, stored: str) -> None:
    for n_vectors, dim in ((25, 128), (400, 320)):
        code, shared = built(card, stored, NARROW[stored], n_vectors, dim)
        assert re.search(r"wgmma\.mma_async|mma\.sync|tcgen05\.mma", code)
        assert "tf32" not in code
        assert shared <= SHARED_BYTES, (n_vectors, dim)


@compiled
@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize("stored", ["fp32", "fp16", "u8"])
def test_float32_is_float32(card: int, stored: str) -> None:
    if card == 100 and stored != "fp32":
        pytest.skip("the backend widens pages there, as Triton would take TF32")
    for n_vectors in (25, 400):
        code, shared = built(card, stored, "fp32", n_vectors, 128)
        assert "fma.rn.f32" in code
        assert not re.search(r"mma\.sync|wgmma|tcgen05\.mma|tf32", code)
        assert shared <= SHARED_BYTES


@pytest.mark.parametrize("form", ["float16", "int8", "binary"])
def test_widened_pages_have_the_same_values(form: str) -> None:
    rng = np.random.default_rng(7)
    pages = [compress(rng.standard_normal((n, 24)).astype(np.float32), form) for n in (3, 1)]
    rows = [rows_of(page) for page in pages]
    wide = widened(ragged_pages(rows, Arithmetic.FLOAT32, torch.device("cpu"))[0])
    assert (wide.form, wide.rows.dtype) == (Form.FLOAT32, torch.float32)
    lengths = [each.n_vectors for each in rows]
    values = wide.rows * torch.repeat_interleave(wide.scales, torch.tensor(lengths))[:, None]
    np.testing.assert_array_equal(values.numpy(), np.concatenate([floats(each) for each in rows]))


@compiled
def test_numbers_of_a_request_are_not_compiled_in() -> None:
    from colpali_serve.engine.maxsim import triton_kernels

    for kernel in (triton_kernels.best_similarities, triton_kernels.sums_over_queries):
        free = [each for each in kernel.params if not each.is_constexpr]
        numbers = [each for each in free if each.name.startswith(("n_", "first_"))]
        assert numbers and all(each.do_not_specialize for each in numbers)


@pytest.mark.gpu
@on_a_card
def test_more_values_than_an_int32_counts() -> None:
    backend = Scorer("triton", device="cuda").backend
    rng = np.random.default_rng(6)
    query = rng.standard_normal((3, 128)).astype(np.float32)
    last = compress(rng.standard_normal((70, 128)).astype(np.float32), "int8")
    many = torch.zeros((2**24 + 5, 128), dtype=torch.int8, device="cuda")
    pages = [Rows(many, Form.INT8, len(many), 128), rows_of(last)]
    prepared = backend.prepare(pages, Arithmetic.BFLOAT16)
    found = backend.score([query], prepared, Arithmetic.BFLOAT16)
    assert found[0, 0] == 0
    np.testing.assert_allclose(found[0, 1], double_loop([query], [last])[0, 0], rtol=2e-3)


@pytest.mark.gpu
@on_a_card
def test_auto_takes_what_was_measured_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(backends, "_fastest", {})
    with caplog.at_level("INFO", "colpali_serve.engine.maxsim"):
        names = {Scorer(device="cuda").backend.name for _ in range(2)}
    assert names == set(backends._fastest.values()) and names <= {"triton", "torch"}
    assert [record.levelname for record in caplog.records] == ["INFO"], caplog.text
    assert f"takes {names.pop()}" in caplog.text


def built(card: int, stored: str, multiplied: str, n_vectors: int, dim: int) -> tuple[str, int]:
    """What a card would be given, as text, and the bytes that a block's threads share."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from colpali_serve.engine.maxsim.triton_backend import tile
    from colpali_serve.engine.maxsim.triton_kernels import best_similarities

    size = tile(n_vectors, dim, multiplied != "fp32")
    constants = {"DIM": dim, "BINARY": stored == "u8", "BLOCK_ROWS": size.rows,
                 "BLOCK_QUERIES": size.queries, "BLOCK_DIM": size.dim}  # fmt: skip
    pointers = {"rows": f"*{stored}", "offsets": "*i64", "scales": "*fp32",
                "queries": f"*{multiplied}", "best": "*fp32"}  # fmt: skip
    numbers = dict.fromkeys(("first_page", "n_pages", "n_vectors", "n_blocks"), "i32")
    source = ASTSource(
        fn=best_similarities,
        signature={**pointers, **numbers, **dict.fromkeys(constants, "constexpr")},
        constexprs=constants,
        # torch's memory begins at such addresses, and the launcher finds that out.
        attrs={(index,): [["tt.divisibility", 16]] for index in range(len(pointers))},
    )
    options = {"num_warps": size.warps, "num_stages": size.stages}
    found = triton.compile(source, target=GPUTarget("cuda", card, 32), options=options)
    return found.asm["ptx"], found.metadata.shared


def _bfloat16(page: np.ndarray) -> Rows:
    bits = torch.from_numpy(page.astype(np.float32)).bfloat16().view(torch.uint16).numpy()
    return Rows(bits, Form.BFLOAT16, *page.shape)


def _widened(rows: Rows) -> np.ndarray:
    return (rows.values.astype(np.uint32) << 16).view(np.float32)
