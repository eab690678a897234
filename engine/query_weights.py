"""How much each token of a query counts.

MaxSim adds up what every token of a query finds, one as much as the other: ten pads as much as ten
words, and a word that the tokenizer spells with six pieces six times as much as one that it knows.
A similarity is a dot product, so a shorter vector counts less, by whoever and in whichever form of
pages it is scored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from colpali_serve.engine.settings import EncoderSettings
from colpali_serve.schemas import ModelLoadError

_KEY = "query_weights"
# What each may be; no vector may be of no length.
_ALLOWED = {"around": "a number above 0, at most 1", "pieces": "a number from 0 to 1"}


@dataclass(frozen=True)
class QueryWeights:
    """Lengths of a query's vectors.

    Attributes:
        around: Of tokens that stand around the query's own text, in (0, 1].
        pieces: Of a token that spells a word together with others, n in all, n ** -pieces, in
            [0, 1]: at 0 each counts as a word would, at 1 all n together do.
    """

    around: float = 1.0
    pieces: float = 0.0

    def __bool__(self) -> bool:
        """Whether some token counts less than another."""
        return self != QueryWeights()

    def of(self, spelt: Sequence[int]) -> NDArray[np.float32]:
        """Return how much each token of a query counts.

        Args:
            spelt: With how many tokens each one's word is spelt; 0 for one around the text.

        Returns:
            float32 (n_tokens,), in (0, 1].

        >>> QueryWeights(around=0.25, pieces=0.5).of([0, 1, 4, 4, 4, 4])
        array([0.25, 1.  , 0.5 , 0.5 , 0.5 , 0.5 ], dtype=float32)
        """
        tokens = np.asarray(spelt)
        pieces = np.maximum(tokens, 1).astype(np.float32) ** -self.pieces
        return np.where(tokens == 0, self.around, pieces).astype(np.float32)


def query_weights(
    settings: EncoderSettings, config: Mapping[str, Any], checkpoint: str
) -> QueryWeights:
    """Return the weights for a checkpoint: settings first, then what its config.json says.

    Args:
        settings: `query_around` and `query_pieces`, each if set.
        config: The checkpoint's config.json; without "query_weights" in it all tokens count
            alike, as in colpali-engine.
        checkpoint: How errors call it.

    Raises:
        ModelLoadError: config.json says something that is none.
    """
    trained = config.get(_KEY, {})
    if not isinstance(trained, dict) or not trained.keys() <= _ALLOWED.keys():
        raise ModelLoadError(
            f"model '{checkpoint}': {_KEY} is {trained!r}, expected "
            + " and ".join(f"'{name}'" for name in _ALLOWED)
        )
    for name, value in trained.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (number and (0 < value <= 1 or (value == 0 and name == "pieces"))):
            raise ModelLoadError(
                f"model '{checkpoint}': {name} of {_KEY} is {value!r}, expected {_ALLOWED[name]}"
            )
    given = {"around": settings.query_around, "pieces": settings.query_pieces}
    return QueryWeights(
        **{**trained, **{name: value for name, value in given.items() if value is not None}}
    )
