"""What a page says: running text of one document, dictionary words, numbers and codes."""

from __future__ import annotations

import random
import string
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from colpali_serve.training.text.documents import Document, Section

# One dictionary word in ten is never drawn by itself in training. The evaluation asks for those of
# them that the training text, which is drawn as it is, does not have either.
_HELD_OUT_SHARE = 10


def is_held_out(word: str) -> bool:
    """Whether a word is kept from training. The choice depends on the word alone."""
    return zlib.crc32(word.lower().encode()) % _HELD_OUT_SHARE == 0


@dataclass(frozen=True)
class Vocabulary:
    """The words that pages may use.

    Attributes:
        words: dictionary words, of which one is drawn at a time.
        documents: running text.
    """

    words: Sequence[str]
    documents: Sequence[Document]


@dataclass
class Wording:
    """The text of one page: a document read on from a random place, and words beside it.

    Attributes:
        rng: where the choices come from.
        vocabulary: what there is to say.
        invented: share of words drawn from the dictionary instead of from the document; 1 makes
            the page a list of words that have nothing to do with each other.
        document: number of the document that is read.
        place: number of the section that is read next.
    """

    rng: random.Random
    vocabulary: Vocabulary
    invented: float
    document: int = field(init=False)
    place: int = field(init=False)
    _queue: list[str] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.document = self.rng.randrange(len(self.vocabulary.documents))
        self.place = self.rng.randrange(len(self._sections()))
        # Not always from a section's first word, or first words would be all that is learned.
        if self.rng.random() < 0.5:
            self._fill()
            self._queue = self._queue[self.rng.randrange(len(self._queue)) :]

    def _sections(self) -> Sequence[Section]:
        return self.vocabulary.documents[self.document].sections

    def _fill(self) -> None:
        if self.place >= len(self._sections()):  # read on in the next document
            self.document = (self.document + 1) % len(self.vocabulary.documents)
            self.place = 0
        self._queue += self._sections()[self.place].text.split() or ["."]
        self.place += 1

    def heading(self) -> list[str]:
        """The heading of the section that is read now, or some words where it has none."""
        words = self._sections()[max(0, self.place - 1)].heading.split()[:12]
        if not words or self.rng.random() < self.invented:
            return [self.case(self.word()) for _ in range(self.rng.randint(1, 6))]
        return words

    def running(self, count: int) -> list[str]:
        """The next `count` words, some of them replaced by invented ones."""
        while len(self._queue) < count:
            self._fill()
        words, self._queue = self._queue[:count], self._queue[count:]
        if self.invented == 0:
            return words
        return [
            self.case(self.word()) if self.rng.random() < self.invented else word for word in words
        ]

    def words(self, count: int) -> list[str]:
        """Words for a label or a cell: from the document or from the dictionary."""
        if self.rng.random() < max(0.3, self.invented):
            return [self.case(self.word()) for _ in range(count)]
        return self.running(count)

    def word(self) -> str:
        """One dictionary word, or in one case of ten a code."""
        return self.code() if self.rng.random() < 0.1 else self.rng.choice(self.vocabulary.words)

    def case(self, word: str) -> str:
        """The word as a sentence might have it: capitalised, upper case, before a comma."""
        kind = self.rng.random()
        shown = word if kind < 0.7 else word.capitalize() if kind < 0.9 else word.upper()
        mark = self.rng.random()
        return shown + ("," if mark < 0.08 else "." if mark < 0.14 else ":" if mark < 0.16 else "")

    def code(self) -> str:
        """A number, an amount, a date, a share, an article number."""
        rng = self.rng
        kind = rng.random()
        if kind < 0.3:
            return str(rng.randint(0, 10 ** rng.randint(1, 6)))
        if kind < 0.42:
            return f"{rng.randint(1, 99999) / 100:.2f}"
        if kind < 0.5:
            return f"${rng.randint(1, 999)},{rng.randint(0, 999):03d}"
        if kind < 0.56:
            return str(rng.randint(1950, 2030))
        if kind < 0.62:
            return f"{rng.randint(1950, 2030)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"
        if kind < 0.7:
            return f"{rng.randint(1, 99)}%"
        if kind < 0.8:
            letters = "".join(rng.choices(string.ascii_uppercase, k=rng.randint(1, 3)))
            return f"{letters}-{rng.randint(10, 99999)}"
        return "".join(rng.choices(string.ascii_uppercase + string.digits, k=rng.randint(2, 8)))
