"""What small models for the tests are made of: a tokenizer, a text encoder, seeded weights.

Random weights say nothing, but everything around them is real, in the formats of real models.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager

import torch

START, END = "<|startoftext|>", "<|endoftext|>"


def tiny_tokenizer(*, merges: int):
    """CLIP's tokenizer with the first of its merges only."""
    from open_clip.tokenizer import bytes_to_unicode, default_bpe
    from transformers import CLIPTokenizer

    with gzip.open(default_bpe(), "rt", encoding="utf-8") as lines:
        pairs = [tuple(next(lines).split()) for _ in range(merges + 1)][1:]
    letters = list(bytes_to_unicode().values())
    words = [*letters, *(f"{letter}</w>" for letter in letters), *map("".join, pairs), START, END]
    return CLIPTokenizer(
        vocab={word: number for number, word in enumerate(words)},
        merges=pairs,  # pyright: ignore[reportArgumentType]
        model_max_length=77,
    )


def text_config(words: int) -> dict[str, int]:
    """Settings of a text encoder with a vocabulary of so many words."""
    return {
        "vocab_size": words,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "projection_dim": 16,
        "bos_token_id": words - 2,
        "eos_token_id": words - 1,
        "pad_token_id": words - 1,
    }


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw weights from a seed and leave torch's own generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
