"""The blocks of documents whose content `docs.refresh` makes, between ``<!-- begin: NAME -->`` and ``<!-- end: NAME -->``."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).parent
ROOT = DOCS.parent
README = ROOT / "README.md"
FIDELITY = DOCS / "fidelity.md"
ELASTIC = DOCS / "elastic.md"
SPECULATIVE = DOCS / "speculative.md"

PLACES = {
    "run": DOCS / "run.md",
    "run-short": README,
    "compare": DOCS / "compare.md",
    "trace": DOCS / "traces.md",
    "changing": DOCS / "traffic.md",
    "server": DOCS / "your-server.md",
    "sweep": DOCS / "sweep.md",
    "plan": DOCS / "plan.md",
    "plan-csv": DOCS / "plan.md",
    "plan-day": DOCS / "plan.md",
    "plan-requests": README,
    "claims": DOCS / "figures.md",
    "ppd": DOCS / "ppd.md",
    "mooncake": DOCS / "ppd.md",
    "speed": DOCS / "speed.md",
    "speed-plain": DOCS / "speed.md",
    "fidelity": FIDELITY,
    "sharing": FIDELITY,
    "candidates": FIDELITY,
    "outside": FIDELITY,
    "estimates": DOCS / "estimates.md",
    "calibration": FIDELITY,
    "trust": README,
    "live": DOCS / "live-clusters.md",
    "adapters": DOCS / "profiling.md",
    "accuracy": DOCS / "accuracy.md",
    "accuracy-longer": DOCS / "accuracy.md",
    "routers": DOCS / "routing.md",
    "elastic-day": ELASTIC,
    "llm-d": ELASTIC,
    "tokenscale": ELASTIC,
    "history": DOCS / "sessions.md",
    "prefillshare": DOCS / "sessions.md",
    "drafts-steps": SPECULATIVE,
    "drafts-load": SPECULATIVE,
    "drafts-shared": SPECULATIVE,
    "drafts-beside": SPECULATIVE,
    "drafts-by-batch": SPECULATIVE,
    "drafts-published": SPECULATIVE,
    "requests": DOCS / "python.md",
    "session-requests": DOCS / "python.md",
    "draft-requests": DOCS / "python.md",
    "workers": DOCS / "python.md",
    "session-workers": DOCS / "python.md",
    "draft-workers": DOCS / "python.md",
    "pools": DOCS / "python.md",
    "session-metrics": DOCS / "results.md",
    "draft-metrics": DOCS / "results.md",
    "elastic-metrics": DOCS / "results.md",
}
"""The document of each block. The README's are beginnings or sums of what the pages have whole."""


def block(text: str, name: str) -> str:
    """The content of a marked block, without its fence if it has one."""
    found = re.search(_pattern(name), text, re.DOTALL)
    if not found:
        message = f"{PLACES.get(name, README)} has no block {name}"
        raise ValueError(message)
    return found[2]


def replaced(text: str, name: str, content: str) -> str:
    """`text` with another content in a marked block."""
    block(text, name)
    return re.sub(_pattern(name), lambda found: found[1] + content + found[3], text, flags=re.DOTALL)


def _pattern(name: str) -> str:
    return rf"(<!-- begin: {name} -->\n(?:```text\n)?)(.*?)((?:```\n)?<!-- end: {name} -->)"


def beginning(printed: str, parts: int) -> str:
    """The first parts of what was printed, where empty lines part it."""
    return "\n\n".join(printed.split("\n\n")[:parts]) + "\n"
