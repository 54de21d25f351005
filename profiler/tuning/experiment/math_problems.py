"""Arithmetic word problems with worked steps: "ann has 1 2 coins . gets 7 . doubles . how many"."""

from collections.abc import Callable, Mapping
from random import Random
from typing import NamedTuple

from profiler.tuning.experiment.words import ASK, ITEMS, NAMES, Example, number

LARGEST = 99


class Step(NamedTuple):
    """One line of work: `before` sign `by` = `after`."""

    before: int
    sign: str
    by: int
    after: int


Layout = Callable[[str, str, list[Step]], list[str]]
"""From a person, an item and the steps to the words of a response."""

VERBS: dict[str, tuple[tuple[str, int], ...]] = {
    "gets": (("+", 1),),
    "finds": (("+", 1),),
    "buys": (("+", 1),),
    "loses": (("-", 1),),
    "sells": (("-", 1),),
    "gives": (("-", 1),),
    "doubles": (("*", 2),),
}
"""What each verb does, in order: a sign, and how many times the verb's number; of `*`, the factor itself."""
NEW_VERBS: dict[str, tuple[tuple[str, int], ...]] = {
    "harvests": (("+", 1),),
    "wins": (("+", 1),),
    "drops": (("-", 1),),
    "lends": (("-", 1),),
    "breeds": (("*", 2),),
    "hoards": (("+", 1), ("+", 1)),
    "trades": (("-", 1), ("*", 2)),
}
"""Held out of pre-training: other words for what is known, and two that each take two known steps."""
MARKERS = ("format", "has", "how", "many", "answer", "total", "makes")


def steps(_person: str, _item: str, work: list[Step]) -> list[str]:
    """`1 2 + 7 = 1 9 ; answer 1 9`."""
    words: list[str] = []
    for step in work:
        words += [*number(step.before), step.sign, *number(step.by), "=", *number(step.after), ";"]
    return [*words, "answer", *number(work[-1].after)]


def totals(_person: str, _item: str, work: list[Step]) -> list[str]:
    """`1 2 ; 1 9 ; total 1 9`."""
    words = [*number(work[0].before), ";"]
    for step in work:
        words += [*number(step.after), ";"]
    return [*words, "total", *number(work[-1].after)]


def arrows(_person: str, item: str, work: list[Step]) -> list[str]:
    """`1 2 -> + 7 -> 1 9 , coins`."""
    words = number(work[0].before)
    for step in work:
        words += ["->", step.sign, *number(step.by), "->", *number(step.after)]
    return [*words, ",", item]


def results_first(person: str, item: str, work: list[Step]) -> list[str]:
    """Held out: `[ 1 9 = 1 2 + 7 ] ann : 1 9 coins`, the result before what it is made of."""
    words: list[str] = []
    for step in work:
        words += ["[", *number(step.after), "=", *number(step.before), step.sign, *number(step.by), "]"]
    return [*words, person, ":", *number(work[-1].after), item]


LAYOUTS: dict[str, Layout] = {"steps": steps, "totals": totals, "arrows": arrows}
NEW_LAYOUTS: dict[str, Layout] = {"report": results_first}

WORDS = (*NAMES, *ITEMS, *VERBS, *NEW_VERBS, *MARKERS, *LAYOUTS, *NEW_LAYOUTS)


def problem(draw: Random, verbs: Mapping[str, tuple[tuple[str, int], ...]], layouts: Mapping[str, Layout]) -> Example:
    """One problem of 1 to 3 events; all its numbers are within 0 to `LARGEST`."""
    person, item, layout = draw.choice(NAMES), draw.choice(ITEMS), draw.choice(tuple(layouts))
    have = first = draw.randint(2, 40)
    told: list[str] = []
    work: list[Step] = []
    for _ in range(draw.randint(1, 3)):
        verb, by, taken = event(draw, verbs, have)
        told += [".", verb] + ([] if by is None else number(by))
        work += taken
        have = work[-1].after
    prompt = ("format", layout, ".", person, "has", *number(first), item, *told, ".", "how", "many", ASK)
    return Example(prompt, tuple(layouts[layout](person, item, work)))


def event(
    draw: Random, verbs: Mapping[str, tuple[tuple[str, int], ...]], have: int
) -> tuple[str, int | None, list[Step]]:
    """A verb that is possible with what there is, its number, None if it has none, and the steps that it takes."""
    while True:
        verb = draw.choice(tuple(verbs))
        does = verbs[verb]
        by = draw.randint(1, 30) if any(sign != "*" for sign, _ in does) else None
        now, taken = have, []
        for sign, times in does:
            amount = times if sign == "*" else (by or 0) * times
            after = now * amount if sign == "*" else now + amount if sign == "+" else now - amount
            taken.append(Step(now, sign, amount, after))
            now = after
        if all(0 <= step.after <= LARGEST for step in taken):
            return verb, by, taken
