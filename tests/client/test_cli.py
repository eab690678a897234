"""Commands that use a service."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open
from typer.testing import CliRunner

from colpali_serve.client.cli import app
from tests.client.conftest import CLI, environment_of_a_terminal, wait_for


class Outcome(NamedTuple):
    code: int
    out: str
    errors: str


def run_process(*arguments: object) -> Outcome:
    """Run a command as users do."""
    done = subprocess.run([*CLI, *map(str, arguments)], capture_output=True, text=True, timeout=120)
    return Outcome(done.returncode, done.stdout, done.stderr)


def run_here(*arguments: object) -> Outcome:
    """Run a command in this process, which has imported everything already."""
    done = CliRunner().invoke(app, [*map(str, arguments)])
    return Outcome(done.exit_code, done.stdout, done.stderr)


@pytest.fixture
def pages(make_pdf: Callable[..., Path]) -> Path:
    """A folder with a PDF of two pages and an image, of three shades of red."""
    pdf = make_pdf("pages/book.pdf", 40, 160)
    Image.new("RGB", (4, 4), (240, 0, 0)).save(pdf.with_name("cover.png"))
    return pdf.parent


def test_rank_as_json(port: int, pages: Path) -> None:
    arguments = ["rank", pages, "--query", "rr", "--query", "r", "--top-k", 2, "--json"]
    result = run_process(*arguments, "--port", port)
    assert (result.code, result.errors) == (0, "")
    answer = json.loads(result.out)
    assert answer["pages"] == 3
    assert set(answer["seconds"]) == {"embed", "rank"}
    assert [query["query"] for query in answer["queries"]] == ["rr", "r"]
    for query in answer["queries"]:
        assert [page["page"] for page in query["ranking"]] == ["cover.png", "book.pdf#2"]
        assert [page["rank"] for page in query["ranking"]] == [1, 2]


def test_rank_as_a_table(port: int, pages: Path) -> None:
    result = run_here("rank", pages, "--query", "[bold]rr", "--port", port)
    assert (result.code, result.errors) == (0, "")
    lines = [line.split() for line in result.out.splitlines() if line.strip()]
    assert lines[:2] == [["[bold]rr"], ["rank", "page", "score"]]
    assert [line[:2] for line in lines[2:5]] == [
        ["1", "cover.png"],
        ["2", "book.pdf#2"],
        ["3", "book.pdf#1"],
    ]
    assert "3 pages embedded in" in result.out and "1 queries ranked in" in result.out


def test_bad_pages_can_be_kept(port: int, pages: Path) -> None:
    (pages / "broken.png").write_bytes(b"x")
    arguments = ["rank", pages, "--query", "rr", "--json", "--port", port]
    result = run_here(*arguments)
    assert (result.code, result.out) == (1, "")
    assert result.errors.startswith("error: page 'broken.png': 1 bytes of no known format")
    result = run_here(*arguments, "--on-error", "keep")
    assert result.code == 0
    assert result.errors.startswith("InvalidPageError: page 'broken.png'")
    last = json.loads(result.out)["queries"][0]["ranking"][-1]
    assert last == {"rank": 4, "page": "broken.png", "score": None}


def test_embed_to_npz(port: int, pages: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.npz"
    out.write_text("something older")
    result = run_process("embed", pages, "--out", out, "--port", port, "--dtype", "float32")
    assert (result.code, result.errors) == (0, "")
    assert result.out.startswith("3 pages in ")
    with np.load(out) as file:
        assert file.files == ["book.pdf#1", "book.pdf#2", "cover.png"]
        assert file["cover.png"].dtype == np.float32
        np.testing.assert_allclose(file["cover.png"][0], [240 / 255, 0, 0], rtol=1e-6)


def test_embed_to_safetensors(port: int, pages: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    result = run_here("embed", pages, "--out", out, "--port", port, "--pool-factor", 2)
    assert (result.code, result.errors) == (0, "")
    with safe_open(out, "numpy") as file:
        metadata = file.metadata()
        assert json.loads(metadata["ids"]) == ["book.pdf#1", "book.pdf#2", "cover.png"]
        assert set(json.loads(metadata["grids"])) == set(json.loads(metadata["ids"]))
        assert json.loads(metadata["boxes"])["cover.png"] == [0.25, 0.0, 1.0, 0.5]
        embedding = file.get_tensor("cover.png")
    assert (embedding.dtype, embedding.shape) == (np.float16, (1, 3))


def test_scales_of_compressed_pages_are_in_the_file(port: int, pages: Path, tmp_path: Path) -> None:
    for suffix in ("npz", "safetensors"):
        out = tmp_path / f"out.{suffix}"
        result = run_here("embed", pages, "--out", out, "--port", port, "--dtype", "int8")
        assert (result.code, result.errors) == (0, "")
    with np.load(tmp_path / "out.npz") as file:
        values, scale = file["cover.png"], file["cover.png.scale"]
    with safe_open(tmp_path / "out.safetensors", "numpy") as file:
        np.testing.assert_array_equal(file.get_tensor("cover.png"), values)
        scales = json.loads(file.metadata()["scales"])
    assert values.dtype == np.int8
    assert scales["cover.png"] == pytest.approx(float(scale))
    np.testing.assert_allclose(values[0] * scale, [240 / 255, 0, 0], atol=0.01)


def test_profile(port: int, pages: Path) -> None:
    result = run_here("profile", pages, "--port", port, "--pool-factor", 1)
    assert (result.code, result.errors) == (0, "")
    assert "nDCG@5" in result.out
    assert "3 pages, 32 queries made of the pages' own parts. Recommended: embedding_dtype" in (
        " ".join(result.out.split())
    )
    arguments = ["profile", pages, "--port", port, "--query", "r", "--pool-factor", 1, "--json"]
    answer = json.loads(run_here(*arguments).out)
    assert (answer["pages"], answer["queries"]) == (3, 1)
    # Three dimensions cannot be packed into signs.
    assert [form["embedding_dtype"] for form in answer["forms"]] == ["float32", "float16", "int8"]
    assert answer["forms"][0]["ndcg_at_5"] == answer["forms"][0]["recall_at_5"] == 1
    assert answer["forms"][0]["page_bytes"] == 2 * 3 * 4


def left_over(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_file())


def test_embed_writes_all_or_nothing(port: int, pages: Path, tmp_path: Path) -> None:
    (pages / "z.png").write_bytes(b"x")
    for suffix in ("npz", "safetensors"):
        out = tmp_path / f"out.{suffix}"
        result = run_here("embed", pages, "--out", out, "--port", port)
        assert result.code == 1
        assert result.errors.startswith("error: page 'z.png'"), result.errors
        assert result.errors.count("\n") == 1
    assert left_over(tmp_path) == []


def test_embed_refuses_two_pages_of_one_name(port: int, pages: Path, tmp_path: Path) -> None:
    twin = tmp_path / "twin"
    twin.mkdir()
    (twin / "cover.png").write_bytes((pages / "cover.png").read_bytes())
    arguments = ["embed", pages / "cover.png", twin / "cover.png", "--out", tmp_path / "o.npz"]
    result = run_here(*arguments, "--port", port)
    assert result.code == 1
    assert "page 'cover.png': two pages have this name" in result.errors
    assert left_over(tmp_path) == []


def test_ctrl_c_leaves_nothing_behind(port: int, pages: Path, tmp_path: Path) -> None:
    for number in range(40):
        (pages / "cover.png").with_name(f"slow-{number}.png").write_bytes(
            (pages / "cover.png").read_bytes()
        )
    command = [*CLI, "embed", str(pages), "--out", str(tmp_path / "o.npz"), "--port", str(port)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        wait_for(lambda: left_over(tmp_path) != [])
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "stopped\n")
    assert left_over(tmp_path) == []


def test_progress_bar_at_a_terminal(port: int, pages: Path) -> None:
    ours, theirs = os.openpty()
    command = [*CLI, "rank", str(pages), "--query", "r", "--json", "--port", str(port)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=theirs, env=environment_of_a_terminal()
    ) as process:
        os.close(theirs)
        shown = b""
        try:
            while chunk := os.read(ours, 4096):
                shown += chunk
        except OSError:
            pass  # Linux says so when the other side has closed
        os.close(ours)
        assert process.stdout is not None
        json.loads(process.stdout.read())
    assert b"3/3" in shown and b"pages/s" in shown


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["rank", "a.png", "--query", "x", "--port", "1"], 1, "error: no service at localhost:1"),
        (["embed", "a.png", "--out", "x.txt"], 1, "error: --out is x.txt, expected a name ending"),
        (["embed", "a.png", "--out", "no/x.npz"], 1, "there is no folder no"),
        (["rank", "a.png"], 2, "--query"),
        (["nonsense"], 2, "nonsense"),
        (["rank", "a.png", "--query", "x", "--top-k", "0"], 2, "top-k"),
    ],
)
def test_failures_are_one_line(
    arguments: list[str], code: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run_here(*arguments)
    assert (result.code, result.out) == (code, "")
    assert message in result.errors
    assert "Traceback" not in result.errors
