"""How many items a request may hold; both Executors refuse the rest before any work."""

from collections.abc import Sequence

from colpali_serve.schemas import InvalidInputError, ScoreDoc


def check_count(count: int, what: str, limit: int) -> None:
    """Refuse an empty list and one that is too long.

    Args:
        count: Items that the request holds.
        what: How the error calls them, for example ``pages``.
        limit: Most that are allowed.

    Raises:
        InvalidInputError: `count` is not between 1 and `limit`.
    """
    if not 1 <= count <= limit:
        raise InvalidInputError(f"request has {count} {what}, expected 1 to {limit}")


def check_score_counts(docs: Sequence[ScoreDoc], limit: int) -> None:
    """Check the documents of a score request, the queries and pages of each, and all together.

    Args:
        docs: The request.
        limit: Most documents, queries and pages that are allowed.

    Raises:
        InvalidInputError: There are none of one kind, or more than `limit`, or pages both in the
            document and by the ids of resident ones.
    """
    check_count(len(docs), "score documents", limit)
    for doc in docs:
        check_count(len(doc.queries), "queries", limit)
        if doc.resident is None:
            check_count(len(doc.pages), "pages", limit)
        elif doc.pages:
            raise InvalidInputError(
                f"score document has {len(doc.pages)} pages and ids of resident ones, expected "
                "one or the other"
            )
    check_count(sum(len(doc.queries) for doc in docs), "queries in all", limit)
    if any(doc.pages for doc in docs):
        check_count(sum(len(doc.pages) for doc in docs), "pages in all", limit)
