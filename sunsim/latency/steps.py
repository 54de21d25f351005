"""What a worker asks of a step-time model."""

from collections.abc import Iterator
from typing import Literal, NamedTuple, Protocol, TypeGuard, get_args, overload

Outside = Literal["batch", "context", "tokens", "pairs", "adapters", "drafts"]
"""What takes a step out of the range of the measurements, the first that does: the number of its decodes or their
context, the number of tokens of a step with a prompt or what these attend to, the adapters on the worker, the drafts of a
request."""
OUTSIDE: tuple[Outside, ...] = get_args(Outside)


class DecodeLine(NamedTuple):
    """Time of a decode step of one batch size as a line in the total context.

    ``step_ps = base_ps + slope_ps * context_tokens`` while ``context_tokens < limit_tokens``. Integers make sums over
    many steps exact, so that leaping over steps and taking them one by one give the same picosecond.
    """

    base_ps: int
    slope_ps: int
    limit_tokens: int
    outside: Outside | None


class Chunk(NamedTuple):
    """Prompt tokens computed in one step for one request, and the tokens of it computed before."""

    tokens: int
    before: int


class DecodeSteps(Protocol):
    """Times of decode steps in picoseconds."""

    def decode_line(self, batch: int, context_tokens: int) -> DecodeLine:
        """The line that holds for `batch` decodes (at least one) whose contexts add up to `context_tokens`."""


class StepTimes(DecodeSteps, Protocol):
    """Step times of one worker in picoseconds."""

    @property
    def pause_ps(self) -> int:
        """From an output with no step behind it until the host looks for requests."""

    def chunked_step(self, batch: int, context_tokens: int, chunks: list[Chunk]) -> tuple[int, Outside | None]:
        """Time of a step of `batch` decodes and at least one prefill chunk, and what of it was not measured."""

    def launch_ps(self, tokens: int, nth: int) -> int:
        """The host's time to launch a step.

        Asked for steps with chunks, and for any step when nothing is in flight.

        Args:
            tokens: that it computes; 0 for decodes alone.
            nth: how many launches the worker was asked for before.
        """

    def lead_ps(self, tokens: int) -> int:
        """From the decision for a step until a free GPU can start it.

        Asked for the same steps as `launch_ps`, and for decodes whose decision the host was kept from.
        """

    def take_in_ps(self, prompt_tokens: int) -> int:
        """How long the host is kept from deciding by requests whose KV has come from elsewhere; of so many tokens."""

    def tail_ps(self, tokens: int) -> int:
        """From the end of its launch until its output is there at the earliest; asked for the same steps."""


class DraftStepTimes(StepTimes, Protocol):
    """Step times of a worker that drafts; see `sunsim.cluster.drafting`.

    A decode with ``k`` drafts computes ``k + 1`` tokens. Contexts are tokens known before the step, drafts not included.
    """

    def decode_line_k(self, batch: int, context_tokens: int, k: int) -> DecodeLine:
        """As `decode_line` for steps in which each decode has `k` drafts; 0 for none."""

    def chunked_step_k(
        self, batch: int, context_tokens: int, chunks: list[Chunk], k: int
    ) -> tuple[int, Outside | None]:
        """As `chunked_step` for a step in which each of the `batch` decodes has `k` drafts.

        Who enters the step with one token is a chunk of one.
        """


class WorkerTimes(StepTimes, Protocol):
    """Step times, and what holds them up."""

    def stalls(self, offset: float) -> Iterator[tuple[int, int]]:
        """When the host stalls and for how long, in picoseconds; `offset` in [0, 1) tells workers apart."""


class DraftWorkerTimes(DraftStepTimes, WorkerTimes, Protocol):
    """Step times of a worker that drafts, and what holds them up."""


@overload
def takes_drafts(times: WorkerTimes) -> TypeGuard[DraftWorkerTimes]: ...
@overload
def takes_drafts(times: StepTimes) -> TypeGuard[DraftStepTimes]: ...
def takes_drafts(times: StepTimes) -> bool:
    """Whether these are of a worker that drafts."""
    return hasattr(times, "decode_line_k")
