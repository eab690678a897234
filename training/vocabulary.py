"""The tokenizer: WordPiece over lower-case ASCII, trained on flattened word counts."""

from __future__ import annotations

import random
import re
import string
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

PAD, EOS, BOS, UNKNOWN, IMAGE = "<pad>", "<eos>", "<bos>", "<unk>", "<image>"
_WORDS = re.compile(r"[a-z]+|[0-9]+")
_WHOLE_WORD = re.compile(r"[a-z]{3,}")
# Counts are raised to this power before pieces are made: what is left of the vocabulary goes to
# pieces that build rare words instead of to the jargon of one package.
_FLATTEN = 0.3
_NUMBERS = 60000


def _repeated(counts: Counter[str], words: Iterable[str], rng: random.Random) -> Iterator[str]:
    for word, count in counts.items():
        if len(word) <= 24:
            yield " ".join([word] * round(count**_FLATTEN))
    yield from (word.lower() for word in words if word.isascii() and word.isalpha())
    for _ in range(_NUMBERS):
        yield str(rng.randrange(10 ** rng.randint(1, 5)))


def _empty(vocabulary: dict[str, int] | None = None) -> Tokenizer:
    core = Tokenizer(models.WordPiece(vocabulary, unk_token=UNKNOWN, max_input_chars_per_word=60))
    core.normalizer = normalizers.Sequence(
        [normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()]
    )
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation("isolated")]
    )
    core.decoder = decoders.WordPiece(prefix="##")
    return core


def train(
    texts: Iterable[str], words: Iterable[str], whole: int, size: int, seed: int = 0
) -> PreTrainedTokenizerFast:
    """A tokenizer for ASCII text.

    Args:
        texts: one string a document; the words that most documents use stay whole.
        words: a dictionary; its words teach the pieces, and none is kept whole for being in it.
        whole: how many words stay whole.
        size: pieces in the vocabulary: special ones, whole words and parts of words.
        seed: of the numbers that teach it digits.

    Returns:
        A tokenizer that lower-cases, strips accents, splits at white space and around every
        punctuation mark, and knows every printable ASCII character.
    """
    counts: Counter[str] = Counter()
    used_in: Counter[str] = Counter()
    for text in texts:
        found = Counter(_WORDS.findall(text.lower()))
        counts.update(found)
        used_in.update(word for word in found if _WHOLE_WORD.fullmatch(word))
    special = [PAD, EOS, BOS, UNKNOWN, IMAGE]
    inside = [f"##{letter}" for letter in string.ascii_lowercase + string.digits]
    kept = sorted(used_in, key=lambda word: (-used_in[word], word))[:whole]
    core = _empty()
    core.train_from_iterator(
        _repeated(counts, words, random.Random(seed)),
        trainers.WordPieceTrainer(
            # The trainer's whole words give way to ours: ask for more than is needed.
            vocab_size=size,
            # Letters within words come first too: the trainer would number them by chance, and
            # not know those that no word here has, so that a word with one would be unknown.
            special_tokens=[*special, *inside],
            continuing_subword_prefix="##",
            initial_alphabet=[chr(code) for code in range(33, 127) if not chr(code).isupper()],
            show_progress=False,
        ),
    )
    learned = core.get_vocab()
    pieces = sorted(learned, key=lambda piece: learned[piece])
    vocabulary = {piece: number for number, piece in enumerate(special)}
    short = [piece for piece in pieces if len(piece.removeprefix("##")) == 1]
    for piece in (*short, *kept, *pieces):
        if len(vocabulary) == size:
            break
        vocabulary.setdefault(piece, len(vocabulary))
    return PreTrainedTokenizerFast(
        tokenizer_object=_empty(vocabulary),
        pad_token=PAD,
        eos_token=EOS,
        bos_token=BOS,
        unk_token=UNKNOWN,
        padding_side="right",
        additional_special_tokens=[IMAGE],
        clean_up_tokenization_spaces=False,
    )


def load(folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer saved in a folder."""
    return PreTrainedTokenizerFast.from_pretrained(folder)
