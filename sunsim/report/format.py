"""How numbers are written for people."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

K = TypeVar("K")
V = TypeVar("V")

ABSENT = "-"


def number(value: float | None) -> str:
    """Three digits or so, thousands separated: 0.42, 7.41, 13.9, 153, 29,600."""
    if value is None:
        return ABSENT
    decimals = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
    return f"{value:,.{decimals}f}"


def count(value: float | None) -> str:
    """A whole number with thousands separated."""
    return ABSENT if value is None else f"{value:,.0f}"


def gpu_count(value: float | None) -> str:
    """GPUs of a fixed pool as a whole number, those that an elastic one held in the mean with decimals."""
    return number(value) if isinstance(value, float) else count(value)


def counted(value: float, what: str) -> str:
    """How many of something there are: 1 request, 2,000 requests."""
    return f"{count(value)} {what}{'' if value == 1 else 's'}"


def percent(share: float | None, decimals: int = 0) -> str:
    """A share in percent; what is not quite all or not quite nothing is never written as 100 % or 0 %."""
    if share is None:
        return ABSENT
    smallest = 10.0**-decimals
    shown = round(share * 100, decimals)
    if share > 0 and shown == 0:
        return f"<{smallest:g} %"
    if share < 1 and shown == 100:
        return f">{100 - smallest:.{decimals}f} %"
    return f"{shown:.{decimals}f} %"


def ratio(value: float | None, base: float | None) -> float | None:
    """`value / base`, None where one is missing or there is nothing to compare to."""
    return None if value is None or not base else value / base


def times(value: float | None) -> str:
    """A ratio as 2.00x."""
    return ABSENT if value is None else f"{value:.2f}x"


def change(value: float, base: float) -> str:
    """A change against a base as +9 %."""
    return f"{(value / base - 1) * 100:+.0f} %".replace("-0 %", "+0 %")


def milliseconds(value_ms: float | None) -> str:
    """A time in milliseconds, or in seconds from ten seconds up."""
    if value_ms is None:
        return ABSENT
    return f"{number(value_ms / 1000)} s" if value_ms >= 10_000 else f"{number(value_ms)} ms"


def limits(slo: Mapping[str, Any]) -> str:
    """TTFT 2,000 ms, TPOT 25.0 ms; of m1 and m3 TPOT 10.0 ms."""
    of_all = {key: limit for key, limit in slo.items() if key != "models"}
    alike = together((_stated(own), name) for name, own in slo.get("models", {}).items())
    return "; ".join(
        [*([_stated(of_all)] if of_all else []), *(f"of {listed(names)} {own}" for own, names in alike.items())]
    )


def _stated(limits_ms: Mapping[str, float]) -> str:
    return ", ".join(f"{key.removesuffix('_ms').upper()} {number(limit)} ms" for key, limit in limits_ms.items())


def together(pairs: Iterable[tuple[K, V]]) -> dict[K, list[V]]:
    """What has the same key, in one list; keys in the order in which they come first."""
    found: defaultdict[K, list[V]] = defaultdict(list)
    for key, value in pairs:
        found[key].append(value)
    return dict(found)


def in_arms(found: Mapping[str, list[str]]) -> str:
    """What is so in which arms: 3 in a and b; 5 in c."""
    return "; ".join(f"{what} in {listed(names)}" for what, names in found.items())


def of_arms(facts: Iterable[tuple[str, str]]) -> list[str]:
    """Each fact once, with all that it is true of: known (a and b)."""
    return [f"{fact} ({listed(names)})" for fact, names in together(facts).items()]


def listed(names: list[str]) -> str:
    """a, b and c."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
