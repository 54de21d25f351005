"""How far off the simulator is on each shape of traffic, from the tables of fidelity.md."""

import re

SHAPES = {
    "chat": r"(b-)?(iso|sun)\d?-\w+|chat-\w+",
    "chat, in bursts": "burst",
    "more requests than it can do": "saturated",
    "long prompts, short outputs": "long",
    "short prompts, long outputs": "long-outputs",
    "two kinds of prompts": "two-kinds",
    "colocated, chat and code": r"colocated-\w+",
    "colocated, KV cache too small": "pressure",
    "prefill (TTFT)": r"prefill\d+",
    "colocated, sessions": r"sessions-\w+",
    "two GPUs a worker": r"tp2-\w+",
    "several tokens a step (drafts)": r"drafts-[\w-]+",
}
"""Shapes of traffic, and the names of their streams."""
ADAPTERS = {"LoRA adapters": r"(?!colocated).*", "LoRA adapters, colocated": r"colocated-.*"}
"""The same of streams whose requests use adapters."""


def trust(table: str) -> str:
    """How far off each shape of traffic is on each card, from tables of streams: the mean size of the mean errors, and the
    worst."""
    # A heading has variant and card of the streams below it.
    _, *headed = re.split(
        r"^\S+ (\S+) on (.+?), host .*$", table.split("\nThe floor", maxsplit=1)[0], flags=re.MULTILINE
    )
    errors: dict[tuple[str, str], list[float]] = {}
    for variant, card, streams in zip(headed[::3], headed[1::3], headed[2::3], strict=True):
        # The second tables of sessions and of drafts, which are in the first, too.
        if "round 0" in streams or ("\ndrafts-" in streams and streams.lstrip().startswith("TTFT")):
            continue
        shapes = ADAPTERS if "lora" in variant else SHAPES
        for name, error in re.findall(r"^(\S+): .*? ([+-][\d.]+)", streams, re.MULTILINE):
            for shape, names in shapes.items():
                if re.fullmatch(names, name):
                    errors.setdefault((shape, card), []).append(float(error))
    lines = [f"{'traffic':30}  {'card':21}  runs   off by   worst\n"]
    for (shape, card), found in sorted(errors.items(), key=lambda item: [*SHAPES, *ADAPTERS].index(item[0][0])):
        size, worst = sum(map(abs, found)) / len(found), max(found, key=abs)
        lines.append(f"{shape:30}  {card:21}  {len(found):4}  {size:5.1f} %  {worst:+5.1f} %\n")
    return "".join(lines)
