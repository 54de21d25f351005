"""What profiles say of themselves, a row each: ``python -m benchmarks.repeats``.

How straight their steady lines are, how equal steps came out that were measured twice, what joins and prompts cost, and
what is learned from their traffic.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.show import show
from sunsim.latency.attention import LengthMix
from sunsim.latency.measured import DecodePoint, ProfileData
from sunsim.latency.model import LatencyModel
from sunsim.latency.profile import list_profiles, load_profile, profiles_root
from sunsim.latency.steady import steady_lines, steady_points
from sunsim.report.format import ABSENT
from sunsim.report.text_table import TextTable
from sunsim.validation.folders import committed_campaigns

LONG_TOKENS = 100_000
LARGE = (177, 256)
"""Requests."""
LARGE_TOKENS = (900, 1200)
"""Of context, a request."""
MIX = LengthMix((1000,), (100,))
"""Any: what is learned from traffic does not depend on it."""
NOTE = (
    "Straight: how far steady steps are from the line of their batch size, root mean square, %. Again: the same steps at "
    "the profile's end, mean, %: with up to 100,000 tokens of context, with more, and with 177 to 256 requests of about "
    "1,000 tokens. Blocks: the same steps with neighbouring KV blocks instead of scattered ones. Join: what the steps "
    "around the one that a request joins take longer together, all else steady, median, ms. Reading: ms for 1,000 tokens "
    "of prompts. Alone: "
    "fitted to traffic."
)


def straight(data: ProfileData) -> float:
    """Root of the mean squared relative error of the steady lines, %."""
    lines = steady_lines(data.decode_points)
    measured = steady_points(data.decode_points).items()
    errors = [lines[batch].ms(c) / ms - 1 for batch, at in measured for c, ms in zip(*at, strict=True)]
    return float(np.sqrt(np.mean(np.square(errors)))) * 100


def change(data: ProfileData, kind: tuple[str, int], which: Callable[[DecodePoint], bool]) -> str:
    """How much longer steps of other `lengths` and `run` are than the same steps measured first, mean, %."""
    first = {
        (p.batch, p.context_tokens): p.step_ms_median
        for p in data.decode_points
        if (p.lengths, p.run) == ("uniform", 0)
    }
    again = [p for p in data.decode_points if (p.lengths, p.run) == kind and which(p)]
    changes = [p.step_ms_median / first[at] - 1 for p in again if (at := (p.batch, p.context_tokens)) in first]
    return f"{100 * np.mean(changes):+.1f}" if changes else ABSENT


def is_long(point: DecodePoint) -> bool:
    """Whether a step has much context."""
    return point.context_tokens > LONG_TOKENS


def is_large(point: DecodePoint) -> bool:
    """Whether it is of a large batch of usual contexts."""
    least, most = LARGE
    return least <= point.batch <= most and LARGE_TOKENS[0] <= point.context_tokens / point.batch <= LARGE_TOKENS[1]


def row(name: str, data: ProfileData, model: LatencyModel) -> tuple[str, ...]:
    """One profile."""
    again, ordered = ("uniform", 1), ("ordered", 0)
    joins = [point["extra_ms_before"] + sum(point["extra_ms"]) for point in data.join_points if point["joined"] == 1]
    return (
        name,
        f"{straight(data):.2f}",
        change(data, again, lambda p: not is_long(p)),
        change(data, again, is_long),
        change(data, again, is_large),
        change(data, ordered, lambda p: not is_long(p)),
        change(data, ordered, is_long),
        f"{np.median(joins):+.2f}" if joins else ABSENT,
        f"{model.take_in_ps(1000) / 1e9:.2f}" if data.arrival_points else ABSENT,
        f"{model.traffic.alone:g}" if model.traffic else ABSENT,
    )


def main() -> None:
    """Prints the table."""
    root = profiles_root().resolve()
    shipped = {root / f"{name}.json" for name in list_profiles()}
    rows = []
    for path in sorted(shipped | {each.profile.resolve() for each in committed_campaigns()}):
        profile = load_profile(path)
        name = path.relative_to(root).with_suffix("").as_posix().replace("actual-runs/", "")
        rows.append(row(name, profile.data, LatencyModel(profile, MIX)))
    headers = (
        "",
        "straight",
        "again:\nshort",
        "\nlong",
        "\nlarge",
        "blocks:\nshort",
        "\nlong",
        "join",
        "reading",
        "alone",
    )
    show([NOTE, TextTable("", headers, rows)])


if __name__ == "__main__":
    main()
