"""Function calls with schemas: which function, and its arguments in the schema's order, out of a request in words."""

from collections.abc import Callable, Mapping
from random import Random
from typing import NamedTuple

from profiler.tuning.experiment.words import (
    ASK,
    CITIES,
    COLORS,
    DAYS,
    DIGITS,
    DISHES,
    GENRES,
    NAMES,
    SIZES,
    Example,
)

PARAMETERS: dict[str, tuple[str, ...]] = {
    "city": CITIES,
    "day": DAYS,
    "hour": DIGITS,
    "color": COLORS,
    "size": SIZES,
    "genre": GENRES,
    "dish": DISHES,
    "guest": NAMES,
}
"""Values that each parameter takes."""
FUNCTIONS = ("weather", "reserve", "music", "order", "remind", "paint", "invite", "search")
UNSET = "none"
"""What a call says for a parameter that the request does not speak of."""


class Wording(NamedTuple):
    """How a request names functions and parameters."""

    functions: Mapping[str, str]
    parameters: Mapping[str, str]


KNOWN = Wording({name: name for name in FUNCTIONS}, {name: name for name in PARAMETERS})
NEW = Wording(
    {
        "weather": "forecast",
        "reserve": "book",
        "music": "listen",
        "order": "deliver",
        "remind": "wake",
        "paint": "decorate",
        "invite": "welcome",
        "search": "look",
    },
    {
        "city": "in",
        "day": "on",
        "hour": "at",
        "color": "coloured",
        "size": "sized",
        "genre": "some",
        "dish": "with",
        "guest": "for",
    },
)
"""Held out of pre-training: other words for functions and parameters, whose schemas keep the known ones."""

Layout = Callable[[str, list[tuple[str, str]]], list[str]]
"""From a function and its arguments to the words of a response."""


def call(function: str, arguments: list[tuple[str, str]]) -> list[str]:
    """`weather ( city = rome , day = monday )`."""
    words = [word for name, value in arguments for word in (name, "=", value, ",")][:-1]
    return [function, "(", *words, ")"]


def lines(function: str, arguments: list[tuple[str, str]]) -> list[str]:
    """`weather ; city rome ; day monday .`."""
    return [function, *(word for name, value in arguments for word in (";", name, value)), "."]


def positional(function: str, arguments: list[tuple[str, str]]) -> list[str]:
    """`weather : rome | monday .`."""
    return [function, ":", *[word for _, value in arguments for word in (value, "|")][:-1], "."]


def json_like(function: str, arguments: list[tuple[str, str]]) -> list[str]:
    """Held out: `{ name : weather , args : { city : rome , day : monday } }`."""
    words = [word for name, value in arguments for word in (name, ":", value, ",")][:-1]
    return ["{", "name", ":", function, ",", "args", ":", "{", *words, "}", "}"]


LAYOUTS: dict[str, Layout] = {"call": call, "lines": lines, "positional": positional}
NEW_LAYOUTS: dict[str, Layout] = {"json": json_like}

WORDS = (
    *("format", "tool", "want", "name", "args", UNSET),
    *FUNCTIONS,
    *PARAMETERS,
    *(value for values in PARAMETERS.values() for value in values),
    *NEW.functions.values(),
    *NEW.parameters.values(),
    *LAYOUTS,
    *NEW_LAYOUTS,
)


def request(draw: Random, wording: Wording, layouts: Mapping[str, Layout]) -> Example:
    """Two or three functions with 1 to 3 parameters each, and a request for one; a parameter in six is left unset."""
    layout = draw.choice(tuple(layouts))
    schemas = {
        name: draw.sample(tuple(PARAMETERS), draw.randint(1, 3)) for name in draw.sample(FUNCTIONS, draw.randint(2, 3))
    }
    told = [word for name, names in schemas.items() for word in (".", "tool", name, *names)]
    function = draw.choice(tuple(schemas))
    values = {name: draw.choice(PARAMETERS[name]) for name in schemas[function] if draw.random() > 1 / 6}
    said = draw.sample(tuple(values), len(values))
    asked = [word for name in said for word in (wording.parameters[name], values[name])]
    prompt = ("format", layout, *told, ".", "want", wording.functions[function], *asked, ASK)
    arguments = [(name, values.get(name, UNSET)) for name in schemas[function]]
    return Example(prompt, tuple(layouts[layout](function, arguments)))
