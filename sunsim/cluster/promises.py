"""What the requests on a worker will hold, by what is known of their outputs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sunsim.cluster.sequence import Sequence as Request
from sunsim.scenario import Pool
from sunsim.workload.predictor import predicted_outputs
from sunsim.workload.requests import Requests


@dataclass(frozen=True, slots=True)
class Outputs:
    """What is known of requests' output lengths.

    Attributes:
        tokens: of each request's output.
        single: each is known for itself; else all are the mean, and what a request has emitted says nothing about what is
            still to come.
    """

    tokens: Sequence[int]
    single: bool

    @classmethod
    def of(cls, pool: Pool, requests: Requests, seed: int) -> Outputs | None:
        """As the pool's block has it; None where it says nothing of them."""
        block = pool.block.output_lengths
        if block is None:
            return None
        if block.known == "none":
            return cls([max(1, round(pool.mean_output))] * len(requests), single=False)
        known = requests.output_tokens
        if block.accuracy is not None:
            known = predicted_outputs(known, block.accuracy, seed)
        return cls(known.data, single=True)

    def left(self, sequence: Request) -> int:
        """Of a request that comes to a stage, the output tokens to come there, at least one."""
        return max(1, self.tokens[sequence.request] - (sequence.known_tokens - sequence.prompt_tokens))

    def promised(self, sequence: Request) -> int:
        """Tokens that it will have in the end."""
        return sequence.prompt_tokens + self.tokens[sequence.request]


class Promises:
    """The sum over the requests on one worker."""

    def __init__(self, outputs: Outputs) -> None:
        self._outputs = outputs
        self._sum = 0

    def add(self, sequence: Request) -> None:
        """It comes to the worker."""
        self._sum += self._outputs.promised(sequence)

    def drop(self, sequences: Iterable[Request]) -> None:
        """They have ended there."""
        self._sum -= sum([self._outputs.promised(sequence) for sequence in sequences])

    def tokens(self, num_requests: int, num_tokens: int) -> int:
        """Tokens that the worker's requests will have, of which they have `num_tokens`, and at least these."""
        if self._outputs.single:
            return max(self._sum, num_tokens)
        return num_tokens + num_requests * self._outputs.tokens[0]
