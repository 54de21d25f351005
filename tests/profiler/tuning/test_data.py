"""Tasks are read with the line of what is wrong, and gone through in an order that a step's number gives."""

import json
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.tuning.data import Example, batches_from, read_task
from sunsim.errors import InputError


class Letters:
    """A tokenizer: a token a letter, and 7 in front of what is not told to go without."""

    eos_token_id: int | None = None

    def __call__(self, text: str, *, add_special_tokens: bool = True) -> dict[str, list[int]]:
        """As Hugging Face's."""
        return {"input_ids": [7] * add_special_tokens + [ord(letter) for letter in text]}


def written(folder: Path, *rows: Any) -> Path:
    path = folder / "task.jsonl"
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return path


def test_text_gets_special_tokens_in_front_of_the_prompt_and_the_end_behind_the_response(tmp_path: Path) -> None:
    path = written(tmp_path, {"prompt": "ab", "response": "c"}, "", {"prompt": "", "response": "d"})
    found = read_task(path, Letters(), vocab_size=200, stop_token_ids=[1])
    assert found == [Example((7, 97, 98), (99, 1)), Example((7,), (100, 1))]


def test_token_ids_are_taken_as_they_are_and_end_once(tmp_path: Path) -> None:
    rows = [
        {"prompt_token_ids": [5], "response_token_ids": [6]},
        {"prompt_token_ids": [5], "response_token_ids": [6, 1]},
    ]
    assert read_task(written(tmp_path, *rows), vocab_size=8, stop_token_ids=[1, 2]) == [Example((5,), (6, 1))] * 2
    assert read_task(written(tmp_path, rows[0]), vocab_size=8) == [Example((5,), (6,))]


def test_a_response_may_end_with_any_stop_token_and_gets_the_tokenizers_own(tmp_path: Path) -> None:
    turn = Letters()
    turn.eos_token_id = 2
    path = written(tmp_path, {"prompt_token_ids": [5], "response_token_ids": [6, 2]}, {"prompt": "a", "response": "b"})
    assert [e.response for e in read_task(path, turn, vocab_size=200, stop_token_ids=[1, 2])] == [(6, 2), (98, 2)]
    assert [e.response for e in read_task(path, Letters(), vocab_size=200, stop_token_ids=[1, 2])] == [(6, 2), (98, 1)]


GOOD = {"prompt_token_ids": [5], "response_token_ids": [6]}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{", "not JSON"),
        ("[1]", "is no JSON object, must have prompt and response"),
        ({"prompt": "a"}, "must have the texts prompt and response"),
        ({"prompt": "a", "response": 3}, "must have the texts prompt and response"),
        ({"prompt": "a", "response": "b"}, "has no tokenizer; must be prompt_token_ids"),
        ({"prompt_token_ids": [5]}, "response_token_ids must be a list of token ids from 0 to 7"),
        ({"prompt_token_ids": [8], "response_token_ids": [6]}, "prompt_token_ids must be a list of token ids from 0"),
        ({"prompt_token_ids": [True], "response_token_ids": [6]}, "prompt_token_ids must be a list of token ids"),
        ({"prompt_token_ids": [], "response_token_ids": [6]}, "the prompt is empty"),
        ({"prompt_token_ids": [5], "response_token_ids": []}, "the response is empty"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, row: Any, message: str) -> None:
    path = written(tmp_path, GOOD, row)
    with pytest.raises(InputError) as caught:
        read_task(path, vocab_size=8)
    assert str(caught.value).startswith(f"{path}:2: ")
    assert message in str(caught.value)


@pytest.mark.parametrize("content", [None, b"", b"\xff"])
def test_a_file_without_examples_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "task.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match="must"):
        read_task(path, vocab_size=8)


def examples_of(lengths: list[int]) -> list[Example]:
    return [Example((5,) * length, (6,)) for length in lengths]


@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=60), size=st.integers(1, 7), seed=st.integers(0, 9))
def test_every_pass_goes_through_every_example_once(lengths: list[int], size: int, seed: int) -> None:
    a_pass = -(-len(lengths) // size)
    batches = list(islice(batches_from(examples_of(lengths), size, seed, 0), 2 * a_pass))
    for part in (batches[:a_pass], batches[a_pass:]):
        assert sorted(i for batch in part for i in batch) == list(range(len(lengths)))
        assert all(len(batch) <= size for batch in part)


@given(step=st.integers(0, 40), size=st.integers(1, 7))
def test_a_batch_depends_on_the_number_of_its_step_alone(step: int, size: int) -> None:
    examples = examples_of([1 + i % 5 for i in range(23)])
    from_start = list(islice(batches_from(examples, size, 3, 0), step + 3))
    assert list(islice(batches_from(examples, size, 3, step), 3)) == from_start[step:]


def test_another_seed_is_another_order() -> None:
    examples = examples_of([1] * 30)
    first, other = (next(batches_from(examples, 30, seed, 0)) for seed in (0, 1))
    assert first != other
    assert sorted(first) == sorted(other)


def test_examples_of_one_length_come_together() -> None:
    examples = examples_of([1, 2, 3, 4] * 16)
    batches = list(islice(batches_from(examples, 16, 0, 0), 4))
    assert all(len({len(examples[i].prompt) for i in batch}) == 1 for batch in batches)
