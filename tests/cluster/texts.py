"""Requests whose texts begin alike, as segments and as tokens."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from sunsim.workload.sessions import UNKNOWN, Segments, Sessions

Asked = tuple[int, int]
"""What a prompt is: the segment that its old part ends with, or `UNKNOWN`, and how many tokens are new."""


@dataclass
class Texts:
    """A tree of segments that grows with each request.

    Attributes:
        parent, end: of each segment.
        tokens: of each segment, which no other has.
        prompt, answer: the segments of each request.
    """

    parent: list[int] = field(default_factory=list)
    end: list[int] = field(default_factory=list)
    tokens: list[list[int]] = field(default_factory=list)
    prompt: list[int] = field(default_factory=list)
    answer: list[int] = field(default_factory=list)

    @classmethod
    def grown(cls, begun: list[int], asked: list[Asked], outputs: list[int]) -> Texts:
        """Segments of these lengths to begin with, and then requests."""
        texts = cls()
        for length in begun:
            texts.add(UNKNOWN, length)
        for (after, new), output in zip(asked, outputs, strict=True):
            texts.ask(after, new, output)
        return texts

    def add(self, parent: int, length: int) -> int:
        """A new segment of so many tokens after another, or after none (`UNKNOWN`)."""
        segment = len(self.parent)
        self.parent.append(parent)
        self.end.append(length + (0 if parent == UNKNOWN else self.end[parent]))
        self.tokens.append([1_000 * segment + i for i in range(length)])
        return segment

    def ask(self, after: int, new: int, output: int) -> int:
        """A request whose prompt is the text up to a segment and `new` tokens; gives the length of the prompt."""
        prompt = self.add(after, new) if new else after
        self.prompt.append(prompt)
        self.answer.append(self.add(prompt, output))
        return self.end[prompt]

    def text(self, request: int) -> list[int]:
        """All tokens of a request, prompt and answer."""
        pieces = []
        segment = self.answer[request]
        while segment != UNKNOWN:
            pieces.append(self.tokens[segment])
            segment = self.parent[segment]
        return [token for piece in reversed(pieces) for token in piece]

    def sessions(self) -> Sessions:
        """The same as a workload has it; nobody waits for another."""
        number = len(self.prompt)
        zeros = np.zeros(number, dtype=np.int32)
        return Sessions(
            session=np.arange(number, dtype=np.int32),
            round=zeros,
            previous=zeros + np.int32(UNKNOWN),
            think_ps=zeros.astype(np.int64),
            prompt=np.array(self.prompt, dtype=np.int32),
            answer=np.array(self.answer, dtype=np.int32),
            segments=Segments(np.array(self.parent, dtype=np.int32), np.array(self.end, dtype=np.int64)),
        )
