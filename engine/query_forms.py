"""The text around a query: what each checkpoint was trained with."""

from __future__ import annotations

from dataclasses import dataclass

from colpali_serve.engine.families import Family
from colpali_serve.engine.settings import EncoderSettings

_AUGMENTATION_TOKENS = 10


@dataclass(frozen=True)
class QueryForm:
    r"""What stands around a query's text.

    Attributes:
        prefix: Before the text.
        suffix: After it; None stands for ten of the processor's augmentation tokens.
        newline: Whether a line break follows the suffix.

    >>> QueryForm("Query: ", suffix="!", newline=True).apply("red", augmentation="")
    'Query: red!\n'
    """

    prefix: str = ""
    suffix: str | None = None
    newline: bool = False

    def apply(self, text: str, augmentation: str) -> str:
        """Return the whole text that the tokenizer sees.

        Args:
            text: The query.
            augmentation: The processor's augmentation token, "" for families without.
        """
        suffix = augmentation * _AUGMENTATION_TOKENS if self.suffix is None else self.suffix
        return self.prefix + text + suffix + ("\n" if self.newline else "")


_QUESTION = QueryForm("Question: ", newline=True)
_QUERY_LINE = QueryForm("Query: ", newline=True)
_QUERY = QueryForm("Query: ")

KNOWN_FORMS: dict[str, QueryForm] = {
    # colpali-engine 0.3.2
    "vidore/colpali-v1.1": _QUESTION,
    "vidore/colpali-v1.2": _QUESTION,
    # colpali-engine 0.3.4 to 0.3.10
    "vidore/colpali-v1.3": _QUERY_LINE,
    "vidore/colsmolvlm-v0.1": _QUERY_LINE,
    "vidore/colsmolvlm-alpha": _QUERY_LINE,
    "vidore/colSmol-256M": _QUERY_LINE,
    "vidore/colSmol-500M": _QUERY_LINE,
    # until 2025-06-30
    "vidore/colqwen2-v0.1": _QUERY,
    "vidore/colqwen2-v1.0": _QUERY,
    "vidore/colqwen2.5-v0.1": _QUERY,
    "vidore/colqwen2.5-v0.2": _QUERY,
}
"""Checkpoints whose training form differs from what colpali-engine does today.

Source: colpali-engine's processors at the release each checkpoint was trained with.
`colpali-serve verify` compares forms where a model card publishes scores.
"""


def query_form(settings: EncoderSettings, model_id: str | None) -> QueryForm:
    """Return the form for a checkpoint: settings first, then what is known of it.

    Args:
        settings: `query_prefix`, `query_suffix` and `query_newline`, each if set.
        model_id: The checkpoint's hub id, where it has one.
    """
    known = KNOWN_FORMS.get(model_id or "", QueryForm())
    return QueryForm(
        known.prefix if settings.query_prefix is None else settings.query_prefix,
        known.suffix if settings.query_suffix is None else settings.query_suffix,
        known.newline if settings.query_newline is None else settings.query_newline,
    )


def augmentation_token(family: Family, processor: object) -> str:
    """The token that colpali-engine appends to queries of this family, "" for none."""
    return (
        str(getattr(processor, "query_augmentation_token", "")) if family.augments_queries else ""
    )
