"""What the profiler says to its scheduler and connector through a request's id.

An id is the only thing of ours that reaches both of them unchanged: vLLM appends eight random characters, and
leaves the front as it was. Nothing here needs vLLM.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

Kind = Literal["decode", "prefill"]

_MARKED = re.compile(
    r"(?:decode|prefill)-(?:g(?P<group>\d+)x(?P<size>\d+)-)?(?:b(?P<budget>\d+)-)?(?:(?P<scatter>scattered)-)?\d+"
)


@dataclass(frozen=True, slots=True)
class Mark:
    """How a request may be admitted.

    group, group_size: no request of the group is admitted before all of it waits, so that it joins in one step.
    budget_tokens: the step that admits this request schedules no more tokens than this, so that no other group fits.
    scatter: before this request is admitted, the free KV blocks are put in random order, as hours of serving leave them.
    """

    group: int | None = None
    group_size: int = 0
    budget_tokens: int | None = None
    scatter: bool = False


UNMARKED = Mark()


def request_id(kind: Kind, serial: int, mark: Mark = UNMARKED) -> str:
    """`decode-`: the prompt's KV counts as arrived, all but its last token. `prefill-`: the engine computes it."""
    held = "" if mark.group is None else f"g{mark.group}x{mark.group_size}-"
    capped = "" if mark.budget_tokens is None else f"b{mark.budget_tokens}-"
    scattered = "scattered-" if mark.scatter else ""
    return f"{kind}-{held}{capped}{scattered}{serial}"


def kv_arrived(identifier: str) -> bool:
    """Whether the prompt's KV counts as arrived over the link."""
    return identifier.startswith("decode-")


@lru_cache(maxsize=4096)
def mark_of(identifier: str) -> Mark | None:
    """The mark in an id, or None where the request is scheduled as vLLM would."""
    found = _MARKED.match(identifier)
    if found is None:
        return None
    mark = Mark(
        group=None if found["group"] is None else int(found["group"]),
        group_size=int(found["size"] or 0),
        budget_tokens=None if found["budget"] is None else int(found["budget"]),
        scatter=found["scatter"] is not None,
    )
    return None if mark == UNMARKED else mark
