"""Every backend that works here against a float64 double loop, for every form of a page."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from colpali_serve.engine.maxsim import Scorer, backends, native
from colpali_serve.engine.maxsim.arithmetic import Arithmetic
from colpali_serve.engine.maxsim.forms import Form, rows_of
from colpali_serve.engine.maxsim.native import Instructions, Kernel, NativeBackend
from colpali_serve.schemas import ConfigError, compress, expand
from tests.engine.maxsim.compiling import EMULATION, SOURCES, compiled
from tests.engine.maxsim.exact import Sides, double_loop, magnitudes, ragged
from tests.engine.maxsim.interpreting import INTERPRETED, TRITON, TRITON_DEVICE

# Relative to what the absolute values sum up to. bfloat16 rounds by 1/256, both factors and, in
# torch, the product.
BOUNDS = {"float32": 2e-6, "bfloat16": 2.02 / 256, "torch bfloat16": 3.03 / 256}
PORTABLE = ("torch", "numpy")


@pytest.fixture(scope="session")
def emulated(tmp_path_factory: pytest.TempPathFactory) -> Kernel:
    """The kernel with tiles in software."""
    target = tmp_path_factory.mktemp("kernel") / "emulated.so"
    options = ["-O2", "-shared", "-fPIC", "-DMAXSIM_EMULATED_TILES", f"-I{EMULATION}"]
    return Kernel(compiled(target, *options, str(SOURCES / "kernel.c")))


@pytest.fixture(params=["amx", "emulated amx", "avx512", "avx2", TRITON, *PORTABLE])
def scorer(request: pytest.FixtureRequest) -> Callable[..., Scorer]:
    """Makes a scorer of one backend; skips where it does not work."""
    name = request.param

    def make(precision: str = "auto", threads: int = 1, block_bytes: int = 1 << 20) -> Scorer:
        if name == "emulated amx":
            found = Scorer("numpy", precision)
            kernel = request.getfixturevalue("emulated")
            if not kernel.arithmetics(Instructions.AVX512):
                pytest.skip("tiles are in software, but what stands around them is AVX-512")
            found.backend = NativeBackend(kernel, Instructions.AMX, threads)
            return found
        device = TRITON_DEVICE if name == "triton" else "cpu"
        try:
            return Scorer(name, precision, threads, block_bytes, device)
        except ConfigError as error:
            pytest.skip(str(error))

    return make


quick = settings(
    deadline=None,
    max_examples=15 if INTERPRETED else 40,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def check(scorer: Scorer, sides: Sides, pages: list[object], bound: float) -> None:
    queries = sides.queries
    scores = scorer.score(queries, pages)
    assert (scores.dtype, scores.shape) == (np.float32, (len(queries), len(pages)))
    expected = double_loop(queries, pages)
    allowed = bound * magnitudes(queries, pages) + 1e-30
    assert (np.abs(scores - expected) <= allowed).all(), (scores, expected)
    # Alone as beside others, to the last bit where no BLAS chooses its own order.
    if scorer.backend.name not in PORTABLE:
        for index, page in enumerate(pages):
            np.testing.assert_array_equal(scorer.score(queries, [page])[:, 0], scores[:, index])


@quick
@given(sides=ragged())
def test_float32_is_exact_for_every_float(scorer: Callable[..., Scorer], sides: Sides) -> None:
    check(scorer("float32"), sides, sides.pages, BOUNDS["float32"])


@quick
@given(sides=ragged(), precision=st.sampled_from(["auto", "bfloat16"]))
def test_narrow_products(scorer: Callable[..., Scorer], sides: Sides, precision: str) -> None:
    made = scorer(precision)
    narrow = "torch bfloat16" if made.backend.name == "torch" else "bfloat16"
    check(made, sides, sides.pages, BOUNDS[narrow])


@quick
@given(sides=ragged(st.sampled_from([8, 16, 40, 64, 128, 320])), precision=st.sampled_from(
    ["auto", "float32", "bfloat16"]), dtype=st.sampled_from(["int8", "binary"]))  # fmt: skip
def test_compressed_pages_score_what_they_stand_for(
    scorer: Callable[..., Scorer], sides: Sides, precision: str, dtype: str
) -> None:
    made = scorer(precision)
    pages = [compress(page, dtype) for page in sides.pages]
    arithmetic = made.arithmetic(rows_of(pages[0]))
    if arithmetic is not Arithmetic.INT8:
        name = "float32" if arithmetic is Arithmetic.FLOAT32 else "bfloat16"
        if made.backend.name == "torch" and name == "bfloat16":
            name = "torch bfloat16"
        check(made, sides, pages, BOUNDS[name])
        return
    # A query value is off by half a step, 1/127 of its vector's largest, and by what a scale for
    # the whole vector moves it.
    scores, expected = made.score(sides.queries, pages), double_loop(sides.queries, pages)
    for query, found, exact in zip(sides.queries, scores, expected, strict=True):
        steps = np.abs(query.astype(np.float64)).max(axis=1) / 127
        rows = [np.abs(expand(page).astype(np.float64)).sum(axis=1).max() for page in pages]
        allowed = 1.001 * steps.sum() * np.array(rows) + 1e-6 * np.abs(exact) + 1e-30
        assert (np.abs(found - exact) <= allowed).all()


@quick
@given(sides=ragged(), threads=st.integers(1, 5))
def test_packed_rows_and_threads_change_nothing(
    scorer: Callable[..., Scorer], sides: Sides, threads: int
) -> None:
    plain, threaded = scorer("auto"), scorer("auto", threads)
    pages = [page.astype(np.float16) for page in sides.pages]
    packed = [threaded.pack(rows_of(page)) for page in pages]
    assert all(rows.nbytes <= page.nbytes for rows, page in zip(packed, pages, strict=True))
    scores = threaded.score(sides.queries, packed)
    if plain.backend.name in PORTABLE:
        np.testing.assert_allclose(scores, plain.score(sides.queries, pages), rtol=1e-2, atol=1e-2)
    else:
        np.testing.assert_array_equal(scores, plain.score(sides.queries, pages))


def test_pages_of_all_forms_beside_each_other(scorer: Callable[..., Scorer]) -> None:
    rng = np.random.default_rng(5)
    page = rng.standard_normal((50, 64)).astype(np.float32)
    tensor = torch.from_numpy(page)
    pages = [
        page, page.astype(np.float16), page.astype(np.float64), tensor, tensor.bfloat16(),
        tensor.half(), compress(page, "int8"), compress(page, "binary"), np.asfortranarray(page),
    ]  # fmt: skip
    queries = [rng.standard_normal((n, 64)) for n in (1, 17, 33)]
    wide = [p.float().numpy() if isinstance(p, torch.Tensor) else p for p in pages]
    expected = double_loop(queries, wide)
    np.testing.assert_allclose(scorer("float32").score(queries, pages), expected, rtol=1e-5)
    np.testing.assert_allclose(scorer("auto").score(queries, pages), expected, rtol=2e-2)
    queries = [torch.from_numpy(query) for query in queries]
    np.testing.assert_allclose(scorer("float32").score(queries, pages), expected, rtol=1e-5)


def test_unit_vectors_stay_within_the_documented_bounds(scorer: Callable[..., Scorer]) -> None:
    """Scores of about 20, as ColPali's are: bfloat16 within 0.005, int8 within 0.03."""
    rng = np.random.default_rng(0)

    def unit(n: int) -> np.ndarray:
        rows = rng.standard_normal((n, 128))
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    queries = [unit(25) for _ in range(3)]
    pages = [unit(300) for _ in range(4)]
    for page, query in zip(pages, queries, strict=False):
        page[:25] = 0.8 * query + 0.05 * rng.standard_normal(query.shape)
        page[:25] /= np.linalg.norm(page[:25], axis=1, keepdims=True)
    exact = double_loop(queries, pages)
    assert exact.max() > 18
    # Products of torch come back rounded to bfloat16, too.
    bound = 0.03 if scorer().backend.name == "torch" else 0.005
    assert np.abs(scorer("float32").score(queries, pages) - exact).max() < 1e-5
    assert np.abs(scorer("bfloat16").score(queries, pages) - exact).max() <= bound
    small = [compress(page, "int8") for page in pages]
    assert np.abs(scorer("auto").score(queries, small) - exact).max() <= max(bound, 0.03)


def test_long_pages_and_queries(scorer: Callable[..., Scorer]) -> None:
    rng = np.random.default_rng(1)
    longest = 200 if INTERPRETED else 1500
    queries = [rng.standard_normal((n, 48)).astype(np.float32) for n in (1, longest, 3)]
    pages = [rng.standard_normal((n, 48)).astype(np.float32) - 1 for n in (5000, 1, 481, 960, 7)]
    scores = scorer("float32", block_bytes=4096).score(queries, pages)
    expected = np.array(
        [[(q.astype(np.float64) @ p.astype(np.float64).T).max(1).sum() for p in pages]
         for q in queries]
    )  # fmt: skip
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-3)


def test_rows_at_odd_addresses(scorer: Callable[..., Scorer]) -> None:
    rng = np.random.default_rng(2)
    page = rng.standard_normal((9, 16)).astype(np.float32)
    buffer = np.zeros(page.nbytes + 1, np.uint8)
    odd = buffer[1:].view(np.float32).reshape(page.shape)
    odd[:] = page
    query = [rng.standard_normal((3, 16)).astype(np.float32)]
    made = scorer("float32")
    np.testing.assert_array_equal(made.score(query, [odd]), made.score(query, [page]))


def test_arrays_that_cannot_be_written_to(scorer: Callable[..., Scorer]) -> None:
    page = np.ones((9, 16), np.float32)
    page.setflags(write=False)
    assert scorer().score([page], [page, page.astype(np.float16)]).tolist() == [[144, 144]]


@pytest.fixture
def fresh() -> Iterator[None]:
    """Whatever was loaded and said before is forgotten, and afterwards again."""
    native.load_kernel.cache_clear()
    backends._said.clear()
    yield
    native.load_kernel.cache_clear()
    backends._said.clear()


def test_without_a_kernel_scores_come_from_torch_or_numpy_and_it_is_said_once(
    fresh: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(native, "__file__", str(tmp_path / "native.py"))
    with caplog.at_level(logging.WARNING, "colpali_serve.engine.maxsim"):
        names = {Scorer().backend.name for _ in range(3)}
    assert names <= {"torch", "numpy"}
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "the compiled kernel is missing" in caplog.text
    with pytest.raises(ConfigError, match="'avx512' does not work on this machine, expected one"):
        Scorer("avx512")


def test_a_broken_kernel_is_no_crash(
    fresh: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(native, "__file__", str(tmp_path / "native.py"))
    (tmp_path / f"_kernel{native.EXTENSION_SUFFIXES[0]}").write_bytes(b"not a library")
    assert Scorer().backend.name in ("torch", "numpy")
    assert "cannot be loaded (OSError)" in caplog.text


def test_an_unknown_backend() -> None:
    with pytest.raises(ConfigError, match="backend is 'abacus', expected one of auto, amx"):
        Scorer("abacus")


def test_a_device_that_is_not_there() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a card")
    with pytest.raises(ConfigError, match="torch finds no CUDA card"):
        Scorer("torch", device="cuda")
    with pytest.raises(ConfigError, match="torch finds no CUDA card"):
        Scorer(device="cuda")


@pytest.mark.gpu
def test_pages_on_a_card() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    rng = np.random.default_rng(3)
    pages = [rng.standard_normal((n, 128)).astype(np.float16) for n in (1030, 7, 256, 1)]
    queries = [rng.standard_normal((n, 128)).astype(np.float32) for n in (1, 25)]
    made = Scorer("torch", "float32", device="cuda")
    packed = [made.pack(rows_of(page)) for page in pages]
    allowed = 1e-3 * magnitudes(queries, pages)  # cards may multiply in TF32
    assert (np.abs(made.score(queries, packed) - double_loop(queries, pages)) < allowed).all()


def test_forms_are_those_of_the_kernel() -> None:
    header = (SOURCES / "kernel.h").read_text()
    for prefix, members in (("FORM", Form), ("ARITHMETIC", Arithmetic), ("USE", Instructions)):
        for member in members:
            assert f"{prefix}_{member.name} = {member.value}" in header
