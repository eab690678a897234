"""Questions about stretches of text, in the text's words and in others."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from colpali_serve.training.text.documents import Document

# A page of a manual has about this many words.
_PAGE_WORDS = (120, 420)
# Nobody asks about a page of a dictionary as about a manual's; their words are worth knowing.
_DICTIONARY_WEIGHT = 0.15
_WORD = re.compile(r"[A-Za-z][A-Za-z'-]*|[0-9][0-9.,]*")
_SENTENCE = re.compile(r"(?<=[.!?:;])\s+")
_EMPTY_HEADINGS = """
name synopsis description see also notes overview introduction example examples options return
value errors warning note important contents index bugs copyright author authors conforming to
versions history standards attributes next previous up home
"""
_HEADINGS_THAT_SAY_NOTHING = frozenset(_EMPTY_HEADINGS.split())
_LITTLE_WORDS = """
a about after all also an and any are as at be because been before being between both but by can
could did do does doing done each either else etc ever every few for from get gets had has have
having he her here his how i if in instead into is it its just let like made make makes many may me
might more most much must my need no nor not now of off on once one only onto or other our out over
own per please same say see shall she should so some such than that the their them then there these
they this those through thus to too under until up upon us use used uses using very via want was we
well were what when where whether which while who whom whose why will with within without would yet
you your
"""
FUNCTION_WORDS = frozenset(_LITTLE_WORDS.split())
_ASKING = "how what where which why when who can may could should will is are do does did"
ASKING_WORDS = tuple(_ASKING.split())
"""What questions begin with."""

# {} is what is asked about.
QUESTION_FORMS = (
    "how do i {}", "how to {}", "how can i {}", "how does one {}", "how do you {}", "what is {}",
    "what does {} mean", "what are {}", "what happens with {}", "where do i find {}",
    "where can i see {}", "which {}", "why {}", "when should i {}", "can i {}",
    "is it possible to {}", "tell me about {}", "explain {}", "what do i do if {}", "i want to {}",
    "what is the way to {}", "how are {} handled", "which page is about {}",
    "is there a way to {}", "what should i know about {}",
    "who {}", "how many {}", "what controls {}", "what is the purpose of {}", "{} ?",
)  # fmt: skip


def words_of(text: Sequence[str]) -> set[str]:
    """The words of a page in lower case, without what stands around them."""
    return {found for word in text for found in _WORD.findall(word.lower())}


def pairs_of(text: Sequence[str]) -> set[str]:
    """The words of a page with the one behind each: "as they", "they stand"."""
    words = [found for word in text for found in _WORD.findall(word.lower())]
    return {f"{word} {behind}" for word, behind in pairwise(words)}


@dataclass(frozen=True, slots=True)
class Asked:
    """A question and the text that answers it; the texts of one batch are each other's rivals."""

    question: str
    page: int


class Asker:
    """Makes questions about pages of text.

    Args:
        documents: what the pages are cut from.
        synonyms: words that may stand for a word, with how close they are.
    """

    def __init__(
        self, documents: Sequence[Document], synonyms: Mapping[str, Mapping[str, float]]
    ) -> None:
        self._synonyms = synonyms
        self._documents = [document for document in documents if document.words() >= 60]
        # Long documents have more pages to ask about, and closer rivals.
        self._sizes = [
            min(document.words(), 8000)
            * (_DICTIONARY_WEIGHT if document.source.startswith("dict-") else 1.0)
            for document in self._documents
        ]
        used: Counter[str] = Counter()
        for document in self._documents:
            texts = " ".join(part.text for part in document.sections)
            used.update({word.lower() for word in _WORD.findall(texts)})
        self._used = used

    def batch(self, rng: random.Random, pages: int, rivals: int) -> tuple[list[str], list[Asked]]:
        """Pages of text and one or two questions about each.

        Args:
            rng: where the choices come from.
            pages: how many.
            rivals: at most this many are of one document, from places near each other.

        Returns:
            The texts, headings left out here and there, and the questions.
        """
        texts: list[str] = []
        asked: list[Asked] = []
        while len(texts) < pages:
            document = rng.choices(self._documents, self._sizes)[0]
            place = rng.randrange(len(document.sections))
            for _ in range(rivals):
                if place >= len(document.sections) or len(texts) == pages:
                    break
                text, headings, place = self._page(rng, document, place)
                if len(text) < 20:
                    continue
                questions = [self.question(rng, text, headings) for _ in range(rng.choice([1, 2]))]
                asked += [Asked(question, len(texts)) for question in questions if question]
                texts.append(" ".join(text))
        return texts, asked

    def _page(
        self, rng: random.Random, document: Document, place: int
    ) -> tuple[list[str], list[str], int]:
        """Words of a stretch of sections, its telling headings, and the section behind it."""
        wanted = rng.randint(*_PAGE_WORDS)
        words: list[str] = []
        headings: list[str] = []
        while place < len(document.sections) and len(words) < wanted:
            section = document.sections[place]
            place += 1
            telling = set(section.heading.lower().split()) - _HEADINGS_THAT_SAY_NOTHING
            if telling - FUNCTION_WORDS:
                headings.append(section.heading)
            # A heading that is asked for is not always on the page itself.
            if rng.random() < 0.4:
                words += section.heading.split()
            text = section.text.split()
            start = 0
            if len(text) > wanted:  # a long section: one page out of it
                start = rng.randrange(len(text) - wanted)
            words += text[start : start + wanted]
        return words[: wanted + 60], headings, place

    def question(
        self, rng: random.Random, words: Sequence[str], headings: Sequence[str] = ()
    ) -> str:
        """A question about a page, or words that it is looked for by; empty if none was found.

        Args:
            rng: where the choices come from.
            words: of the page, in reading order.
            headings: of its sections, where they are known.
        """
        kind = rng.random()
        if kind < 0.3 and headings:
            topic = _WORD.findall(rng.choice(headings))[:10]
        elif kind < 0.7:
            topic = self._from_sentence(rng, " ".join(words))
        elif kind < 0.85:
            return " ".join(self.rare(rng, words, rng.randint(1, 4)))
        else:
            start = rng.randrange(max(1, len(words) - 5))
            return " ".join(words[start : start + rng.randint(3, 7)])
        if not topic:
            return ""
        if rng.random() < 0.7:
            topic = self.reworded(rng, topic, rng.choice([0.3, 0.6, 1.0, 1.0]))
        text = " ".join(topic).lower()
        return rng.choice(QUESTION_FORMS).format(text) if rng.random() < 0.8 else text

    def _from_sentence(self, rng: random.Random, text: str) -> list[str]:
        sentences = [part for part in _SENTENCE.split(text) if 5 <= part.count(" ") <= 40]
        if not sentences:
            return []
        words = _WORD.findall(rng.choice(sentences))
        if len(words) > 12:
            start = rng.randrange(len(words) - 8)
            words = words[start : start + rng.randint(6, 12)]
        # As people ask: what matters is kept, little words come and go.
        kept = [word for word in words if word.lower() not in FUNCTION_WORDS or rng.random() < 0.5]
        return [word for word in kept if rng.random() < 0.85]

    def rare(self, rng: random.Random, words: Sequence[str], count: int) -> list[str]:
        """Some of a page's twenty rarest words, in lower case.

        Args:
            rng: where the choices come from.
            words: of the page.
            count: how many, at most.
        """
        known = {word for word in words_of(words) if len(word) > 3}
        by_use = sorted(known, key=lambda word: (self._used[word], word))
        return rng.sample(by_use[:20], min(count, len(by_use[:20])))

    def reworded(self, rng: random.Random, words: Sequence[str], share: float) -> list[str]:
        """The words, some of them replaced by others that are close in meaning.

        Args:
            rng: where the choices come from.
            words: what is asked about.
            share: of the words that have a synonym, how many are replaced.
        """
        changed = []
        for word in words:
            others = self._synonyms.get(word.lower())
            if others and word.lower() not in FUNCTION_WORDS and rng.random() < share:
                # Closer words come more often.
                weights = [close**4 for close in others.values()]
                changed.append(rng.choices(list(others), weights)[0])
            else:
                changed.append(word)
        return changed
