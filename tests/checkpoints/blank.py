"""What every family's module hands over: a model still without weights."""

from dataclasses import dataclass
from typing import Any

# Shared by the text and vision towers of every family.
HIDDEN = 64
INTERMEDIATE = 128
HEADS = 2
LAYERS = 2


@dataclass(frozen=True)
class Blank:
    """A family's model class and configuration, with the processor that feeds it."""

    model_class: type[Any]
    config: Any
    processor: Any


def tower(**extra: Any) -> dict[str, Any]:
    """Return the sizes that a text or vision tower is configured with, and `extra` over them."""
    return {
        "hidden_size": HIDDEN,
        "intermediate_size": INTERMEDIATE,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        **extra,
    }
