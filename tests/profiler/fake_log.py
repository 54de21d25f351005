"""A step log as the recording scheduler would write it."""

import json
from dataclasses import dataclass, field


@dataclass
class FakeLog:
    """An engine one step ahead: each step is scheduled when the output before the previous one is processed."""

    now_s: float = 100.0
    lines: list[str] = field(default_factory=list)
    _first_s: float = 0.0
    _ends: list[float] = field(default_factory=list)
    _pending: list[float] = field(default_factory=list)

    def idle(self, seconds: float) -> None:
        """The engine runs out of work, then waits."""
        self._finish_all()
        self.now_s += seconds
        self._ends.clear()

    def step(
        self,
        step_ms: float,
        decodes: int = 0,
        context: int = 0,
        *,
        joined: list[tuple[int, int]] | None = None,
        chunks: list[tuple[int, int]] | None = None,
        preempted: int = 0,
        contexts: list[int] | None = None,
    ) -> None:
        """`context` counts what the decoding requests attend to, their own tokens included; `contexts` has each one's."""
        context = sum(contexts) if contexts else context
        chunks = chunks or []
        begin_s = self._ends[-2] if len(self._ends) > 1 else self._first_s
        if not self._ends:
            begin_s = self._first_s = self.now_s
        while len(self._pending) > 1:
            self._finish_one()
        tokens = decodes + sum(n for n, _ in chunks)
        before = [tokens - 1 for tokens in contexts or [context // decodes] * decodes] if decodes else []
        counts = (0, decodes, 0, preempted, 1000, max(before, default=0), sum(tokens**2 for tokens in before))
        times = (begin_s, begin_s + 1e-4)
        step = ["s", *times, decodes + len(chunks), tokens, context - decodes, joined or [], chunks, *counts]
        self.lines.append(json.dumps(step))
        end_s = max(self.now_s, begin_s) + step_ms / 1e3
        self._pending.append(end_s)
        self._ends.append(end_s)
        self.now_s = end_s

    def empty(self) -> None:
        """A schedule with nothing in it."""
        self._finish_all()
        self.lines.append(json.dumps(["s", self.now_s, self.now_s, 0, 0, 0, [], [], 0, 0, 0, 0, 1000, 0, 0]))
        self.lines.append(json.dumps(["u", self.now_s, self.now_s]))

    def _finish_one(self) -> None:
        end_s = self._pending.pop(0)
        self.lines.append(json.dumps(["u", end_s, end_s + 1e-4]))

    def _finish_all(self) -> None:
        while self._pending:
            self._finish_one()

    def finished_lines(self) -> list[str]:
        """All lines, with every output out."""
        self._finish_all()
        return self.lines
