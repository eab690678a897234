"""Drawn pages: what is on them, what is asked, and the whole way with the bundled checkpoint."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from colpali_serve.schemas import ConfigError
from colpali_serve.training.evaluation import report, synthetic, synthetic_report
from colpali_serve.training.evaluation.asking import Asked, DrawnSet
from colpali_serve.training.evaluation.bm25 import words as split
from colpali_serve.training.evaluation.cli import app
from colpali_serve.training.evaluation.drawing import KINDS, DrawnPage, draw_page
from colpali_serve.training.evaluation.glance import glance
from colpali_serve.training.evaluation.metrics import Estimate
from colpali_serve.training.evaluation.real import System
from colpali_serve.training.pages.canvas import ASCENT, DESCENT, Word
from colpali_serve.training.pages.fonts import Fonts
from colpali_serve.training.pages.wording import Vocabulary, is_held_out
from colpali_serve.training.text.documents import Document, Section
from tests.conftest import ROOT
from tests.training.evaluation.invented import DOCUMENTS, INVENTED

CHECKPOINT = ROOT / "checkpoints" / "colpali-tiny"
PLAN = synthetic.Plan({"article": 2, "slide": 1, "labels": 1}, {"table": 1, "form": 1}, 1, 2)


@pytest.fixture(scope="module")
def fonts(font: Path) -> Fonts:
    return Fonts((font,), ())


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary([word for word in INVENTED if not is_held_out(word)], DOCUMENTS)


@pytest.fixture(scope="module")
def unseen() -> list[str]:
    return synthetic.unseen_words(INVENTED, DOCUMENTS)


@pytest.fixture(scope="module")
def drawn(vocabulary: Vocabulary, fonts: Fonts, unseen: list[str]) -> DrawnSet:
    return synthetic.draw_set(vocabulary, fonts, unseen, PLAN)


def held_out(count: int) -> list[str]:
    return [word for word in INVENTED if is_held_out(word)][:count]


def test_unseen_words_are_held_out_and_nowhere_in_the_text() -> None:
    first, second, third, fourth = held_out(4)
    shown = next(word for word in INVENTED if not is_held_out(word))
    text = [Document("x", third, (Section(f"On {first.upper()},", f"({second}-like)"),))]
    offered = [first, second, third, fourth, shown, fourth.capitalize(), f"{fourth}'s", "of"]
    assert synthetic.unseen_words(offered, text) == [fourth]
    assert synthetic.unseen_words(offered, text, [f"({fourth.capitalize()}),"]) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_holds_unseen_words_once(
    kind: str, vocabulary: Vocabulary, fonts: Fonts, unseen: list[str]
) -> None:
    page = draw_page(kind, 1, vocabulary, fonts, unseen[:20])
    assert draw_page(kind, 1, vocabulary, fonts, unseen[:20]) == page
    counts = Counter(split(page.text))
    assert page.unseen == {word for word in unseen if counts[word]} <= set(unseen[:20])
    assert page.unseen
    assert {counts[word] for word in page.unseen} == {1}
    assert set(page.asked_words()) <= page.unseen
    with Image.open(BytesIO(page.image)) as image:
        assert (image.mode, image.size) == ("L", (page.width, page.height))


def test_a_photograph_leaves_the_words_alone(
    vocabulary: Vocabulary, fonts: Fonts, unseen: list[str]
) -> None:
    for seed in range(4):
        page = draw_page("slide", seed, vocabulary, fonts, unseen[:20], photograph=True)
        lefts, rights = [w.left for w in page.words], [w.right for w in page.words]
        free = max(min(lefts), page.width - max(rights))
        assert free > 0.3 * page.width


def test_an_unknown_kind_is_refused(vocabulary: Vocabulary, fonts: Fonts) -> None:
    with pytest.raises(ConfigError, match="page kind 'poem' is unknown, expected one of labels"):
        draw_page("poem", 0, vocabulary, fonts, [])


def page_of(*words: Word, unseen: frozenset[str] = frozenset()) -> DrawnPage:
    buffer = BytesIO()
    Image.new("L", (600, 1536), 255).save(buffer, "PNG")
    return DrawnPage("table", 600, 1536, 255, buffer.getvalue(), words, unseen, frozenset())


def test_size_is_measured_down_the_page() -> None:
    # 20 pixels per em on a page of twice the model's height; its width does not matter.
    word = Word(0, 100, 80, 100 + 20 * (ASCENT + DESCENT), "Kobalu,")
    page = page_of(word, unseen=frozenset({"kobalu"}))
    assert page.em(word) == pytest.approx(10)
    assert page.asked_words() == {"kobalu": word}


def test_words_under_others_and_tiny_ones_are_not_asked_for() -> None:
    one, over, alone = Word(0, 0, 50, 20, "a"), Word(40, 5, 60, 25, "b"), Word(70, 0, 99, 20, "c")
    tiny = Word(0, 40, 50, 54, "d")  # 7.4 pixels per em
    assert page_of(one, over, alone, tiny).legible == (alone,)


def test_a_turned_page_loses_what_leaves_it() -> None:
    middle, corner = Word(290, 758, 310, 778, "middle"), Word(0, 0, 50, 20, "corner")
    page = page_of(middle, corner).turned(2.0)
    assert [word.text for word in page.words] == ["middle"]
    assert page.words[0].left == pytest.approx(290)
    assert page.image != page_of(middle, corner).image


def test_a_set_is_as_planned(drawn: DrawnSet, unseen: list[str]) -> None:
    kinds = ["article", "article", "slide", "labels", "table", "form", "slide"]
    assert [page.kind for page in drawn.pages[: drawn.upright]] == kinds
    assert (drawn.upright, len(drawn.pages), PLAN.pages) == (7, 11, 11)
    assert drawn.candidates() == list(range(7))
    assert drawn.turned == {2.0: {0: 7, 2: 8}, -2.0: {0: 9, 2: 10}}
    assert drawn.candidates(-2.0) == [9, 1, 10, 3, 4, 5, 6]
    assert {asked.group for asked in drawn.asked} == {
        "words",
        "size",
        "code",
        "photograph",
        "turned",
    }


def test_every_query_is_answered_by_one_page(drawn: DrawnSet, unseen: list[str]) -> None:
    texts = [page.text for page in drawn.pages]
    for degrees in (0.0, 2.0, -2.0):
        ranked = [texts[place] for place in drawn.candidates(degrees)]
        for asked in drawn.asked:
            if degrees and asked.group != "turned":
                continue
            if asked.group == "code":
                assert len(asked.text) >= 4
                answers = [asked.text in text.split() for text in ranked]
            else:
                asked_words = set(asked.text.split())
                assert asked_words <= set(unseen)
                answers = [asked_words <= set(split(text)) for text in ranked]
                # Not even one of the words stands elsewhere.
                assert sum(bool(asked_words & set(split(text))) for text in ranked) == 1
            assert [place for place, is_one in enumerate(answers) if is_one] == [asked.page]


def test_bm25_finds_all_words(drawn: DrawnSet) -> None:
    row = synthetic_report.rows(drawn, [synthetic.by_words(drawn)])[0]
    assert row.queries == "two to four unseen words"
    assert row.systems["BM25"]["recall@1"] == Estimate(1, 1, 1)


def test_the_seed_decides(
    drawn: DrawnSet, vocabulary: Vocabulary, fonts: Fonts, unseen: list[str]
) -> None:
    assert synthetic.draw_set(vocabulary, fonts, unseen, PLAN) == drawn
    other = synthetic.draw_set(vocabulary, fonts, unseen, PLAN, seed=1)
    assert other.pages[0].text != drawn.pages[0].text


def test_too_little_to_draw_from(vocabulary: Vocabulary, fonts: Fonts, unseen: list[str]) -> None:
    with pytest.raises(ConfigError, match="10 unseen words are too few for 7 pages, expected 6"):
        synthetic.draw_set(vocabulary, fonts, unseen[:10], PLAN)
    with pytest.raises(ConfigError, match="no held-out font can be read"):
        synthetic.draw_set(vocabulary, Fonts((), ()), unseen, PLAN)


def test_groups_of_the_table(drawn: DrawnSet) -> None:
    asked = (
        Asked("a b", "words", 0),
        Asked("a", "size", 0, 9.5),
        Asked("c", "size", 0, 12.9),
        Asked("b", "size", 1, 40.0),
        Asked("1234", "code", 4),
        Asked("AB-12", "code", 5),
        Asked("d", "turned", 2),
    )
    # Right everywhere but where page 2 is turned by -2 degrees: page 0 wins there.
    scores = np.zeros((len(asked), len(drawn.pages)), np.float32)
    scores[range(len(asked)), [query.page for query in asked]] = 2
    scores[6, [0, 8]] = 1, 2
    systems = [System(name, {"all": scores}) for name in ("BM25", "model")]
    small = replace(drawn, asked=asked)
    table = synthetic_report.rows(small, systems)
    assert [(row.queries, row.n, row.systems["model"]["recall@1"].mean) for row in table] == [
        ("two to four unseen words", 1, 1),
        ("of them on pages of the kind article", 1, 1),
        ("**one unseen word, 9 to 13 px (at least 0.75)**", 2, 1),
        ("one unseen word, 9 to 11 px", 1, 1),
        ("one unseen word, 11 to 13 px", 1, 1),
        ("one unseen word, 32 px and more", 1, 1),
        ("one number or code, tables and forms", 2, 1),
        ("of them with letters", 1, 1),
        ("of them numbers, amounts, dates", 1, 1),
        ("two to four unseen words, straight", 1, 1),
        ("the same, pages turned by +2 degrees", 1, 1),
        ("the same, pages turned by -2 degrees", 1, 0),
    ]
    assert table[-1].differences["recall@1"] == Estimate(-1, -1, -1)
    lines = synthetic_report.markdown(small, systems, table).splitlines()
    assert len({line.count("|") for line in lines[2:]}) == 1
    assert lines[-1].endswith("| -1.000 [-1.000, -1.000] |")
    assert json.dumps(synthetic_report.figures(small, systems, table))


def test_intervals_are_over_pages() -> None:
    # Two pages with many queries each, one found and one not: pages decide, not queries.
    values = np.repeat([1.0, 0.0], 50)
    estimate = synthetic_report.by_page(values, np.repeat([3, 8], 50))
    assert estimate == Estimate(0.5, 0.0, 1.0)


def test_plans_shrink() -> None:
    assert synthetic.PLAN.pages <= 260
    assert synthetic.PLAN.shrunk(10_000) == synthetic.PLAN
    small = synthetic.PLAN.shrunk(1)
    assert small == synthetic.Plan(
        dict.fromkeys(synthetic.PLAN.mixed, 1), {"table": 1, "form": 1}, 1, 1
    )


def test_the_whole_way(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sources, work = places
    # The real plan takes minutes: one slide, one form, and the slide turned either way.
    monkeypatch.setattr(synthetic, "PLAN", synthetic.Plan({"slide": 1}, {"form": 1}, 0, 1))
    results = tmp_path / "RESULTS.md"
    report.write_block(results, "real figures")
    command = ["synthetic", "--checkpoint", str(CHECKPOINT), "--sources", str(sources)]
    command += ["--work", str(work), "--results", str(results)]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    text = results.read_text()
    assert text.index("real figures") < text.index("<!-- synthetic pages -->")
    assert "| two to four unseen words | 2 | 1.000 |" in text
    path = work / "evaluation/synthetic.json"
    figures = json.loads(path.read_text())
    assert (figures["pages"], figures["upright"]) == (4, 2)
    assert figures["systems"][1]["name"] == "colpali-tiny"
    kept = work / "evaluation/embeddings" / figures["systems"][1]["fingerprint"][:16]
    times = {file: file.stat().st_mtime_ns for file in kept.iterdir()}
    assert {np.load(file).dtype for file in times} == {np.dtype(np.float16)}
    assert len(times) == 4

    path.unlink()
    done = CliRunner().invoke(app, [*command, "--pages", "4"])
    assert done.exit_code == 0, done.output
    assert done.stdout.strip() in text
    assert {file: file.stat().st_mtime_ns for file in kept.iterdir()} == times
    assert results.read_text() == text
    assert not path.exists()


def test_a_glance_takes_the_same_pages_each_time(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    sources, work = places
    monkeypatch.setattr(synthetic, "PLAN", synthetic.Plan({"slide": 1}, {"form": 1}, 0, 0))
    figures = glance(CHECKPOINT, work, sources, 2)
    assert figures == glance(CHECKPOINT, work, sources, 2)
    assert set(figures) >= {"words recall@1"}
    assert all(0 <= value <= 1 for value in figures.values())


def test_the_command_says_what_is_wrong(places: tuple[Path, Path], tmp_path: Path) -> None:
    _, work = places
    command = ["synthetic", "--checkpoint", str(CHECKPOINT), "--sources", str(tmp_path)]
    done = CliRunner().invoke(app, [*command, "--work", str(work)])
    assert done.exit_code == 1
    assert "text.toml cannot be read (No such file or directory)" in done.output
