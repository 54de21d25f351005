"""The small language of the synthetic tasks: one token a word, a digit or a mark; no text needs more than 256 tokens."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

PAD, BOS, EOS, ASK = "<pad>", "<bos>", "<eos>", "<ask>"
"""Padding, the begin of a prompt, the end of a response, and the end of every prompt."""

DIGITS = tuple("0123456789")
LETTERS = tuple("abcdefghij")
MARKS = (*".;,:=+-*|/()[]{}", "->")
NAMES = ("ann", "ben", "cleo", "dan", "eva", "finn", "gus", "hana", "ivo", "jill", "kai", "lea")
ITEMS = ("apples", "books", "coins", "dolls", "eggs", "flags", "games", "hats", "jars", "keys", "lamps", "maps")
CITIES = ("paris", "rome", "oslo", "cairo", "lima", "tokyo", "delhi", "quito")
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
COLORS = ("red", "blue", "green", "white", "black", "brown")
SIZES = ("tiny", "small", "medium", "large", "huge")
GENRES = ("jazz", "rock", "folk", "opera", "blues", "metal")
DISHES = ("soup", "pasta", "salad", "curry", "pizza", "sushi")


class Example(NamedTuple):
    """A prompt and its right response, each as words; the prompt ends with `ASK`, the response without `EOS`."""

    prompt: tuple[str, ...]
    response: tuple[str, ...]


def number(value: int) -> list[str]:
    """The digits of a number from 0 on."""
    return list(str(value))


class Vocabulary:
    """Token ids of words: the special ones first, then as given.

    Raises KeyError for a word that it does not have.
    """

    def __init__(self, words: Iterable[str]) -> None:
        self.words = tuple(dict.fromkeys((PAD, BOS, EOS, ASK, *words)))
        self.id_of = {word: i for i, word in enumerate(self.words)}
        self.pad, self.bos, self.eos = self.id_of[PAD], self.id_of[BOS], self.id_of[EOS]

    def __len__(self) -> int:
        return len(self.words)

    def prompt_ids(self, example: Example) -> list[int]:
        """`BOS` and the prompt."""
        return [self.bos, *map(self.id_of.__getitem__, example.prompt)]

    def response_ids(self, example: Example) -> list[int]:
        """The response and `EOS`."""
        return [*map(self.id_of.__getitem__, example.response), self.eos]

    def text(self, ids: Sequence[int]) -> str:
        """Words of ids with spaces between them."""
        return " ".join(self.words[i] for i in ids)

    def write_tokenizer(self, folder: Path) -> None:
        """A tokenizer that transformers and vLLM load: words between spaces, `BOS` before each text."""
        special = [
            {"id": self.id_of[w], "content": w, "special": True, "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": False}
            for w in (PAD, BOS, EOS, ASK)
        ]  # fmt: skip
        tokenizer = {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": special,
            "normalizer": None,
            "pre_tokenizer": {"type": "WhitespaceSplit"},
            "post_processor": {
                "type": "TemplateProcessing",
                "single": [{"SpecialToken": {"id": BOS, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
                "special_tokens": {BOS: {"id": BOS, "ids": [self.bos], "tokens": [BOS]}},
            },
            "decoder": None,
            "model": {"type": "WordLevel", "vocab": self.id_of, "unk_token": PAD},
        }
        names = {"pad_token": PAD, "bos_token": BOS, "eos_token": EOS}
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
        (folder / "tokenizer_config.json").write_text(
            json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", **names}), encoding="utf-8"
        )
