"""Documents to what the engine takes."""

from __future__ import annotations

from colpali_serve.engine.items import ImageInput, TextInput
from colpali_serve.schemas import InvalidQueryError, QueryDoc, owner


def query_input(query: QueryDoc) -> ImageInput | TextInput | InvalidQueryError:
    """Take what is to be embedded out of a query; its image leaves the document.

    Returns:
        The input, or the error of a query that has not just one of text and image.
    """
    item, text, image = str(query.id), query.text, query.image
    query.image = None
    if (text is None) == (image is None):
        found = "neither text nor image" if text is None else "text and an image"
        return InvalidQueryError(f"{owner('query', item)}: has {found}, expected one of them", item)
    return TextInput(item, text) if text is not None else ImageInput(item, image, kind="query")
