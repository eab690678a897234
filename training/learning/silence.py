"""Which tokens of a question should find nothing, and the vector that finds the same everywhere.

MaxSim adds up what every token finds, "how do I" as well, and a page may win by a better "how". A
token is silent if its vector is one that all pages have: what is written behind every page's
patches for the model is such a vector, nearly.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own abbreviation
from colpali_engine.models import ColPaliProcessor
from torch import Tensor

from colpali_serve.training.learning.asked import LONGEST_QUESTION
from colpali_serve.training.model.architecture import GRID
from colpali_serve.training.semantics.asker import ASKING_WORDS, FUNCTION_WORDS, QUESTION_FORMS

_WORD = re.compile(r"[a-z0-9][a-z0-9'-]*")
_OPENINGS = {form.split()[0] for form in QUESTION_FORMS if not form.startswith("{")}
_ASKED = re.compile(rf"(?is)({'|'.join(sorted(_OPENINGS.union(ASKING_WORDS)))})\b|.*\?$")

_ASKING = FUNCTION_WORDS.union(*(_WORD.findall(form) for form in QUESTION_FORMS))


def silent_vector(pages: Tensor) -> Tensor:
    """What every page has: the mean of the vector behind the patches that differs least.

    Args:
        pages: (pages, vectors, dim), unit vectors; those of the prompt lie behind the patches.

    Returns:
        float32 (dim,), a unit vector.
    """
    means = pages[:, GRID * GRID :].float().mean(0)
    return F.normalize(means[means.norm(dim=1).argmax()], dim=0)


class Silence:
    """Tells tokens that tell nothing.

    Args:
        processor: whose tokens questions are made of.
    """

    def __init__(self, processor: ColPaliProcessor) -> None:
        self._core = processor.tokenizer.backend_tokenizer

    def tokens(self, texts: Sequence[str], length: int) -> Tensor:
        """Tokens that should be silent, bool (texts, length).

        Of a question they are bos, marks, and words that only make it one; of words and phrases,
        which are looked for as they are, none.

        Args:
            texts: what is asked.
            length: of the longest, with bos and pads.
        """
        silent = torch.zeros(len(texts), length, dtype=torch.bool)
        encoded = self._core.encode_batch(list(texts), add_special_tokens=False)
        for row, (text, one) in enumerate(zip(texts, encoded, strict=True)):
            if not _ASKED.match(text):
                continue
            silent[row, 0] = True
            words = [(found.span(), found.group()) for found in _WORD.finditer(text.lower())]
            for place, (start, end) in enumerate(one.offsets[:LONGEST_QUESTION]):
                over = {word for span, word in words if span[0] < end and span[1] > start}
                silent[row, 1 + place] = over <= _ASKING
        return silent
