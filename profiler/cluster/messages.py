"""What the router's process and the workers' say to each other; plain data, pickled through a pipe."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from profiler.recording import RequestStamps, Step
from profiler.request_ids import Kind
from profiler.transfers import Transfer


@dataclass(frozen=True, slots=True)
class Begin:
    """A run begins. Loads are reported every `every_s`, or, if None, whenever the engine has put out tokens.

    run: its number. What belongs to a run that has broken off must not be taken for the next one's.
    """

    run: int
    every_s: float | None


@dataclass(frozen=True, slots=True)
class Measure:
    """A profile is to be measured, as `measure` would, into this file; one already there is completed.

    budget_s: after the worker's start, when no further phase begins.
    """

    out: Path
    budget_s: float | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """The profile is there; what became of each phase, None for one that was measured."""

    phases: dict[str, str | None]


@dataclass(frozen=True, slots=True)
class Serve:
    """A request; `index` is its number in the run, `prompt` its token ids where they matter."""

    index: int
    kind: Kind
    prompt_tokens: int
    output_tokens: int
    kv_transfer_params: dict[str, Any] | None = None
    prompt: list[int] | None = None


@dataclass(frozen=True, slots=True)
class Abort:
    """Nobody wants the requests that are under way any more."""


@dataclass(frozen=True, slots=True)
class End:
    """All requests of the run are done."""


@dataclass(frozen=True, slots=True)
class Stop:
    """The engine is to shut down."""


@dataclass(frozen=True, slots=True)
class Up:
    """The engine is up and warm; what it states of itself.

    began_s, engine_s, warm_s: on the monotonic clock, the worker's process ran, its engine was up, and it was warm.
    vocabulary: how many token ids its model has.
    """

    facts: dict[str, Any]
    began_s: float
    engine_s: float
    warm_s: float
    vocabulary: int


@dataclass(frozen=True, slots=True)
class Ready:
    """The run with this number may begin: nothing of an earlier one is left in the engine."""

    run: int


@dataclass(frozen=True, slots=True)
class LoadReport:
    """The load when `received` requests of the run had come: unfinished ones, and their tokens so far."""

    run: int
    received: int
    num_requests: int
    num_tokens: int


@dataclass(frozen=True, slots=True)
class Done:
    """A request is through; `answer` is what it came to, of one whose prompt matters."""

    run: int
    index: int
    stamps: RequestStamps
    answer: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Broken:
    """A request has come to no end, so that its run is not whole; the worker may well go on."""

    run: int
    index: int
    reason: str


@dataclass(frozen=True, slots=True)
class Ended:
    """What the engine did in the run; preemptions by request id."""

    steps: list[Step]
    preemptions: dict[str, int]
    transfers: list[Transfer] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Failed:
    """The worker cannot go on."""

    reason: str
