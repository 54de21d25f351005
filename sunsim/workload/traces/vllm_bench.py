"""Results of ``vllm bench serve --save-result --save-detailed``: one JSON object with a list a column.

https://github.com/vllm-project/vllm, vllm/benchmarks/serve.py (0.24). The requests stand in the order in which they were
sent: ``start_times`` (seconds of the client's own clock), ``input_lens``, ``output_lens``, which is 0 where a request
failed, ``ttfts`` and ``itls`` (seconds).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sunsim.errors import InputError, clipped_list, limit_text
from sunsim.workload.traces.json_lines import keys_of, shown
from sunsim.workload.traces.rows import MAX_CLOCK_S, MAX_TOKENS, TraceRows, from_first
from sunsim.workload.traces.text import Text

KEYS: Final = ("start_times", "input_lens", "output_lens")
SHOWN_BY: Final = ("num_prompts", "request_rate")
WRITER: Final = "vllm bench serve --save-result --save-detailed"


@dataclass(frozen=True, slots=True)
class VllmBench:
    """The format, with what `sunsim.workload.traces.table.Table` has for CSV files. One model."""

    unit = "seconds"
    shown_by = SHOWN_BY
    needed = KEYS
    model = None

    def recognises(self, first_line: str) -> bool:
        """Whether a file that starts so is such a result, all in one line as vLLM writes it."""
        return set(SHOWN_BY) <= (keys_of(first_line) or {}).keys()

    def read(self, text: Text) -> TraceRows:
        """Reads a whole file; those without an output token are the ones that failed.

        Raises:
            InputError: the file is no such result, or has no request.
        """
        result = bench_result(text)
        start_s = numbers(result, KEYS[0], MAX_CLOCK_S, text)
        prompt_tokens, output_tokens = (tokens(result, key, text) for key in KEYS[1:])
        same_length(dict(zip(KEYS, (start_s, prompt_tokens, output_tokens), strict=True)), text)
        return from_first(TraceRows(start_s, prompt_tokens, output_tokens, np.ones(len(start_s), np.int64)))


def bench_result(text: Text) -> dict[str, Any]:
    """The JSON object that a file is.

    Raises:
        InputError: it is none, or more than one.
    """
    try:
        found = json.loads(text.data)
    except RecursionError:
        found = None
    except ValueError as error:
        more = "has more than one result" if str(error).startswith("Extra data") else "is not JSON"
        message = f"{more}, must be one result of {WRITER}"
        raise InputError(message, text.path) from error
    if not isinstance(found, dict):
        message = f"is no JSON object, must be a result of {WRITER}"
        raise InputError(message, text.path)
    return found


def column(result: dict[str, Any], key: str, text: Text) -> list[Any]:
    """The list under a key.

    Raises:
        InputError: there is none.
    """
    if key not in result:
        message = (
            f"{key} is missing, must be there: write the result with {WRITER}; the keys are {clipped_list(result)}"
        )
        raise InputError(message, text.path)
    found = result[key]
    if not isinstance(found, list) or not found:
        message = f"{key} is {'an empty list' if found == [] else shown(found)}, must be a list with an entry for each request"
        raise InputError(message, text.path)
    return found


def numbers(result: dict[str, Any], key: str, most: float, text: Text) -> NDArray[np.float64]:
    """A list of numbers from 0 to `most`, float64[n].

    Raises:
        InputError: there is none, or one of its values is something else.
    """
    found = column(result, key, text)
    wrong = first_wrong(found, most)
    if wrong is not None:
        message = (
            f"{key} has {shown(found[wrong])} for request {wrong + 1}, must be a number from 0 to {limit_text(most)}"
        )
        raise InputError(message, text.path)
    return np.array(found, np.float64)


def tokens(result: dict[str, Any], key: str, text: Text) -> NDArray[np.int64]:
    """A list of whole numbers of tokens, int64[n].

    Raises:
        InputError: there is none, or one of its values is something else.
    """
    found = numbers(result, key, MAX_TOKENS - 1, text)
    broken = found % 1 != 0
    if broken.any():
        message = f"{key} has {found[broken.argmax()]:g} for request {broken.argmax() + 1}, must be a whole number"
        raise InputError(message, text.path)
    return found.astype(np.int64)


def same_length(columns: dict[str, Any], text: Text) -> None:
    """Refuses lists that are not as long as each other.

    Raises:
        InputError: they are not.
    """
    lengths = {key: len(values) for key, values in columns.items()}
    if len(set(lengths.values())) > 1:
        stated = ", ".join(f"{key} {length:,}" for key, length in lengths.items())
        message = f"the lists have entries of different numbers of requests ({stated}), must have one for each request"
        raise InputError(message, text.path)


def first_wrong(values: Sequence[Any], most: float) -> int | None:
    """Where the first value stands that is no number from 0 to `most`; None if there is none."""
    right = (isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most for value in values)
    return next((i for i, good in enumerate(right) if not good), None)
