"""Why an engine did not start, in one line: what it says itself, which is often said by a process that has ended."""

import re

# A process's name and a log line's level, time and place, which vLLM puts before each line of a traceback too.
_PREFIX = re.compile(r"^(?:\([\w ]+(?: pid=\d+)?\)\s*)*(?:[A-Z]+ [\d-]+ [\d:.]+ \[[^\]]+\]\s?)?")
_RAISED = re.compile(r"^[A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Exit)\b.*")
# What a process says when one that it has started gave up: the cause is what that one said.
_SECOND_HAND = re.compile(r"root cause|background process|Engine core proc|EngineDeadError")
MOST = 400


def cause(log: str, error: BaseException) -> str:
    """Why an engine did not start: `error`; where that only says that another process gave up, what that one said."""
    own = _in_one_line(f"{type(error).__name__}: {error}")
    return own if not _SECOND_HAND.search(own) else last_error(log) or own


def last_error(log: str) -> str | None:
    """The last error of its own in an engine's log; None if it has none."""
    lines = (_PREFIX.sub("", line).rstrip() for line in log.splitlines())
    raised = [line for line in lines if _RAISED.match(line) and not _SECOND_HAND.search(line)]
    return _in_one_line(raised[-1]) if raised else None


def _in_one_line(text: str) -> str:
    line = " ".join(text.split()).removesuffix(":")
    return line if len(line) <= MOST else f"{line[:MOST]}..."
