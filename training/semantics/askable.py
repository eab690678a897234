"""Questions of every kind that a corpus and a dictionary have.

To learn what a question means no page is needed, only many questions: made ones, those that manuals
ask themselves, and headings, sentences and the glosses of a dictionary in the form of one.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence

from colpali_serve.training.semantics.asker import ASKING_WORDS, QUESTION_FORMS, Asker
from colpali_serve.training.text.documents import Document

_SENTENCE = re.compile(r"(?<=[.!?:;])\s+")
_ASKING = re.compile(rf"(?i)({'|'.join(ASKING_WORDS)})\b.*\?$")
_SENTENCE_WORDS, _QUESTION_WORDS, _HEADING_WORDS = (6, 20), (4, 25), (2, 12)
_GLOSS_WORDS = (4, 20)
# Of the texts; the questions of manuals are few, and all are taken.
_MADE, _SENTENCES, _GLOSSES = 0.46, 0.23, 0.16
_PAGES, _RIVALS = 64, 2


def askable(
    rng: random.Random,
    documents: Sequence[Document],
    asker: Asker,
    glosses: Iterable[str],
    count: int,
) -> list[str]:
    """Different questions.

    Args:
        rng: where the choices come from.
        documents: the training text.
        asker: makes questions about it.
        glosses: of a dictionary.
        count: about how many; fewer where there is not so much text.
    """
    made: set[str] = set()
    for _ in range(2 * int(count * _MADE) // _PAGES + 1):  # each batch has a question a page
        made |= {one.question for one in asker.batch(rng, _PAGES, _RIVALS)[1]}
        if len(made) >= count * _MADE:
            break
    headings, sentences, questions = set[str](), set[str](), set[str]()
    for document in documents:
        for section in document.sections:
            if _long(section.heading, _HEADING_WORDS):
                headings.add(section.heading)
            for text in _SENTENCE.split(section.text):
                if _long(text, _QUESTION_WORDS) and _ASKING.match(text):
                    questions.add(text)
                elif _long(text, _SENTENCE_WORDS):
                    sentences.add(text)
    explained = {gloss for gloss in glosses if _long(gloss, _GLOSS_WORDS)}
    said = [
        *_some(rng, sentences, int(count * _SENTENCES)),
        *_some(rng, explained, int(count * _GLOSSES)),
    ]
    kept = [*sorted(made), *sorted(questions)]
    said += _some(rng, headings, count - len(kept) - len(said))
    # Text of programs has braces of its own.
    kept += [rng.choice(QUESTION_FORMS).replace("{}", text.lower()) for text in said]
    return list(dict.fromkeys(kept))


def _long(text: str, words: tuple[int, int]) -> bool:
    least, most = words
    return least <= len(text.split()) <= most


def _some(rng: random.Random, texts: set[str], count: int) -> list[str]:
    return rng.sample(sorted(texts), max(0, min(count, len(texts))))
