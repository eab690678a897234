"""From packages to a checkpoint, all of it, in miniature and without a network."""

from __future__ import annotations

import base64
import gzip
import json
import re
from pathlib import Path

import pypdfium2
import pytest
import torch
from PIL import ImageFont
from rich.progress import Progress
from safetensors.torch import load_file
from typer.testing import CliRunner

from colpali_serve.engine.encoder import Encoded, Encoder, TextInput
from colpali_serve.engine.loading import load_model
from colpali_serve.engine.query_weights import QueryWeights
from colpali_serve.engine.settings import EncoderSettings
from colpali_serve.training import shards
from colpali_serve.training.cli import app
from colpali_serve.training.learning import query_setup, tuning
from colpali_serve.training.pages import printed
from colpali_serve.training.pages.wording import is_held_out
from colpali_serve.training.semantics import encoder, related
from colpali_serve.training.workplace import Workplace
from tests.conftest import ROOT
from tests.training import materials
from tests.training.evaluation.editions import digest
from tests.training.papers import lines, pdf

LINES = (
    "remove delete files folder printer paper network password account backup restore picture "
    "screen keyboard colour window document letter number copper winter summer garden kitchen "
    "river mountain bridge castle village market engine pilot doctor teacher musician painter"
)
WORDS = LINES.split()
# What a page that checkpoints are judged by says, and pages of manuals that say some of it.
JUDGED = "nobody knows whether seven grey herons may borrow the ladder before next tuesday evening"
EIGHT, SEVEN = (" ".join(JUDGED.split()[3 : 3 + count]) for count in (8, 7))
STAGES = """
[[stage]]
name = "first"
goal = "see that it runs"
steps = 2
matrix_rate = 1e-3
other_rate = 1e-3
warmup = 1
final = 0.5
losses = { reading = 1.0, matching = 1.0, ranking = 0.5, questions = 0.5 }
crops = [{ columns = 16, rows = 8, batch = 2, queries = 2, share = 1.0 }]

[[stage]]
name = "second"
goal = "see that it goes on"
steps = 1
matrix_rate = 1e-3
other_rate = 1e-3
warmup = 1
final = 0.5
losses = { reading = 1.0, matching = 0.0, ranking = 0.5 }
crops = [{ columns = 48, rows = 48, batch = 2, queries = 2, questions = 2, share = [1.0, 0.5] }]
"""


def package(work: Path, name: str, files: dict[str, str | bytes]) -> None:
    """An unpacked package, so that nothing is fetched."""
    folder = work / "packages" / name
    for path, content in files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
    (folder / ".version").touch()


def judged(key: str, content: bytes) -> str:
    """A manual whose pages the evaluation asks about."""
    found = digest(content, first=1, pages=2, min_words=5)
    return (
        f'[[manual]]\nkey = "{key}"\npackage = "asked"\nfile = "{key}.pdf"\nmade_with = "?"\n'
        f'text_sha256 = "{found}"\nfirst = 1\npages = 2\nmin_words = 5\n'
    )


def page(words: str | list[str]) -> str:
    """A page that says something between words that every page has, in another order each."""
    told = words.split() if isinstance(words, str) else words
    return lines([*WORDS[:20], *told, *reversed(WORDS[:20])])


def demo_words() -> list[str]:
    """Eight words of a page that the demo shows."""
    document = pypdfium2.PdfDocument(ROOT / "examples/pages/bzip2-manual.pdf")
    found = re.findall("[a-z0-9]+", document[1].get_textpage().get_text_range().lower())
    document.close()
    return found[100:108]


def table(name: str, files: list[str], **more: str | int) -> str:
    keys = {"name": name, "licence": "a test's", "why": "a test", **more}
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())
    return f"[[package]]\n{lines}files = {json.dumps(files)}\n\n"


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folder of the work and folder of the lists."""
    folder = tmp_path_factory.mktemp("training")
    work, sources = folder / "work", folder / "sources"
    sources.mkdir()
    faq = (ROOT / "examples/pages/simh-faq.pdf").read_bytes()
    own = pdf([lines(JUDGED.split())])
    told = "Which operating system runs on this old machine nobody can say but everyone has tried."
    html = "".join(
        f"<h2>{WORDS[i]} the {WORDS[i + 1]}</h2><p>{' '.join(WORDS[i:] + WORDS[:i])}.</p>"
        for i in range(0, len(WORDS) - 1, 4)
    )
    package(work, "manuals", {"a.html": html, "b.html": f"<h1>Told</h1><p>{told}</p>{html}"})
    package(work, "wamerican", {"usr/share/dict/american-english": "\n".join([*WORDS, "river's"])})
    gloss = "00000001 00 n 01 ladder 0 000 | what nobody may borrow before the evening\n"
    parts = {"noun": gloss, "verb": "", "adj": "", "adv": ""}
    package(
        work, "wordnet-base", {f"usr/share/wordnet/data.{n}": text for n, text in parts.items()}
    )
    package(work, "asked", {"faq.pdf": faq, "own.pdf": own})
    default = ImageFont.load_default(20)
    package(work, "face", {"face.ttf": default.font_bytes or base64.b64decode("")})
    (sources / "text.toml").write_text(
        table("manuals", ["*.html"], reader="markup")
        + table("wamerican", ["usr/share/dict/american-english"], reader="words")
        + table("wordnet-base", ["usr/share/wordnet/*"], reader="synsets")
    )
    (sources / "fonts.toml").write_text(table("face", ["*.ttf"], role="common"))
    (sources / "evaluation.toml").write_text(
        table("asked", ["*.pdf"]) + judged("faq", faq) + judged("own", own)
    )
    pages = [page(WORDS), page(EIGHT), page(SEVEN), page(WORDS[20:]), page(demo_words())]
    package(work, "printed", {"a.pdf.gz": gzip.compress(pdf(pages)), "b.pdf": b"no PDF"})
    (sources / "manuals.toml").write_text(table("printed", ["*.pdf.gz", "*.pdf"], each=9, most=20))
    # Relating words needs MiniLM, which is not a dependency of the tests.
    (work / "synonyms.json").write_text(json.dumps({"remove": {"delete": 0.8}}))
    (folder / "stages.toml").write_text(STAGES)
    return work, sources


def run(places: tuple[Path, Path], command: str, *arguments: str) -> str:
    work, sources = map(str, places)
    result = CliRunner().invoke(
        app, [command, "--work", work, "--sources", sources, *arguments], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.slow
def test_from_packages_to_a_checkpoint_that_the_service_loads(places: tuple[Path, Path]) -> None:
    work, _ = places
    assert "2 documents" in run(places, "text")
    run(places, "tokenizer")
    out = work / "tiny"
    stages = str(work.parent / "stages.toml")
    # 400 pages would take half a minute: a shard of few stands in for the first one.
    few = work / "pages" / "0-0000.npy"
    _draw_few(places, few)
    arguments = ("--out", str(out), "--stages", stages, "--count", "4", "--workers", "1")
    # The small dictionary here has too few words to judge by, which ends no training.
    assert "first: not judged, 0 unseen words" in run(
        places, "train", *arguments, "--stage", "first"
    )
    logged = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [entry["stage"] for entry in logged] == ["first"]
    assert logged[0]["loss"] > 0 and "questions answered" in logged[0]

    # The first is done: only the second runs.
    run(places, "train", *arguments, "--judged", "0")
    logged = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [entry["stage"] for entry in logged] == ["first", "second"]
    assert logged[1]["page rank loss"] > 0

    after = [str(out / "after" / stage) for stage in ("first", "second")]
    mean = CliRunner().invoke(app, ["average", *after, "--out", str(out / "mean")])
    assert mean.exit_code == 0, mean.output

    chosen = EncoderSettings(model=str(out / "mean"), device="cpu", dtype="float32")
    serving = Encoder.load(chosen)
    (found,) = serving.embed_texts([TextInput("q", "remove files")])
    assert isinstance(found, Encoded)
    assert found.embedding.shape[1] == 128


def _draw_few(places: tuple[Path, Path], path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    shards.write(path, iter(Workplace(*places).maker(0).page, None), 4)


def test_pages_that_share_eight_words_with_the_evaluation_are_not_printed(
    places: tuple[Path, Path],
) -> None:
    with Progress(disable=True) as silent:
        usable = Workplace(*places)._usable_prints(silent)
    assert [(one.path.name, one.index) for one in usable] == [
        ("a.pdf.gz", 0), ("a.pdf.gz", 2), ("a.pdf.gz", 3),
    ]  # fmt: skip


def test_what_is_drawn_is_read_once(places: tuple[Path, Path]) -> None:
    one, other = Workplace(*places).maker(0), Workplace(*places).maker(1)
    assert one._vocabulary is other._vocabulary
    assert one._fonts is other._fonts
    held_out = [word for word in one._vocabulary.words if is_held_out(word)]
    assert one._vocabulary.words and not held_out


@pytest.mark.slow
def test_printed_pages_are_kept(places: tuple[Path, Path]) -> None:
    work, _ = places
    assert "1 shards" in run(places, "prints", "--workers", "1")
    (path,) = (work / "prints").glob("*.npy")
    found = list(shards.read(path).pages())
    assert [page.kind for page in found] == [printed.KIND] * 3
    texts = [" ".join(word.text for word in page.words) for page in found]
    assert [SEVEN in text for text in texts] == [False, True, False]
    assert not any(EIGHT in text for text in texts)
    # Nothing is printed again, not even where the PDFs are gone.
    before = path.stat().st_mtime_ns
    (work / "packages/printed/a.pdf.gz").rename(work / "gone")
    run(places, "prints")
    (work / "gone").rename(work / "packages/printed/a.pdf.gz")
    assert path.stat().st_mtime_ns == before


@pytest.mark.slow
def test_queries_are_tuned(
    places: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bert = materials.sentence_encoder(tmp_path)
    monkeypatch.setattr(encoder, "bundled", lambda: bert)
    monkeypatch.setattr(tuning, "HELD_OUT", 1)
    monkeypatch.setattr(query_setup, "_RUN", 1)
    # Of three pages, words of one tell something.
    monkeypatch.setattr(related, "_LEAST_PAGES", 1)
    monkeypatch.setattr(related, "_LEAST_TOLD", 0.5)
    bundled, out = ROOT / "checkpoints/colpali-tiny", tmp_path / "tuned"
    arguments = (str(bundled), "--out", str(out), "--pages", "3", "--texts", "40", "--steps", "2")
    said = run(places, "tune", *arguments, "--workers", "1")
    assert re.search(r"tuned: page found first among those held out, [\d.]+% to [\d.]+%", said)
    assert only_queries_changed(bundled, out)


@pytest.mark.slow
def test_queries_are_weighed(
    places: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query_setup, "_RUN", 1)
    bundled, out = ROOT / "checkpoints/colpali-tiny", tmp_path / "weighed"
    said = run(places, "weigh", str(bundled), "--out", str(out), "--pages", "3", "--workers", "1")
    chosen = json.loads((out / "config.json").read_text())["query_weights"]
    assert f"weighed: colpali-tiny, {QueryWeights(**chosen)}" in said
    # The table has what was tried, all tokens alike first.
    assert re.search(r"around.*pieces.*mean", said)
    assert len(re.findall(r"\d\s+│\s+0\.6\s+│", said)) == len(re.findall(r"\d\s+│\s+0\s+│", said))
    for name, weight in load_file(bundled / "model.safetensors").items():
        assert torch.equal(load_file(out / "model.safetensors")[name], weight)
    assert load_model(EncoderSettings(model=str(out), device="cpu")).weights == QueryWeights(
        **chosen
    )


def only_queries_changed(before: Path, after: Path) -> set[str]:
    """The weights that are others now; what sees, and every norm, is as it was."""
    old, new = (load_file(one / "model.safetensors") for one in (before, after))
    changed = {name for name, part in new.items() if not torch.equal(part, old[name])}
    language = "model.language_model.model."
    assert f"{language}embed_tokens.weight" in changed
    assert any("q_proj" in name for name in changed)
    assert all(name.startswith(language) or name == "custom_text_proj.weight" for name in changed)
    assert not any("norm" in name for name in changed)
    return changed


def test_a_stage_that_does_not_exist_is_named(places: tuple[Path, Path]) -> None:
    work, sources = map(str, places)
    arguments = [
        "--work",
        work,
        "--sources",
        sources,
        "--stages",
        str(ROOT / "training/stages.toml"),
    ]
    result = CliRunner().invoke(app, ["train", *arguments, "--stage", "nothing"])
    assert result.exit_code == 1
    assert "nothing" in result.output


def test_the_lists_of_packages_are_whole_and_apart() -> None:
    from colpali_serve.training.packages import read_packages, read_toml
    from colpali_serve.training.text.corpus import READERS

    folder = ROOT / "training" / "sources"
    names = {
        name: [package.name for package in read_packages(folder / f"{name}.toml")]
        for name in ("text", "fonts", "manuals", "evaluation")
    }
    assert all(len(set(found)) == len(found) for found in names.values())
    assert not {*names["text"], *names["manuals"]} & set(names["evaluation"])
    for entry in read_toml(folder / "manuals.toml")["package"]:
        assert 1 <= entry["each"] <= entry["most"], entry["name"]
    readers = {entry["reader"] for entry in read_toml(folder / "text.toml")["package"]}
    assert readers <= {*READERS, "synsets", "words"}
    roles = {entry["role"] for entry in read_toml(folder / "fonts.toml")["package"]}
    assert roles == {"common", "rare", "held-out"}
