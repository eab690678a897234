"""Pages for crops: each word a block of a grey value of its own, so that patches are traced."""

from __future__ import annotations

import random

import numpy as np

from colpali_serve.training.learning.crops import Labelled
from colpali_serve.training.learning.labels import Labeller
from colpali_serve.training.pages.canvas import Word
from colpali_serve.training.pages.seeing import SIDE
from tests.training.materials import WORDS, tokenizer


def grey_of(word: int) -> int:
    """The grey value of a word's block, by the word's number on its page."""
    return 2 + word % 240


def blocks(seed: int = 0, height: int = 18, letter: float = 8.0) -> Labelled:
    """A page of lines of words, drawn as blocks on white."""
    rng = random.Random(seed)
    pixels = np.full((SIDE, SIDE), 255, np.uint8)
    words: list[Word] = []
    for top in range(7, SIDE - 2 * height, 2 * height + 5):
        left = 11.0
        while left < SIDE - 150:
            text = rng.choice(WORDS)
            right = left + letter * len(text)
            pixels[top : top + height, round(left) : round(right)] = grey_of(len(words))
            words.append(Word(left, top, right, top + height, text))
            left = right + 12
    return Labelled(pixels, Labeller(tokenizer())(words))
