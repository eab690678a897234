"""Questions: the same for the same seed, about their page, in other words."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colpali_serve.training.semantics.asker import FUNCTION_WORDS, Asked, Asker
from colpali_serve.training.text.documents import Document, Section
from tests.training.materials import WORDS, documents

TABLE = {"remove": {"delete": 0.9, "discard": 0.7}, "castle": {"fortress": 0.8}, "the": {"a": 0.9}}
QUESTION_WORDS = re.compile(r"[a-z]+")


def asker(table: dict[str, dict[str, float]] | None = None) -> Asker:
    return Asker(documents(), table or {})


def words(text: str) -> set[str]:
    return set(QUESTION_WORDS.findall(text.lower()))


def test_the_seed_decides() -> None:
    one, two = asker(TABLE), asker(TABLE)
    first = one.batch(random.Random(1), 8, 3)
    one.batch(random.Random(7), 8, 3)
    assert two.batch(random.Random(1), 8, 3) == first == one.batch(random.Random(1), 8, 3)
    assert one.batch(random.Random(2), 8, 3) != first


@given(seed=st.integers(0, 300), pages=st.integers(1, 10), rivals=st.integers(1, 4))
def test_every_question_names_a_page_of_the_batch(seed: int, pages: int, rivals: int) -> None:
    texts, asked = asker(TABLE).batch(random.Random(seed), pages, rivals)
    assert len(texts) == pages
    assert all(20 <= len(text.split()) <= 480 for text in texts)
    assert all(0 <= each.page < pages and each.question.strip() for each in asked)
    counts = [sum(each.page == page for each in asked) for page in range(pages)]
    assert max(counts) <= 2


def test_without_synonyms_questions_are_in_the_pages_words_or_its_headings() -> None:
    # A heading that is asked for may not be on the page: those words are of the same list.
    texts, asked = asker().batch(random.Random(0), 60, 2)
    framing = words(" ".join(FUNCTION_WORDS))
    framing |= words("tell explain happens mean find purpose way possible page know handled")
    framing |= {"controls", "i", "where", "want", "there", "see"}
    shared = 0
    for each in asked:
        content = words(each.question) - framing
        assert content <= {*WORDS, "document"}
        shared += content <= words(texts[each.page])
    assert shared / len(asked) > 0.7


def test_a_question_about_words_alone_is_of_those_words() -> None:
    page = [*WORDS[:12], "castle.", "Remove", "the", "river", "from", "a", "garden", "now."]
    framing = words(" ".join(FUNCTION_WORDS))
    framing |= words(
        "tell explain happens mean find purpose way possible page know handled controls"
    )
    made, rng, found = asker(), random.Random(0), []
    for _ in range(200):
        question = made.question(rng, page)
        assert words(question) - framing <= words(" ".join(page))
        found.append(question)
    assert len(set(found)) > 150
    # In the forms that people ask in, as a run of words, and by rare words alone.
    assert any(question.startswith("how do i ") for question in found)
    assert any(question in " ".join(page) for question in found if question.count(" ") > 1)


def test_nothing_is_asked_about_an_empty_page() -> None:
    rng = random.Random(0)
    assert {asker().question(rng, ()) for _ in range(40)} == {""}


def test_reworded_questions_use_the_table() -> None:
    made = Asker(documents(), TABLE)
    rng = random.Random(0)
    topic = ["Remove", "the", "river", "castle"]
    assert made.reworded(rng, topic, 0.0) == topic
    found = [made.reworded(rng, topic, 1.0) for _ in range(400)]
    assert {each[0] for each in found} == {"delete", "discard"}
    # Closer words come more often, by the fourth power.
    share = sum(each[0] == "delete" for each in found) / len(found)
    assert share == pytest.approx(0.9**4 / (0.9**4 + 0.7**4), abs=0.08)
    # Function words stay, and so does what has no synonym.
    assert {tuple(each[1:]) for each in found} == {("the", "river", "fortress")}
    half = [made.reworded(rng, ["castle"], 0.5)[0] for _ in range(400)]
    assert 0.4 < half.count("fortress") / 400 < 0.6


def test_questions_of_a_batch_are_reworded_too() -> None:
    _, asked = asker(TABLE).batch(random.Random(0), 60, 2)
    found = set().union(*(words(each.question) for each in asked))
    assert {"delete", "fortress"} <= found


def test_short_documents_are_not_asked_about() -> None:
    short = Document("s", "", (Section("unheard", "of " * 20),))
    texts, _ = Asker([short, *documents(1)], {}).batch(random.Random(0), 20, 1)
    assert not any("unheard" in text for text in texts)


def test_dictionaries_are_asked_about_less_often() -> None:
    def named(source: str, word: str) -> Document:
        return Document(source, "", (Section("", f"{word} " * 400),))

    made = Asker([named("dict-x", "entry"), named("manual", "chapter")], {})
    texts, _ = made.batch(random.Random(0), 200, 1)
    share = sum("entry" in text for text in texts) / len(texts)
    assert 0.07 < share < 0.2


def test_a_long_section_is_cut_into_pages() -> None:
    long = Document("s", "", (Section("", " ".join(f"w{number}" for number in range(5000))),))
    texts, _ = Asker([long], {}).batch(random.Random(0), 10, 1)
    starts = {text.split()[0] for text in texts}
    assert len(starts) > 5
    for text in texts:
        numbers = [int(word[1:]) for word in text.split()]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_rare_words_are_the_pages_rarest() -> None:
    common = " ".join(["castle garden river mountain"] * 30)
    many = [Document("s", "", (Section("", common),)) for _ in range(5)]
    unusual = " ".join(f"unusual{letter}" for letter in "abcdefghijklmnopqrstuvwxyz")
    made = Asker([*many, Document("s", "", (Section("", f"{common} {unusual}"),))], {})
    found = made.rare(random.Random(0), f"{common} {unusual}".split(), 4)
    assert len(found) == 4
    assert all(word.startswith("unusual") for word in found)


def test_asked_is_what_the_trainer_takes() -> None:
    assert Asked("how", 3).page == 3
