"""How far off estimated profiles are: each measured one, estimated from each other, ``python -m benchmarks.estimates``.

With ``--write`` the errors by kind of change, which every estimate tells, are kept in the package.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from benchmarks.estimate_errors import Errors, Pair, by_kind, pairs
from benchmarks.show import show
from sunsim.estimate.errors import FILE, Kinds
from sunsim.estimate.source import Source
from sunsim.latency.profile import list_profiles, load_named
from sunsim.report.format import listed, together
from sunsim.report.text_table import TextTable

NOTE = (
    "Errors of estimated profiles against the measured ones, estimated over measured less one, in %. Size is the mean size "
    "over the points, mean the mean of them: decode over batches up to 8, up to 64 and above, prefill over steps up to 512 "
    "tokens, up to 2,048 and above, each range counting the same. Worst is one point's."
)
KINDS_NOTE = (
    "The same by what is changed, over the pairs above that change nothing else. Slower is how much slower the measured "
    "steps of a range were than the estimate said, where that is most."
)


def measured_pairs() -> list[Pair]:
    """Of all shipped profiles of base models, those that change least first."""
    profiles = [load_named(name) for name in list_profiles()]
    found = pairs([Source.of(profile) for profile in profiles if not profile.adapters])
    return sorted(found, key=lambda pair: (len(pair.changed), pair.changed))


def tables(found: Sequence[Pair]) -> list[TextTable]:
    """Of each change or changes a table, in it a pair a row."""
    grouped = together((listed(list(pair.changed)), pair) for pair in found)
    headers = ("estimated", "from", "decode: size\n(mean, worst)", "prefill: size\n(mean, worst)", "KV\nblocks")
    return [
        TextTable(f"Another {changed}", headers, [_row(pair) for pair in of_change], left=2)
        for changed, of_change in grouped.items()
    ]


def _row(pair: Pair) -> tuple[str, ...]:
    return (pair.target, pair.source, _cell(pair.decode), _cell(pair.prefill), f"{100 * pair.blocks:+.1f}")


def _cell(errors: Errors) -> str:
    return f"{100 * errors.size:.1f} ({100 * errors.mean:+.1f}, {100 * errors.worst:+.0f})"


def kinds_table(kinds: Kinds) -> TextTable:
    """A kind of change a row."""
    columns = ("decode_typical", "decode_slower", "prefill_typical", "prefill_slower", "blocks")
    headers = ("changed", "pairs", "decode\nsize", "decode\nslower", "prefill\nsize", "prefill\nslower", "KV\nblocks")
    rows = [(kind, f"{of['pairs']:.0f}", *(f"{of[column]:.1f}" for column in columns)) for kind, of in kinds.items()]
    return TextTable("", headers, rows)


def main() -> None:
    """Prints the tables, or writes the file of the last."""
    found = measured_pairs()
    kinds = by_kind(found)
    if "--write" in sys.argv[1:]:
        FILE.write_text(json.dumps(kinds, indent=2) + "\n", encoding="utf-8")
        return
    show([NOTE, *tables(found), KINDS_NOTE, kinds_table(kinds)])


if __name__ == "__main__":
    main()
