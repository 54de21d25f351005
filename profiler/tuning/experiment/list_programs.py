"""Programs on short lists of digits or letters: "list 3 1 7 . reverse . rotate", answered with the list after each step."""

from collections.abc import Callable, Mapping
from random import Random

from profiler.tuning.experiment.words import ASK, DIGITS, LETTERS, Example

Operator = Callable[[list[str]], list[str]]
Layout = Callable[[list[list[str]]], list[str]]
"""From the list after each step to the words of a response."""

LONGEST = 8
"""Elements that a list may grow to."""


def increased(items: list[str]) -> list[str]:
    """Each element's successor, the last one's is the first."""
    kind = DIGITS if items[0] in DIGITS else LETTERS
    return [kind[(kind.index(item) + 1) % len(kind)] for item in items]


OPERATORS: dict[str, Operator] = {
    "reverse": lambda items: items[::-1],
    "rotate": lambda items: items[1:] + items[:1],
    "behead": lambda items: items[1:],
    "chop": lambda items: items[:-1],
    "echo": lambda items: [*items, items[-1]],
    "increase": increased,
    "exchange": lambda items: [items[1], items[0], *items[2:]],
}
NEW_OPERATORS: dict[str, Operator] = {
    "lift": lambda items: items[-1:] + items[:-1],
    "flip": lambda items: [items[-1], *items[1:-1], items[0]],
    "trim": lambda items: items[1:-1],
    "herald": lambda items: [items[0], *items],
}
"""Held out of pre-training; programs of the held-out task mix them with the known ones."""


def plain(states: list[list[str]]) -> list[str]:
    """`7 1 3 ; 1 3 7 .`."""
    return _joined([list(state) for state in states], ";", ".")


def bracketed(states: list[list[str]]) -> list[str]:
    """`[ 7 1 3 ] [ 1 3 7 ]`."""
    return [word for state in states for word in ("[", *state, "]")]


def listed(states: list[list[str]]) -> list[str]:
    """`7 , 1 , 3 | 1 , 3 , 7 .`."""
    return _joined([_joined([[item] for item in state], ",", None) for state in states], "|", ".")


def counted(states: list[list[str]]) -> list[str]:
    """Held out: `( 7 , 1 , 3 ) : 3 ; ( 1 , 3 , 7 ) : 3`, each list with its length."""
    return _joined(
        [["(", *_joined([[item] for item in state], ",", None), ")", ":", str(len(state))] for state in states],
        ";",
        None,
    )


def _joined(parts: list[list[str]], between: str, end: str | None) -> list[str]:
    words = [word for part in parts for word in (*part, between)][:-1]
    return words if end is None else [*words, end]


LAYOUTS: dict[str, Layout] = {"plain": plain, "bracketed": bracketed, "listed": listed}
NEW_LAYOUTS: dict[str, Layout] = {"counted": counted}

WORDS = ("format", "list", "run", *OPERATORS, *NEW_OPERATORS, *LAYOUTS, *NEW_LAYOUTS)


def program(draw: Random, operators: Mapping[str, Operator], layouts: Mapping[str, Layout]) -> Example:
    """A list of 4 to 6 elements and 1 to 3 operators; no list on the way has fewer than 2 elements or more than `LONGEST`."""
    layout = draw.choice(tuple(layouts))
    items = draw.choices(draw.choice((DIGITS, LETTERS)), k=draw.randint(4, 6))
    told: list[str] = ["list", *items]
    states: list[list[str]] = []
    for _ in range(draw.randint(1, 3)):
        name, items = step(draw, operators, items)
        told += [".", name]
        states.append(items)
    return Example(("format", layout, ".", *told, ".", "run", ASK), tuple(layouts[layout](states)))


def step(draw: Random, operators: Mapping[str, Operator], items: list[str]) -> tuple[str, list[str]]:
    """An operator that is possible with this list, and the list after it."""
    while True:
        name = draw.choice(tuple(operators))
        if len(items) >= 2 and 2 <= len(after := operators[name](items)) <= LONGEST:
            return name, after
