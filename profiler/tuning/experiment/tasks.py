"""The mixture that base models are pre-trained on, and the held-out tasks that they are tuned for.

A held-out task is a family with something that pre-training never showed. Some need the prompt to be understood anew (other
words, other operators: kind "understanding"), some the response to be written in another way (kind "writing"). That is where
a frozen decode module may or may not be enough.
"""

from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Literal, NamedTuple
from zlib import crc32

from profiler.tuning.experiment import list_programs, math_problems, tool_calls
from profiler.tuning.experiment.words import ASK, DIGITS, LETTERS, MARKS, Example, Vocabulary

Make = Callable[[Random], Example]
Part = Literal["train", "validation", "test"]

VOCABULARY = Vocabulary(
    (*DIGITS, *LETTERS, *MARKS, "repeat", "backwards", *math_problems.WORDS, *list_programs.WORDS, *tool_calls.WORDS)
)
PARTS: dict[Part, frozenset[int]] = {
    "train": frozenset(range(2, 10)),
    "validation": frozenset((1,)),
    "test": frozenset((0,)),
}
"""A prompt belongs to the part of its checksum's last decimal digit, so no two parts share one."""


class Task(NamedTuple):
    """A held-out task."""

    make: Make
    kind: Literal["understanding", "writing"]
    about: str


def repeated(draw: Random) -> Example:
    """Words of the whole language to be repeated, or backwards: no word is without a meaningful embedding, nor its use taught."""
    words = draw.choices(VOCABULARY.words[4:], k=draw.randint(3, 12))
    how = draw.choice(("repeat", "backwards"))
    return Example((how, ".", *words, ASK), tuple(words if how == "repeat" else words[::-1]))


def math_problem(draw: Random) -> Example:
    """A word problem as in pre-training."""
    return math_problems.problem(draw, math_problems.VERBS, math_problems.LAYOUTS)


def list_program(draw: Random) -> Example:
    """A program as in pre-training."""
    return list_programs.program(draw, list_programs.OPERATORS, list_programs.LAYOUTS)


def tool_call(draw: Random) -> Example:
    """A request as in pre-training."""
    return tool_calls.request(draw, tool_calls.KNOWN, tool_calls.LAYOUTS)


MIXTURE: tuple[tuple[Make, float], ...] = (
    (math_problem, 0.25),
    (list_program, 0.3),
    (tool_call, 0.35),
    (repeated, 0.1),
)
"""What is drawn for pre-training, with its share."""


def math_words(draw: Random) -> Example:
    """Verbs that pre-training has no problems with; the known ones are a half."""
    verbs = {**math_problems.VERBS, **math_problems.NEW_VERBS}
    return math_problems.problem(draw, verbs, {"steps": math_problems.steps})


def math_format(draw: Random) -> Example:
    """Known problems, reported in a new layout."""
    return math_problems.problem(draw, math_problems.VERBS, math_problems.NEW_LAYOUTS)


def list_operators(draw: Random) -> Example:
    """New operators among the known ones."""
    operators = {**list_programs.OPERATORS, **list_programs.NEW_OPERATORS}
    return list_programs.program(draw, operators, {"plain": list_programs.plain})


def list_format(draw: Random) -> Example:
    """Known programs, their lists in a new layout, each with its length."""
    return list_programs.program(draw, list_programs.OPERATORS, list_programs.NEW_LAYOUTS)


def call_words(draw: Random) -> Example:
    """Requests in other words than the schema's."""
    return tool_calls.request(draw, tool_calls.NEW, {"call": tool_calls.call})


def call_format(draw: Random) -> Example:
    """Known requests, calls in a new layout."""
    return tool_calls.request(draw, tool_calls.KNOWN, tool_calls.NEW_LAYOUTS)


TASKS: Mapping[str, Task] = {
    "math-words": Task(math_words, "understanding", "word problems with new verbs, some of two steps"),
    "list-operators": Task(list_operators, "understanding", "list programs with new operators"),
    "call-words": Task(call_words, "understanding", "tool calls requested in other words than the schema's"),
    "math-format": Task(math_format, "writing", "word problems whose results are written before their operands"),
    "list-format": Task(list_format, "writing", "list programs answered as lists with commas and lengths"),
    "call-format": Task(call_format, "writing", "tool calls written like JSON"),
}


def mixture(seed: int) -> Iterator[Example]:
    """Examples of pre-training without end."""
    draw = Random(f"pretrain/{seed}")
    makes, shares = zip(*MIXTURE, strict=True)
    while True:
        for make in draw.choices(makes, shares, k=256):
            yield make(draw)


def part_of(example: Example) -> int:
    """The digit that decides the part which a prompt belongs to, whatever the seed."""
    return crc32(" ".join(example.prompt).encode()) % 10


def examples(name: str, part: Part, seed: int, count: int) -> list[Example]:
    """Distinct examples of one part of a held-out task; a prompt of one part is in no other part, of any seed."""
    draw, digits = Random(f"{name}/{part}/{seed}"), PARTS[part]
    found: dict[tuple[str, ...], Example] = {}
    while len(found) < count:
        example = TASKS[name].make(draw)
        if part_of(example) in digits:
            found.setdefault(example.prompt, example)
    return list(found.values())
