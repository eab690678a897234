"""Questions that somebody could ask."""

from __future__ import annotations

import random

from colpali_serve.training.semantics.askable import askable
from colpali_serve.training.semantics.asker import Asker
from colpali_serve.training.text.documents import Document, Section
from tests.training import materials

GLOSSES = ["a device that prints", "short", "to take away what was there before"]


def texts(count: int) -> list[str]:
    asks = Section("How it is", "Can the printer fold paper? It " + "prints well " * 30 + ".")
    documents = [*materials.documents(), Document("test", "asks", (asks,))]
    asker = Asker(documents, {"remove": {"delete": 0.8}})
    return askable(random.Random(0), documents, asker, GLOSSES, count)


def test_every_kind_is_there_and_none_twice() -> None:
    found = texts(300)
    assert len(set(found)) == len(found)
    assert "Can the printer fold paper?" in found
    assert all(any(gloss in text for text in found) for gloss in (GLOSSES[0], GLOSSES[2]))
    assert not any("short" in text.split() for text in found)
    headings = {part.heading for document in materials.documents() for part in document.sections}
    assert any(heading.lower() in text for heading in headings for text in found)
    said = " ".join(part.text.lower() for one in materials.documents() for part in one.sections)
    assert any(" ".join(text.split()[-5:]) in said and text.endswith(".") for text in found)


def test_the_count_is_kept_where_there_is_enough_and_choices_repeat() -> None:
    assert 60 <= len(texts(100)) <= 110
    assert texts(100) == texts(100)
