"""What a manual's edition is told by, for page sets of tests."""

from __future__ import annotations

import pypdfium2

from colpali_serve.training.evaluation.manuals import Manual, Page, page_text, text_digest


def digest(pdf: bytes, first: int, pages: int, min_words: int) -> str:
    """The `text_sha256` of a manual with these settings."""
    manual = Manual("?", "?", "?", "", "?", first, pages, min_words)
    document = pypdfium2.PdfDocument(pdf)
    texts = {number: page_text(document, number - 1) for number in range(first, len(document) + 1)}
    document.close()
    kept = [number for number, text in texts.items() if len(text.split()) >= min_words]
    return text_digest([Page(manual, number, texts[number]) for number in kept[:pages]])
