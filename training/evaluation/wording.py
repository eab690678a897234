"""How far a question is worded like the page that answers it."""

from __future__ import annotations

from colpali_serve.training.evaluation.bm25 import words

# Words that say nothing about what is asked for.
_EMPTY_WORDS = """
a about above after all also am an and any are as at be because been before being both but by
can could did do does done during each else every for from get gets got had has have having how
i if in into is it its itself just may me might more most must my myself need no nobody not of
off on once one only or other others our out over own rather same should so some somebody
someone something such than that the their them then there these they this those through to too
up us use used uses using very via want was we were what when where which while who whoever
whose why will with without would you your
"""
_EMPTY = frozenset(_EMPTY_WORDS.split())
_ENDINGS = ("ing", "ed", "es", "s", "ly", "er")
_SHORTEST_STEM = 3


def stem(word: str) -> str:
    """Cut the commonest English endings off, so that "deleting" and "deletes" are one word.

    >>> stem("deleting"), stem("delete"), stem("copies"), stem("bus")
    ('delet', 'delet', 'copy', 'bus')
    """
    if word.endswith("ies") and len(word) > _SHORTEST_STEM + 2:
        return word[:-3] + "y"
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _SHORTEST_STEM:
            return word[: -len(ending)]
    return word[:-1] if word.endswith("e") and len(word) > _SHORTEST_STEM else word


def overlap(question: str, page: str) -> tuple[set[str], set[str]]:
    """Find which content words of a question stand on a page in any form.

    Args:
        question: The question.
        page: Text of the page.

    Returns:
        Stems of the shared content words, and of all content words of the question.

    >>> shared, asked = overlap("How do I copy a file?", "Deleting and copying")
    >>> sorted(shared), sorted(asked)
    (['copy'], ['copy', 'fil'])
    """
    asked = {stem(word) for word in words(question) if word not in _EMPTY}
    return asked & {stem(word) for word in words(page)}, asked
