"""Where training keeps what it fetched and made, and how each part is made from the ones before.

Everything lies below one folder (`training/.work` unless told otherwise) and is made once: a part
that is there is not made again, so that an interrupted run goes on where it stopped. Delete a
file to have it made anew.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pypdfium2
from rich.progress import Progress
from transformers import PreTrainedTokenizerFast

from colpali_serve.training import shards, vocabulary
from colpali_serve.training.evaluation.manuals import load_pages, read_manuals
from colpali_serve.training.packages import Package, fetch, read_packages, read_toml
from colpali_serve.training.pages import fonts
from colpali_serve.training.pages.fonts import Fonts
from colpali_serve.training.pages.generator import PageMaker
from colpali_serve.training.pages.wording import Vocabulary, is_held_out
from colpali_serve.training.seeds import seeded
from colpali_serve.training.semantics import encoder, synonyms
from colpali_serve.training.text import corpus, documents
from colpali_serve.training.text.dictionaries import synsets
from colpali_serve.training.text.documents import Document

ROOM = Path(__file__).resolve().parent
WHOLE_WORDS, PIECES = 2300, 4096
RELATED_WORDS = 14_000


@dataclass(frozen=True)
class Workplace:
    """The folder of one training, and its parts.

    Attributes:
        folder: where everything is kept.
        sources: folder of text.toml, fonts.toml and evaluation.toml.
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
            _whole(path, lambda partial: documents.write(found, partial))
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
            _whole(path, lambda partial: synonyms.write(table, partial))
        return synonyms.read(path)

    def fonts(self, *, held_out: bool = False) -> Fonts:
        """The fonts of training pages, or those that only the evaluation uses."""
        _, folders = self._packages("fonts")
        roles: dict[str, list[Path]] = {"common": [], "rare": [], "held-out": []}
        for table in read_toml(self.sources / "fonts.toml")["package"]:
            roles[table["role"]].append(folders[table["name"]])
        if held_out:
            return Fonts(fonts.usable(roles["held-out"]), ())
        return Fonts(fonts.usable(roles["common"]), fonts.usable(roles["rare"]))

    def maker(self, progress: Progress, seed: int, *, held_out: bool = False) -> PageMaker:
        """Draws pages: for training, or with words and fonts that training never sees."""
        words = [word for word in self.words() if is_held_out(word) == held_out]
        found = Vocabulary(words, self.corpus(progress))
        return PageMaker(found, self.fonts(held_out=held_out), seed)

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
            with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
                jobs = [pool.submit(_draw, self, path) for path in missing]
                try:
                    for job in as_completed(jobs):
                        job.result()
                        progress.advance(task, self.pages_in_a_shard)
                except BaseException:
                    pool.shutdown(wait=True, cancel_futures=True)
                    raise
        return paths


def _draw(workplace: Workplace, path: Path) -> None:
    with Progress(disable=True) as silent:
        maker = workplace.maker(silent, seeded("pages", path.stem))
    shards.write(path, maker, workplace.pages_in_a_shard, lambda: None)


def _whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file that is either complete or not there."""
    partial = path.with_suffix(".part")
    partial.parent.mkdir(parents=True, exist_ok=True)
    write(partial)
    partial.rename(path)
