"""Which queries and pages of a request can be scored."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from colpali_serve.engine.maxsim import rows_of
from colpali_serve.schemas import (
    EmbeddingShapeError,
    PageDoc,
    PageValues,
    QueryDoc,
    check_embedding,
    check_page_values,
    describe,
    owner,
)

Found = TypeVar("Found")


class Width:
    """The width that all embeddings of a document have, known from the first good one on."""

    dim: int | None = None


def query_check(width: Width) -> Callable[[Any], NDArray[np.float32]]:
    """Return what gives a query's embedding as float32, or raises what is wrong with it."""

    def check(query: QueryDoc) -> NDArray[np.float32]:
        name = str(query.id)
        array = check_embedding(query.embedding, owner("query", name), name, width.dim)
        width.dim = array.shape[1]
        return np.ascontiguousarray(array, np.float32)

    return check


def page_check(width: Width) -> Callable[[Any], PageValues]:
    """Return what gives a page's embedding, or raises what is wrong with it."""

    def check(page: PageDoc) -> PageValues:
        name = str(page.id)
        embedding, scale = page.embedding, page.scale
        values = check_page_values(embedding, scale, owner("page", name), name, width.dim)
        width.dim = rows_of(values).dim
        return values

    return check


def usable_items(
    items: Sequence[QueryDoc | PageDoc], keep: bool, check: Callable[[Any], Found]
) -> dict[int, Found]:
    """Return what the good items hold, by index; unless bad ones are kept that is all of them.

    Args:
        items: Queries or pages.
        keep: Say in a bad item's `error` what is wrong, and go on.
        check: Returns what an item holds.

    Raises:
        EmbeddingShapeError: An item is bad, and is not to be kept.
    """
    usable: dict[int, Found] = {}
    for index, item in enumerate(items):
        if keep and item.error is not None:
            continue
        try:
            usable[index] = check(item)
        except EmbeddingShapeError as error:
            if not keep:
                raise
            item.error = describe(error)
    return usable


def strip(item: QueryDoc | PageDoc, keep_embedding: bool) -> None:
    """Take off what does not go back to the caller."""
    item.image = None
    if isinstance(item, PageDoc):
        item.url = None
    if not keep_embedding:
        item.embedding = None
        if isinstance(item, PageDoc):
            item.scale = None
