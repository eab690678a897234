"""The whole evaluation on three real pages, with the bundled checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from colpali_serve.schemas import ConfigError
from colpali_serve.training.evaluation import real, report
from colpali_serve.training.evaluation.cli import app
from colpali_serve.training.evaluation.metrics import Estimate
from tests.conftest import ROOT
from tests.training.evaluation.conftest import Tiny

CHECKPOINT = ROOT / "checkpoints" / "colpali-tiny"


def command(tiny: Tiny, *extra: str) -> list[str]:
    named = {"sources": tiny.sources, "queries": tiny.queries, "work": tiny.work}
    options = [text for name, path in named.items() for text in (f"--{name}", str(path))]
    return ["real", "--checkpoint", str(CHECKPOINT), *options, *extra]


@pytest.fixture(scope="module")
def page_set(tiny: Tiny) -> real.PageSet:
    return real.load_page_set(tiny.sources, tiny.work, queries=tiny.queries)


@pytest.fixture(scope="module")
def system(tiny: Tiny, page_set: real.PageSet) -> real.System:
    return real.score_by_checkpoint(page_set, CHECKPOINT, tiny.work)


def test_golds_are_places_of_pages(page_set: real.PageSet) -> None:
    assert page_set.golds == {"words": [{0}], "phrases": [{2}], "questions": [{0}, {2}]}


def test_both_systems_find_the_words(page_set: real.PageSet, system: real.System) -> None:
    assert system.scores["words"].argmax(axis=1).tolist() == [0]
    assert real.score_by_words(page_set).scores["phrases"].argmax(axis=1).tolist() == [2]
    assert {kind: scores.shape for kind, scores in system.scores.items()} == {
        "words": (1, 3),
        "phrases": (1, 3),
        "questions": (2, 3),
    }


def test_it_goes_on_where_it_stopped(
    tiny: Tiny, page_set: real.PageSet, system: real.System
) -> None:
    kept = sorted((tiny.work / "evaluation/embeddings" / system.fingerprint[:16]).iterdir())
    assert [np.load(path).dtype for path in kept] == [np.float16] * 3
    kept[0].unlink()
    before = [path.stat().st_mtime_ns for path in kept[1:]]
    again = real.score_by_checkpoint(page_set, CHECKPOINT, tiny.work)
    assert kept[0].is_file()
    assert [path.stat().st_mtime_ns for path in kept[1:]] == before
    for kind in system.scores:
        assert np.allclose(again.scores[kind], system.scores[kind], atol=1e-4)


def test_fewer_pages_keep_only_the_queries_they_answer(tiny: Tiny) -> None:
    fewer = real.load_page_set(tiny.sources, tiny.work, 1, tiny.queries)
    assert [page.id for page in fewer.pages] == ["bzip2#2"]
    assert {kind: len(queries) for kind, queries in fewer.queries.items()} == {
        "words": 1,
        "phrases": 0,
        "questions": 1,
    }


def test_the_table_of_two_checkpoints(page_set: real.PageSet, system: real.System) -> None:
    worse = {kind: -scores for kind, scores in system.scores.items()}
    systems = [
        real.score_by_words(page_set),
        system,
        real.System("other", worse, "f", "float32"),
    ]
    table = report.rows(page_set, systems)
    assert [(row.queries, row.n) for row in table] == [
        ("three distinctive words", 1),
        ("five-word phrase", 1),
        ("natural question", 2),
        ("of them in synonyms", 1),
        ("of them sharing words with the page", 1),
        ("words, clean pages", 1),
        ("words, bzip2 (?)", 1),
    ]
    # First of three against last of three.
    assert table[0].differences["recall@1"] == Estimate(1, 1, 1)
    lines = report.markdown(page_set, systems, table).splitlines()
    assert "3 pages of 2 manuals, 1 of them made to look scanned" in lines[0]
    assert len({line.count("|") for line in lines[2:]}) == 1
    assert lines[4].startswith("| three distinctive words | 1 | 1.000 | 1.000 [1.000, 1.000]")
    assert json.dumps(report.figures(page_set, systems, table))


def test_the_block_is_replaced_and_the_rest_stays(tmp_path: Path) -> None:
    path = tmp_path / "RESULTS.md"
    start, end = "<!-- real pages -->", "<!-- /real pages -->"
    path.write_text(f"# Before\n\n{start}\nold\n{end}\n\nAfter\n")
    report.write_block(path, "new")
    assert path.read_text() == f"# Before\n\n{start}\nnew\n{end}\n\nAfter\n"
    path.write_text("Only text\n")
    report.write_block(path, "new")
    assert path.read_text() == f"Only text\n\n{start}\nnew\n{end}\n"
    path.write_text(end)
    with pytest.raises(ConfigError, match="has not both of"):
        report.write_block(path, "new")


def test_the_command(tiny: Tiny, tmp_path: Path, system: real.System) -> None:
    results = tmp_path / "RESULTS.md"
    done = CliRunner().invoke(app, command(tiny, "--results", str(results)))
    assert done.exit_code == 0, done.output
    assert "| five-word phrase | 1 | 1.000 |" in results.read_text()
    figures = json.loads((tiny.work / "evaluation/real.json").read_text())
    assert figures["systems"][1]["fingerprint"] == system.fingerprint
    assert len(figures["rows"]) == 7


def test_the_command_says_what_is_wrong(tiny: Tiny, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, command(tiny, "--queries", str(tmp_path)))
    assert done.exit_code == 1
    assert "words.json cannot be read (No such file or directory)" in done.output
