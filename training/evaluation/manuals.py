"""The real pages: which manuals, which of their pages, their text and their images."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pypdfium2

from colpali_serve.client.pdf import iter_pdf
from colpali_serve.client.reading import Reading
from colpali_serve.schemas import ConfigError
from colpali_serve.training.evaluation.scans import scan
from colpali_serve.training.packages import read_toml
from colpali_serve.training.whole_files import whole

# PDFium marks a hyphen at the end of a line by this character: the word goes on after the break.
_BROKEN_WORD = re.compile("\ufffe\\s*")
_BLANKS = re.compile(r"[ \t]+")


@dataclass(frozen=True, slots=True)
class Manual:
    """A PDF and the pages of it that are used.

    Attributes:
        key: Short name, part of the names of its pages.
        package: Package that holds it.
        file: Path below the unpacked package; may be gzipped.
        text_sha256: Hexadecimal :func:`text_digest` of the pages that are used.
        made_with: What its author wrote it in.
        first: First page that is looked at, counted from 1.
        pages: Pages to be taken from there on, at most.
        min_words: A page with fewer words is passed over.
        scanned: Whether its pages are made to look like scans.
    """

    key: str
    package: str
    file: str
    text_sha256: str
    made_with: str
    first: int
    pages: int
    min_words: int
    scanned: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a manual.

    Attributes:
        manual: Where it comes from.
        number: Place in the PDF, counted from 1.
        text: What PDFium reads from it, the exact text rather than a recognised one.
    """

    manual: Manual
    number: int
    text: str

    @property
    def id(self) -> str:
        """Name of the page, such as "vym#12"."""
        return f"{self.manual.key}#{self.number}"


def read_manuals(sources: Path) -> list[Manual]:
    """Read the `[[manual]]` tables of a TOML file.

    Args:
        sources: The file.

    Raises:
        ConfigError: It is missing or no TOML, a table has wrong keys, or two have the same key.
    """
    manuals = []
    for table in read_toml(sources).get("manual", []):
        try:
            manuals.append(Manual(**table))
        except TypeError as error:
            key = str(table.get("key", "?"))
            raise ConfigError(f"manual '{key}' in {sources.name}: {error}", key) from error
    if len({manual.key for manual in manuals}) != len(manuals):
        raise ConfigError(f"{sources.name} has a manual twice, expected each key once")
    return manuals


def read_pdf(manual: Manual, package: Path) -> bytes:
    """Read a manual's PDF.

    Args:
        manual: The manual.
        package: Folder into which its package was unpacked.

    Raises:
        ConfigError: It is missing.
    """
    try:
        content = (package / manual.file).read_bytes()
    except OSError as error:
        raise ConfigError(
            f"manual '{manual.key}' cannot be read ({error.strerror}), expected '{manual.file}' "
            f"in package '{manual.package}'",
            manual.key,
        ) from error
    if manual.file.endswith(".gz"):
        content = gzip.decompress(content)
    return content


def read_pages(manual: Manual, pdf: bytes) -> list[Page]:
    """Choose a manual's pages and read their text.

    Args:
        manual: The manual.
        pdf: Its PDF.

    Returns:
        At most `manual.pages` pages, in order.

    Raises:
        ConfigError: Their text is another than the one the queries were written for.
    """
    pages: list[Page] = []
    document = pypdfium2.PdfDocument(pdf)
    try:
        for index in range(manual.first - 1, len(document)):
            if len(pages) == manual.pages:
                break
            text = page_text(document, index)
            if len(text.split()) >= manual.min_words:
                pages.append(Page(manual, index + 1, text))
    finally:
        document.close()
    found = text_digest(pages)
    if found != manual.text_sha256:
        raise ConfigError(
            f"the text of manual '{manual.key}' has digest {found[:12]}, expected "
            f"{manual.text_sha256[:12]}: it is another edition than the one that the queries were "
            "written for",
            manual.key,
        )
    return pages


def text_digest(pages: Sequence[Page]) -> str:
    """Hexadecimal SHA-256 of what stands on which page, letters and digits only.

    Distributions build a PDF anew without changing a word, so that its bytes say nothing.
    """
    digest = hashlib.sha256()
    for page in pages:
        kept = "".join(filter(str.isalnum, page.text))
        digest.update(f"{page.number} {kept}\n".encode())
    return digest.hexdigest()


def page_text(document: Any, index: int) -> str:
    """Return the text of a page, words broken at the ends of lines put together.

    Args:
        document: An open `pypdfium2.PdfDocument`.
        index: Place of the page, counted from 0.
    """
    page = document[index]
    try:
        found = page.get_textpage()
        try:
            text = str(found.get_text_bounded())
        finally:
            found.close()
    finally:
        page.close()
    text = _BROKEN_WORD.sub("", text).replace("\r\n", "\n")
    return _BLANKS.sub(" ", text).strip()


def load_pages(
    manuals: Sequence[Manual], packages: dict[str, Path], folder: Path
) -> tuple[list[Page], dict[str, bytes]]:
    """Read the whole page set and leave its texts in `texts.json`.

    Args:
        manuals: What to read.
        packages: Package -> folder into which it was unpacked.
        folder: Where `texts.json` goes: key of the manual -> texts of its pages.

    Returns:
        The pages, manual by manual, and each manual's PDF by key.

    Raises:
        ConfigError: A PDF is missing or another edition.
    """
    pdfs = {manual.key: read_pdf(manual, packages[manual.package]) for manual in manuals}
    pages = [page for manual in manuals for page in read_pages(manual, pdfs[manual.key])]
    texts: dict[str, list[str]] = {}
    for page in pages:
        texts.setdefault(page.manual.key, []).append(page.text)
    folder.mkdir(parents=True, exist_ok=True)
    with whole(folder / "texts.json") as file:
        file.write_bytes(json.dumps(texts, ensure_ascii=False).encode())
    return pages, pdfs


def page_images(
    pages: Sequence[Page],
    pdfs: dict[str, bytes],
    folder: Path,
    done: Callable[[], None] = lambda: None,
) -> Iterator[tuple[Page, bytes]]:
    """Yield each page's encoded image, rendered as the client renders it and kept on disk.

    Args:
        pages: The pages, those of one manual together and in order.
        pdfs: PDF of each manual by its key.
        folder: Where images are kept: PNG, and JPEG for those made to look scanned.
        done: Called after each page.

    Yields:
        The page and its image, in the order given.
    """
    for key in dict.fromkeys(page.manual.key for page in pages):
        wanted = [page for page in pages if page.manual.key == key]
        manual = wanted[0].manual
        kept = folder / f"{key}-{manual.text_sha256[:12]}"
        kept.mkdir(parents=True, exist_ok=True)
        suffix = ".jpg" if manual.scanned else ".png"
        paths = {page.number: kept / f"{page.number:04}{suffix}" for page in wanted}
        missing = {number for number, path in paths.items() if not path.is_file()}
        if missing:
            for number, source in enumerate(iter_pdf(pdfs[key], key, Reading()), 1):
                if number in missing:
                    image = bytes(source.load().image or b"")
                    with whole(paths[number]) as file:
                        file.write_bytes(scan(image, source.id) if manual.scanned else image)
        for page in wanted:
            yield page, paths[page.number].read_bytes()
            done()
