"""Judges a checkpoint on drawn pages: words and fonts that training never showed, sizes, skew."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from colpali_serve.schemas import ConfigError
from colpali_serve.training.evaluation.asking import SHORTEST, DrawnSet, ask
from colpali_serve.training.evaluation.bm25 import bm25
from colpali_serve.training.evaluation.bm25 import words as split
from colpali_serve.training.evaluation.drawing import draw_page
from colpali_serve.training.evaluation.real import BM25, System, score_images
from colpali_serve.training.packages import progress_bar
from colpali_serve.training.pages.fonts import Fonts
from colpali_serve.training.pages.wording import Vocabulary, is_held_out
from colpali_serve.training.seeds import seeded
from colpali_serve.training.text.documents import Document
from colpali_serve.training.workplace import Workplace

DEGREES = (2.0, -2.0)
_MOST_PLANTED, _LEAST_PLANTED = 24, 6


@dataclass(frozen=True)
class Plan:
    """How many pages of what.

    Attributes:
        mixed: Kind -> pages that are asked for by unseen words.
        sheets: Kind -> further pages that are asked for by codes.
        photographs: Slides with a picture.
        turned: How many of the mixed pages are turned as well, to either side.
    """

    mixed: dict[str, int]
    sheets: dict[str, int]
    photographs: int
    turned: int

    def shrunk(self, pages: int) -> Plan:
        """A plan of the same kinds for about so many pages, at least one of each that it has."""
        share = min(1.0, pages / self.pages)

        def fewer(count: int) -> int:
            return max(min(1, count), round(count * share))

        return Plan(
            {kind: fewer(count) for kind, count in self.mixed.items()},
            {kind: fewer(count) for kind, count in self.sheets.items()},
            fewer(self.photographs),
            fewer(self.turned),
        )

    @property
    def pages(self) -> int:
        """How many pages, turned copies among them."""
        upright = sum(self.mixed.values()) + sum(self.sheets.values()) + self.photographs
        return upright + len(DEGREES) * self.turned


PLAN = Plan(
    {"article": 48, "slide": 16, "table": 16, "labels": 16, "form": 12, "chart": 12},
    {"table": 14, "form": 14},
    40,
    28,
)


def unseen_words(
    words: Iterable[str], documents: Iterable[Document], printed: Iterable[str] = ()
) -> list[str]:
    """Choose the words that may be asked for: held out, and nowhere in what training shows.

    Args:
        words: A dictionary.
        documents: The training text.
        printed: Words of the printed pages that training shows, as they stand there.

    Returns:
        Lower-case words of four letters or more, sorted.
    """
    held_out = {
        word
        for word in words
        if len(word) >= SHORTEST
        and word.isascii()
        and word.isalpha()
        and word.islower()
        and is_held_out(word)
    }
    held_out.difference_update(*map(split, printed))
    for document in documents:
        held_out.difference_update(split(document.title))
        for section in document.sections:
            held_out.difference_update(split(section.heading), split(section.text))
    return sorted(held_out)


def draw_set(
    vocabulary: Vocabulary,
    fonts: Fonts,
    unseen: Sequence[str],
    plan: Plan = PLAN,
    seed: int = 0,
    done: Callable[[], None] = lambda: None,
) -> DrawnSet:
    """Draw the pages and choose the queries.

    Args:
        vocabulary: Words and documents that the pages say besides.
        fonts: Fonts that training never uses.
        unseen: What `unseen_words` returned; each is planted on one page at most.
        plan: How many pages of what.
        seed: The same seed gives the same set.
        done: Called after each page.

    Raises:
        ConfigError: There is no font, or too few words for so many pages.
    """
    kinds = [
        kind for part in (plan.mixed, plan.sheets) for kind, n in part.items() for _ in range(n)
    ]
    kinds += ["slide"] * plan.photographs
    each = min(_MOST_PLANTED, len(unseen) // max(1, len(kinds)))
    if each < _LEAST_PLANTED:
        raise ConfigError(
            f"{len(unseen)} unseen words are too few for {len(kinds)} pages, expected "
            f"{_LEAST_PLANTED} a page"
        )
    if not fonts.common:
        raise ConfigError("no held-out font can be read, expected at least one")
    shuffled = random.Random(seeded("unseen", seed)).sample(unseen, each * len(kinds))
    pages = []
    for place, kind in enumerate(kinds):
        own = shuffled[place * each : (place + 1) * each]
        photograph = place >= len(kinds) - plan.photographs
        page_seed = seeded("evaluation", seed, place)
        pages.append(draw_page(kind, page_seed, vocabulary, fonts, own, photograph=photograph))
        done()
    mixed = sum(plan.mixed.values())
    # Spread over all of them, which lie sorted by kind.
    chosen = [place * mixed // plan.turned for place in range(plan.turned)]
    turned: dict[float, dict[int, int]] = {}
    for degrees in DEGREES:
        turned[degrees] = {page: len(pages) + copy for copy, page in enumerate(chosen)}
        for page in chosen:
            pages.append(pages[page].turned(degrees))
            done()
    drawn = DrawnSet(tuple(pages), len(kinds), turned, ())
    queries = ask(drawn, mixed, plan.photographs, seeded("queries", seed))
    return replace(drawn, asked=tuple(queries))


def load_set(work: Path, sources: Path, plan: Plan = PLAN) -> DrawnSet:
    """Draw the set of the training's own text, dictionary and held-out fonts.

    Args:
        work: Folder for what is fetched and made.
        sources: Folder of the lists of packages.
        plan: How many pages of what.

    Raises:
        ConfigError: A package cannot be fetched, or there is too little to draw from.
    """
    workplace = Workplace(work, sources)
    with progress_bar() as progress:
        documents, words = workplace.corpus(progress), workplace.words()
        task = progress.add_task("drawing pages", total=plan.pages)
        return draw_set(
            Vocabulary([word for word in words if not is_held_out(word)], documents),
            workplace.fonts(held_out=True),
            unseen_words(words, documents, workplace.printed_words(progress)),
            plan,
            done=lambda: progress.advance(task),
        )


def by_words(drawn: DrawnSet) -> System:
    """Score all queries by BM25 over the exact words of the pages."""
    return System(
        BM25,
        {"all": bm25([asked.text for asked in drawn.asked], [page.text for page in drawn.pages])},
    )


def by_checkpoint(drawn: DrawnSet, checkpoint: Path, work: Path) -> System:
    """Score all queries by a checkpoint, as the service would.

    Embeddings of pages are kept on disk as those of real pages are. `COLPALI_*` settings are
    respected.

    Args:
        drawn: Pages and queries.
        checkpoint: Folder of the checkpoint.
        work: Folder for embeddings.

    Returns:
        Scores float32 (n_queries, n_pages) of the kind "all", turned copies among the pages.

    Raises:
        ModelLoadError: The checkpoint could not be loaded or proved.
        ConfigError: A page or query could not be embedded.
    """
    texts = [asked.text for asked in drawn.asked]
    images = ((f"{page.kind} {place}", page.image) for place, page in enumerate(drawn.pages))
    return score_images(checkpoint, texts, images, len(drawn.pages), work)
