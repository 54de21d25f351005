"""What prompts that are computed among 200 decodes cost these: PPD's microbenchmark, simulated.

Its script sends 200 requests of one common context at a time, and one to four more with them.
"""

from __future__ import annotations

from typing import Any

from benchmarks.sessions.cells import POOL, PROFILE, simulated
from sunsim.latency.attention import LengthMix
from sunsim.latency.model import latency_model
from sunsim.latency.profile import load_named
from sunsim.report.text_table import TextTable

DECODES = 200
CONTEXT = 2048
NEW = 16
"""Tokens of each decode's own: the script asks for 4, and words before them."""
OUTPUT = 64
PROMPT = 1024
PUBLISHED = {("full", 1): 48, ("append", 1): 2}
"""What a prompt without context, and one behind the common context, add to TPOT, %."""
NOTE = (
    "200 requests decode 64 tokens each behind one common context of 2,048, on one worker with prefix caching; then come 1, "
    "2 or 4 prompts of 1,024 tokens, without that context (full) or behind it (append)."
)
WARM_S, BEGIN_S, AMONG_S = 0.0, 1.0, 1.5


def tpot_ms(kind: str, prompts: int) -> float:
    """Mean TPOT of the decodes, ms."""
    common = {"prefix": "context", "prefix_tokens": CONTEXT}
    alone = {"prefix": "", "prefix_tokens": ""}
    rows: list[dict[str, Any]] = [_row(WARM_S, CONTEXT + NEW, common)]
    rows += [_row(BEGIN_S, CONTEXT + NEW, common) for _ in range(DECODES)]
    prompt = (CONTEXT + PROMPT, common) if kind == "append" else (PROMPT, alone)
    rows += [_row(AMONG_S, *prompt) for _ in range(prompts)]
    for number, row in enumerate(rows):
        row["session"] = number
    arm = {"name": "worker", "colocated": POOL | {"workers": 1, "enable_prefix_caching": True}}
    frame = simulated(rows, [arm])["worker"]
    decodes = frame[1 : DECODES + 1]
    return 1000 * float(((decodes["last_token_s"] - decodes["first_token_s"]) / (OUTPUT - 1)).mean())


def _row(arrival_s: float, prompt_tokens: int, prefix: dict[str, Any]) -> dict[str, Any]:
    tokens = {"prompt_tokens": prompt_tokens, "output_tokens": OUTPUT}
    return {"round": 0, "think_s": "", "arrival_s": arrival_s} | tokens | prefix


def interference_tables() -> list[str | TextTable]:
    """TPOT with and without such prompts, and what reading the common context once would change."""
    base = tpot_ms("full", 0)
    rows = [("decodes alone", "", f"{base:.1f}", "")]
    for kind in ("full", "append"):
        for prompts in (1, 2, 4):
            found = tpot_ms(kind, prompts)
            published = PUBLISHED.get((kind, prompts))
            added = f"{100 * (found / base - 1):+.1f}"
            rows.append((f"and {prompts} {kind}", f"{published:+d}" if published else "", f"{found:.1f}", added))
    headers = ("", "published,\nadded %", "simulated,\nTPOT ms", "simulated,\nadded %")
    return [NOTE, TextTable("Prompts among 200 decodes", headers, rows), once_table()]


def once_table() -> TextTable:
    """A decode step of the 200 where each reads the common context, and where it is read once for all."""
    profile = load_named(PROFILE)
    times = latency_model(profile, LengthMix((CONTEXT + NEW,), (OUTPUT,)), None)
    own = NEW + OUTPUT // 2
    each, once = (
        times.decode_step_ms(DECODES, context) for context in (DECODES * (CONTEXT + own), CONTEXT + DECODES * own)
    )
    rows = [
        ("each request reads it", f"{each:.1f}", f"{100 * (each / once - 1):+.0f}"),
        ("it is read once for all", f"{once:.1f}", ""),
    ]
    return TextTable("A step of 200 decodes behind a common context of 2,048", ("", "ms", "more, %"), rows)
