"""How pages are read, and what one page to be read looks like."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, NoReturn

from colpali_serve.schemas import InvalidPageError, PageDoc


@dataclass(frozen=True, slots=True)
class Reading:
    """Choices for turning files into pages.

    Attributes:
        dpi: Resolution at which PDF pages are rendered, in dots per inch.
        max_pdf_pages: A PDF of more pages is refused.
        max_pixels: A PDF page that would be rendered to more pixels is refused.
    """

    dpi: int = 150
    max_pdf_pages: int = 2000
    max_pixels: int = 50_000_000


class Source(NamedTuple):
    """A page that has a name and is not read yet.

    Attributes:
        id: Name of the page.
        load: Reads it; raises `InvalidPageError` if it cannot be. To be called before the next
            source is asked for: the file behind it may be closed afterwards.
    """

    id: str
    load: Callable[[], PageDoc]


def broken(item: str, error: InvalidPageError) -> Source:
    """Make a source that raises `error` when it is loaded."""
    return Source(item, partial(_fail, error))


def _fail(error: InvalidPageError) -> NoReturn:
    raise error
