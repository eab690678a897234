"""What training is made of, in miniature: text, a tokenizer, a model, pages."""

from __future__ import annotations

import copy
import random
from functools import cache
from pathlib import Path

import numpy as np
import torch
from colpali_engine.models import ColPali, ColPaliProcessor
from PIL import Image
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from colpali_serve.training import vocabulary
from colpali_serve.training.model import architecture
from colpali_serve.training.pages.wording import Vocabulary
from colpali_serve.training.text.documents import Document, Section

_WORDS = """
remove delete files folder printer paper network password account backup restore picture screen
keyboard colour window document letter number copper winter summer garden kitchen river mountain
bridge castle village market engine pilot doctor teacher musician painter
"""
WORDS = _WORDS.split()
SHAPE = architecture.Shape(hidden=128, vision_layers=2, text_layers=1, text_inner=192)
PIECES = 300


def documents(count: int = 3, sections: int = 6, words: int = 60) -> list[Document]:
    """Documents of nothing but WORDS, in sentences of eight."""
    rng = random.Random(5)
    made = []
    for number in range(count):
        parts = []
        for _ in range(sections):
            sentences = [" ".join(rng.choices(WORDS, k=8)) + "." for _ in range(words // 8)]
            parts.append(
                Section(f"{rng.choice(WORDS)} the {rng.choice(WORDS)}", " ".join(sentences))
            )
        made.append(Document("test", f"document {number}", tuple(parts)))
    return made


def said() -> Vocabulary:
    return Vocabulary(WORDS, documents())


@cache
def tokenizer() -> PreTrainedTokenizerFast:
    texts = [" ".join(part.text for part in document.sections) for document in documents()]
    return vocabulary.train([*texts, "Describe the image."], WORDS, 60, PIECES)


def fresh_tokenizer() -> PreTrainedTokenizerFast:
    """One that may be changed: PaliGemma's processor adds a thousand tokens to what it gets."""
    return copy.deepcopy(tokenizer())


def model(seed: int = 0, shape: architecture.Shape = SHAPE) -> tuple[ColPali, ColPaliProcessor]:
    """A model whose weights are large enough that a wrong mask moves its output."""
    made, processor = architecture.build(shape, fresh_tokenizer())
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "lm_head" in name:
                continue
            drawn = torch.randn(parameter.shape, generator=generator) * 0.08
            parameter.copy_(drawn if parameter.dim() > 1 else parameter + drawn)
    return made.eval(), processor


def noise(seed: int = 0) -> Image.Image:
    """A coloured page, no two patches alike."""
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (900, 600, 3), dtype=np.uint8))


def ink(image: Image.Image) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of what is darker than mid-grey on white."""
    dark = np.asarray(image) < 128
    rows, columns = np.nonzero(dark.any(1))[0], np.nonzero(dark.any(0))[0]
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def sentence_encoder(folder: Path) -> Path:
    """A tiny random encoder in MiniLM's place, written to a folder."""
    words = tokenizer()
    words.save_pretrained(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=len(words),
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=64,
            initializer_range=0.5,
        )
        BertModel(config).save_pretrained(folder)
    return folder
