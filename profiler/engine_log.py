"""Why an engine did not start, in one line: what it says itself, which is often said by a process that has ended."""

import re

# A process's name and a log line's level, time and place, which vLLM puts before each line of a traceback too.
_PREFIX = re.compile(r"^(?:\([\w ]+(?: pid=\d+)?\)\s*)*(?:[A-Z]+ [\d-]+ [\d:.]+ \[[^\]]+\]\s?)?")
_RAISED = re.compile(r"^[A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Exit)\b.*")
# What a process says when one that it has started gave up: the cause is what that one said.
_SECOND_HAND = re.compile(r"root cause|background process|Engine core proc|EngineDeadError")
MOST = 400


def cause(log: str, error: BaseException | None = None) -> str:
    """The last error of its own in an engine's log; without one, `error`, or what the log ends with."""
    lines = [_PREFIX.sub("", line).rstrip() for line in log.splitlines()]
    raised = [line for line in lines if _RAISED.match(line) and not _SECOND_HAND.search(line)]
    own = _in_one_line(f"{type(error).__name__}: {error}") if error else ""
    if error and not _SECOND_HAND.search(own):
        return own
    if raised:
        return _in_one_line(raised[-1])
    return own or _in_one_line(next((line for line in reversed(lines) if line.strip()), "it has said nothing"))


def _in_one_line(text: str) -> str:
    line = " ".join(text.split()).removesuffix(":")
    return line if len(line) <= MOST else f"{line[:MOST]}..."
