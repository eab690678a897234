"""Where training keeps what it fetched and made, and how each part is made from the ones before.

Everything lies below one folder (`training/.work` unless told otherwise) and is made once: a part
that is there is not made again, so that an interrupted run goes on where it stopped. Delete a
file to have it made anew.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pypdfium2
from rich.progress import Progress
from transformers import PreTrainedTokenizerFast

from colpali_serve.engine.machine import usable_cores
from colpali_serve.training import shards, vocabulary
from colpali_serve.training.evaluation.manuals import load_pages, read_manuals
from colpali_serve.training.packages import Package, fetch, read_packages, read_toml
from colpali_serve.training.pages import fonts, printed
from colpali_serve.training.pages.fonts import Fonts
from colpali_serve.training.pages.generator import PageMaker
from colpali_serve.training.pages.printed import Print
from colpali_serve.training.pages.wording import Vocabulary, is_held_out
from colpali_serve.training.seeds import seeded
from colpali_serve.training.semantics import encoder, synonyms
from colpali_serve.training.text import corpus, documents
from colpali_serve.training.text.dictionaries import synsets
from colpali_serve.training.text.documents import Document
from colpali_serve.training.whole_files import whole

ROOM = Path(__file__).resolve().parent
WHOLE_WORDS, PIECES = 2300, 4096
RELATED_WORDS = 14_000


@dataclass(frozen=True)
class Workplace:
    """The folder of one training, and its parts.

    Attributes:
        folder: where everything is kept.
        sources: folder of text.toml, fonts.toml, manuals.toml and evaluation.toml.
        pages_in_a_shard: how many pages one process draws at a time.
    """

    folder: Path = ROOM / ".work"
    sources: Path = ROOM / "sources"
    pages_in_a_shard: int = 400

    def _packages(self, name: str) -> tuple[list[Package], dict[str, Path]]:
        file = self.sources / f"{name}.toml"
        return read_packages(file), fetch(file, self.folder / "packages")

    def corpus(self, progress: Progress) -> list[Document]:
        """The training text, without what the evaluation's pages say."""
        path = self.folder / "corpus.jsonl"
        if not path.exists():
            forbidden = self._evaluation_shingles()
            packages, folders = self._packages("text")
            tables = {t["name"]: t for t in read_toml(self.sources / "text.toml")["package"]}
            task = progress.add_task("reading text", total=len(packages))
            found: list[Document] = []
            for package in packages:
                table = tables[package.name]
                if table["reader"] in corpus.READERS:
                    paths = package.paths(folders[package.name])
                    limit = table.get("limit", 10**9)
                    for document in corpus.documents(package.name, table["reader"], paths, limit):
                        clean = corpus.without(document, forbidden)
                        if clean.sections:
                            found.append(clean)
                progress.advance(task)
            with whole(path) as unfinished:
                documents.write(found, unfinished)
        return list(documents.read(path))

    def _evaluation_shingles(self) -> set[int]:
        """Runs of words on the pages that checkpoints are judged by, and on the demo's."""
        manuals = self.sources / "evaluation.toml"
        folders = fetch(manuals, self.folder / "packages")
        pages, _ = load_pages(read_manuals(manuals), folders, self.folder / "evaluation")
        texts = [page.text for page in pages]
        for path in sorted((ROOM.parent / "examples" / "pages").glob("*.pdf")):
            pdf = pypdfium2.PdfDocument(path)
            texts += [page.get_textpage().get_text_range() for page in pdf]
            pdf.close()
        return set().union(*map(corpus.shingles, texts))

    def words(self) -> list[str]:
        """Dictionary words that are plain ASCII and no genitives."""
        _, folders = self._packages("text")
        path = folders["wamerican"] / "usr/share/dict/american-english"
        return [w for w in path.read_text().split() if w.isascii() and not w.endswith("'s")]

    def tokenizer(self, progress: Progress) -> PreTrainedTokenizerFast:
        """The tokenizer, trained on the corpus."""
        path = self.folder / "tokenizer"
        if not (path / "tokenizer.json").exists():
            texts = (
                " ".join(f"{part.heading} {part.text}" for part in document.sections)
                for document in self.corpus(progress)
            )
            vocabulary.train(texts, self.words(), WHOLE_WORDS, PIECES).save_pretrained(path)
        return vocabulary.load(path)

    def synonyms(self, progress: Progress) -> dict[str, dict[str, float]]:
        """Words that may stand for each other."""
        path = self.folder / "synonyms.json"
        if not path.exists():
            _, folders = self._packages("text")
            words = synonyms.frequent(self.corpus(progress), self.words(), RELATED_WORDS)
            together = synonyms.named_together(
                synsets(folders["wordnet-base"] / "usr/share/wordnet")
            )
            task = progress.add_task("relating words", total=len(words))

            def embed(texts: Sequence[str]) -> np.ndarray:
                return encoder.embed(
                    texts, encoder.bundled(), lambda done: progress.advance(task, done)
                )

            table = synonyms.related(words, together, embed)
            with whole(path) as unfinished:
                synonyms.write(table, unfinished)
        return synonyms.read(path)

    def understood(self, progress: Progress, name: str, texts: Sequence[str]) -> np.ndarray:
        """MiniLM's vectors of texts, kept by what the texts are."""
        task = progress.add_task(f"understanding {name}", total=len(texts))
        kept = self.folder / "understood"
        return encoder.understood(
            texts, encoder.bundled(), kept, lambda done: progress.advance(task, done)
        )

    def glosses(self) -> list[str]:
        """What WordNet explains each of its meanings by."""
        _, folders = self._packages("text")
        folder = folders["wordnet-base"] / "usr/share/wordnet"
        return [synset.gloss for synset in synsets(folder)]

    def fonts(self, *, held_out: bool = False) -> Fonts:
        """The fonts of training pages, or those that only the evaluation uses."""
        _, folders = self._packages("fonts")
        roles: dict[str, list[Path]] = {"common": [], "rare": [], "held-out": []}
        for table in read_toml(self.sources / "fonts.toml")["package"]:
            roles[table["role"]].append(folders[table["name"]])
        if held_out:
            return Fonts(fonts.usable(roles["held-out"]), ())
        return Fonts(fonts.usable(roles["common"]), fonts.usable(roles["rare"]))

    def maker(self, seed: int) -> PageMaker:
        """Draws pages for training."""
        return PageMaker(*_drawn_of(self), seed)

    def pages(self, progress: Progress, count: int, seed: int, workers: int) -> list[Path]:
        """Shards of training pages.

        Args:
            progress: shows how many are drawn.
            count: pages, rounded up to whole shards.
            seed: of the first shard; each has its own.
            workers: processes that draw.
        """
        folder = self.folder / "pages"
        folder.mkdir(parents=True, exist_ok=True)
        paths = [
            folder / f"{seed}-{number:04d}.npy"
            for number in range(math.ceil(count / self.pages_in_a_shard))
        ]
        missing = [path for path in paths if not path.exists()]
        if missing:
            self.corpus(progress)  # made once, not by every worker
            task = progress.add_task("drawing pages", total=len(missing) * self.pages_in_a_shard)
            jobs = [partial(_draw, self, path) for path in missing]
            _spread(jobs, workers, lambda: progress.advance(task, self.pages_in_a_shard))
        return paths

    def prints(self, progress: Progress, workers: int) -> list[Path]:
        """Shards of the pages of real manuals that sources/manuals.toml names.

        Args:
            progress: shows how far it is.
            workers: processes that print.
        """
        folder = self.folder / "prints"
        names = folder / "shards.json"
        if not names.exists():
            folder.mkdir(parents=True, exist_ok=True)
            usable = self._usable_prints(progress)
            size = self.pages_in_a_shard
            parts = {
                folder / f"{start // size:04d}.npy": usable[start : start + size]
                for start in range(0, len(usable), size)
            }
            missing = {path: part for path, part in parts.items() if not path.exists()}
            task = progress.add_task("printing pages", total=len(missing))
            jobs = [partial(_print, path, part) for path, part in missing.items()]
            _spread(jobs, workers, lambda: progress.advance(task))
            with whole(names) as unfinished:
                unfinished.write_text(json.dumps([path.name for path in parts]))
        return [folder / name for name in json.loads(names.read_text())]

    def printed_words(self, progress: Progress) -> set[str]:
        """Every word that a printed page shows."""
        return {word for page in self.printed_texts(progress) for word in page}

    def printed_texts(self, progress: Progress) -> Iterator[list[str]]:
        """The words of each printed page."""
        for path in self.prints(progress, usable_cores()):
            for page in shards.read(path).words:
                yield [word.text for word in page]

    def _usable_prints(self, progress: Progress) -> list[Print]:
        """Pages of manuals that share no run of words with the evaluation's."""
        forbidden = self._evaluation_shingles()
        packages, folders = self._packages("manuals")
        tables = {t["name"]: t for t in read_toml(self.sources / "manuals.toml")["package"]}
        task = progress.add_task("choosing pages of manuals", total=len(packages))
        usable: list[Print] = []
        for package in packages:
            table, rng = tables[package.name], random.Random(package.name)
            paths = list(package.paths(folders[package.name]))
            found = printed.chosen(rng, paths, table["each"], table["most"])
            usable += [
                one
                for one, text in printed.texts(found)
                if forbidden.isdisjoint(corpus.shingles(text))
            ]
            progress.advance(task)
        return usable


@cache
def _drawn_of(workplace: Workplace) -> tuple[Vocabulary, Fonts]:
    """What pages are drawn of, read once by each process that draws."""
    words = [word for word in workplace.words() if not is_held_out(word)]
    with Progress(disable=True) as silent:
        return Vocabulary(words, workplace.corpus(silent)), workplace.fonts()


def _draw(workplace: Workplace, path: Path) -> None:
    maker = workplace.maker(seeded("pages", path.stem))
    shards.write(path, iter(maker.page, None), workplace.pages_in_a_shard)


def _print(path: Path, prints: Sequence[Print]) -> None:
    rng = random.Random(seeded("prints", path.stem))
    shards.write(path, printed.drawn(rng, prints), len(prints))


def _spread(jobs: Sequence[Callable[[], None]], workers: int, done: Callable[[], object]) -> None:
    """Run jobs in processes of their own; `done` is called after each."""
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        running = [pool.submit(job) for job in jobs]
        try:
            for one in as_completed(running):
                one.result()
                done()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
