"""Tasks: prompts with the responses that are wanted, and the order in which training goes through them.

A task is a jsonl file, a JSON object a line: `{"prompt": TEXT, "response": TEXT}`, or token ids in their place,
`{"prompt_token_ids": [...], "response_token_ids": [...]}`. A response ends with the end-of-sequence token; it is put
there where it is missing.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sunsim.errors import InputError, clipped

# Batches are cut from stretches of this many batches, sorted by length: little padding, and still a random order.
SORTED_BATCHES = 16


@dataclass(frozen=True, slots=True)
class Example:
    """Token ids of a request and of its answer, neither empty."""

    prompt: tuple[int, ...]
    response: tuple[int, ...]


def read_task(
    path: Path, tokenizer: Any = None, *, vocab_size: int, stop_token_ids: Sequence[int] = ()
) -> list[Example]:
    """The examples of a jsonl file.

    Args:
        path: the file.
        tokenizer: a Hugging Face tokenizer, for lines of text; prompts get its special tokens, responses do not.
        vocab_size: token ids must be below it.
        stop_token_ids: one of them ends every response, where it does not do so the tokenizer's own or else the first; none
            adds nothing.

    Raises:
        InputError: with the line that is wrong.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        msg = f"cannot be read ({reason}), must be a jsonl file of prompts and responses"
        raise InputError(msg, path) from error
    own = getattr(tokenizer, "eos_token_id", None)
    stops = sorted(stop_token_ids, key=lambda stop: stop != own)
    examples = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                examples.append(_example(json.loads(line), tokenizer, vocab_size, stops))
            except json.JSONDecodeError as error:
                msg = f"not JSON ({error.msg}), must be one object a line"
                raise InputError(msg, path, number) from error
            except ValueError as error:
                raise InputError(str(error), path, number) from error
    if not examples:
        msg = "has no examples, must have one a line"
        raise InputError(msg, path)
    return examples


def _example(row: Any, tokenizer: Any, vocab_size: int, stops: Sequence[int]) -> Example:
    if not isinstance(row, dict):
        msg = f"{clipped(json.dumps(row))} is no JSON object, must have prompt and response"
        raise ValueError(msg)  # noqa: TRY004 - of the user's input, not of the caller's
    if "prompt_token_ids" in row or "response_token_ids" in row:
        prompt = _ids(row, "prompt_token_ids", vocab_size)
        response = _ids(row, "response_token_ids", vocab_size)
    else:
        texts = [row.get(name) for name in ("prompt", "response")]
        if not all(isinstance(text, str) for text in texts):
            msg = "must have the texts prompt and response, or the lists prompt_token_ids and response_token_ids"
            raise ValueError(msg)
        if tokenizer is None:
            msg = "text, but the model's directory has no tokenizer; must be prompt_token_ids and response_token_ids"
            raise ValueError(msg)
        prompt = list(tokenizer(texts[0])["input_ids"])
        response = list(tokenizer(texts[1], add_special_tokens=False)["input_ids"])
    if stops and not (response and response[-1] in stops):
        response.append(stops[0])
    for name, ids in (("prompt", prompt), ("response", response)):
        if not ids:
            msg = f"the {name} is empty, must be at least one token"
            raise ValueError(msg)
    return Example(tuple(prompt), tuple(response))


def _ids(row: dict[str, Any], name: str, vocab_size: int) -> list[int]:
    ids = row.get(name)
    if not isinstance(ids, list) or not all(type(i) is int and 0 <= i < vocab_size for i in ids):
        msg = f"{name} must be a list of token ids from 0 to {vocab_size - 1}"
        raise ValueError(msg)
    return list(ids)


def batches_from(examples: Sequence[Example], batch_size: int, seed: int, step: int) -> Iterator[list[int]]:
    """Endless batches of indices, from the `step`-th on; what a step gets depends on the seed and its number alone.

    Every pass goes through all examples once, in a new order; its last batch may be smaller. Examples of like lengths
    come together.
    """
    a_pass = -(-len(examples) // batch_size)
    while True:
        number, skipped = divmod(step, a_pass)
        for batch in _one_pass(examples, batch_size, seed, number)[skipped:]:
            yield batch
            step += 1


def _one_pass(examples: Sequence[Example], batch_size: int, seed: int, number: int) -> list[list[int]]:
    draws = np.random.default_rng([seed, number])
    order = draws.permutation(len(examples)).tolist()
    stretch = SORTED_BATCHES * batch_size
    batches: list[list[int]] = []
    for begin in range(0, len(order), stretch):
        alike = sorted(
            order[begin : begin + stretch], key=lambda i: (len(examples[i].prompt), len(examples[i].response))
        )
        batches += [alike[i : i + batch_size] for i in range(0, len(alike), batch_size)]
    return [batches[i] for i in draws.permutation(len(batches))]
