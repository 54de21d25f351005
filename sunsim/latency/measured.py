"""What a profile's file holds: raw measurements, and what they were made on."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from sunsim.latency.document import Batch, Bytes, Document, Milliseconds, Text, Tokens
from sunsim.latency.estimated import Estimated

StepMilliseconds = Annotated[float, Field(ge=1e-3, le=1e6)]
Watts = Annotated[float, Field(gt=0, le=1e5)]
STALLS_A_SECOND = 100
"""More than any host was seen to have, by far; each one costs a simulation time."""

Points = Field(max_length=100_000)


class StepStats(Document):
    """Spread of the measured time of equal steps, in milliseconds."""

    step_ms_median: StepMilliseconds
    step_ms_mean: StepMilliseconds
    step_ms_p10: StepMilliseconds
    step_ms_p90: StepMilliseconds
    steps: int = Field(ge=1, le=10**9)


class DecodePoint(StepStats):
    """Decode steps: `batch` requests whose contexts add up to `context_tokens`.

    They are a steady batch unless `lengths` is "traffic": then they come and go, in the sweep named by `traffic`.
    `avg_power_w`: the card's median power during them.
    """

    batch: Batch
    context_tokens: float = Field(gt=0, le=1e9)
    lengths: Literal["uniform", "mixed", "extreme", "traffic", "ordered"] = "uniform"
    run: int = 0
    traffic: Text | None = None
    avg_power_w: Watts | None = None

    @model_validator(mode="after")
    def _have_a_token_each(self) -> Self:
        if self.context_tokens < self.batch:
            message = f"context_tokens is {self.context_tokens:g}, must be at least the batch ({self.batch})"
            raise ValueError(message)
        return self


class ServedLengths(Document):
    """Requests of a sweep of traffic, or some of them evenly chosen, in tokens."""

    traffic: Text
    prompt_tokens: list[Tokens] = Field(min_length=1, max_length=10_000)
    output_tokens: list[Tokens] = Field(min_length=1, max_length=10_000)

    @model_validator(mode="after")
    def _pair_up(self) -> Self:
        prompts, outputs = len(self.prompt_tokens), len(self.output_tokens)
        if prompts != outputs:
            message = f"output_tokens has {outputs} values, must have one for each of the {prompts} prompt_tokens"
            raise ValueError(message)
        return self


class ArrivalPoint(Document):
    """Requests whose KV had arrived and that joined a step together, with `tokens` of prompts, or `steps` in a row.

    `step_ms`: what these usually take; `extra_ms`: by how much longer they took in all, with the two before them.
    """

    crowds: int = Field(ge=1, le=10**9)
    tokens: Tokens
    steps: float = Field(ge=1, le=1e6)
    step_ms: StepMilliseconds
    extra_ms: float = Field(ge=-1e6, le=1e6)


class PrefillPoint(StepStats):
    """Prefill steps: `prompts` prompts (or chunks) of `new_tokens` tokens in total.

    `attended_pairs` is the number of (query, key) pairs of the step, the sum over chunks of
    ``chunk * before + chunk * (chunk + 1) / 2``; `idle_start`: the worker had nothing to run when they were scheduled.
    Steps of `lengths` "traffic" are of whichever prompts came together, and only about equal: the rest are their means.
    """

    prompts: int = Field(ge=1, le=2**20)
    new_tokens: int = Field(ge=1, le=2**20)
    attended_pairs: float = Field(gt=0, le=1e16)
    idle_start: bool = False
    lengths: Literal["uniform", "traffic"] = "uniform"
    avg_power_w: Watts | None = None

    @model_validator(mode="after")
    def _attend_to_themselves(self) -> Self:
        if self.attended_pairs < self.new_tokens:
            message = f"attended_pairs is {self.attended_pairs:g}, must be at least new_tokens ({self.new_tokens})"
            raise ValueError(message)
        return self


class MixedPoint(StepStats):
    """Steps in which `batch` decodes run beside a prefill chunk that follows `chunk_context` tokens.

    Those of `lengths` "traffic" are only about equal, and all numbers are means. With `decode_steps_before` 1 the times
    are those of such a step and of the decode step before it together: its launch held that one's output up.
    """

    batch: Batch
    context_tokens: float = Field(gt=0, le=1e9)
    chunk_tokens: Tokens
    chunk_context: int = Field(ge=0, le=10**8)
    attended_pairs: float | None = Field(default=None, gt=0, le=1e16)
    lengths: Literal["uniform", "traffic"] = "uniform"
    decode_steps_before: Literal[0, 1] = 0

    @property
    def pairs(self) -> float:
        """(query, key) pairs of the prompts: those of one chunk where they were not counted."""
        chunk = self.chunk_tokens
        return self.attended_pairs or chunk * self.chunk_context + chunk * (chunk + 1) // 2


class IdleStart(StepStats):
    """Steps begun on an idle worker, timed from their scheduling; `launch_ms`: each, until the host was free again.

    The same tokens over and over ("uniform") are launched faster than those of ever other prompts ("traffic"). Profiles of
    2026-11-26 and before count a launch from the end of its scheduling, some tenths of a millisecond later.
    """

    chunk_tokens: int = Field(ge=0, le=10**8)
    batch: int = Field(ge=0, le=4096)
    context_tokens: int = Field(ge=0, le=10**9)
    lengths: Literal["uniform", "traffic"] = "uniform"
    launch_ms_mean: Milliseconds
    launch_ms: list[Milliseconds] = Field(default=[], max_length=100_000)

    @model_validator(mode="after")
    def _compute_something(self) -> Self:
        if not self.chunk_tokens and not 1 <= self.batch <= self.context_tokens:
            message = f"batch is {self.batch}, must be from 1 to context_tokens ({self.context_tokens}) without a chunk"
            raise ValueError(message)
        return self


class HostStalls(Document):
    """Decode steps watched for `observed_s`, and (seconds from the start, length in ms) of each host stall in them."""

    observed_s: float = Field(ge=0, le=1e6)
    stalls: list[tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(gt=0)]]] = Points

    @model_validator(mode="after")
    def _leave_time_for_steps(self) -> Self:
        moments = [at_s for at_s, _ in self.stalls]
        if sum(extra_ms for _, extra_ms in self.stalls) > self.observed_s * 500:
            message = f"the stalls take more than half of the {self.observed_s} s observed, must take at most half"
        elif len(moments) > self.observed_s * STALLS_A_SECOND:
            message = (
                f"there are {len(moments)} stalls in {self.observed_s} s, must be at most {STALLS_A_SECOND} a second"
            )
        elif moments != sorted(moments) or max(moments, default=0.0) > self.observed_s:
            message = f"the stalls' moments must rise and be at most observed_s ({self.observed_s})"
        else:
            return self
        raise ValueError(message)


class Delay(Document):
    """Spread of one part of the way to the first token."""

    median: Milliseconds


class FirstTokenPoint(Document):
    """The way of requests to their first token: single ones on an idle worker or beside `batch` decodes, or in traffic.

    In traffic of a prefill worker (`where` is "prefill"), `batch` prompts have their first token from one step.
    """

    where: Literal["idle", "busy", "traffic", "prefill"]
    batch: int = Field(default=0, ge=0, le=4096)
    prompt_tokens: Tokens
    requests: int = Field(default=1, ge=1, le=10**9)
    submit_to_queued_ms: Delay
    queued_to_scheduled_ms: Delay
    first_token_to_client_ms: Delay


class Pause(Document):
    """From an output with no step behind it until the host schedules requests that have waited for that output."""

    pause_ms_median: Milliseconds


class Speculative(Document):
    """That an engine was measured with drafts, in each step so many a request."""

    method: Text
    num_speculative_tokens: int = Field(ge=1, le=1024)


class EngineArgs(Document):
    """The engine arguments that a simulated worker takes as its defaults.

    `max_loras`: adapters that it was measured with; vLLM's default where the profile does not say.
    `tensor_parallel_size`: GPUs that share the model; bytes in the profile are those of each.
    `speculative_config`: None of an engine without drafts. With them `batch` is of requests everywhere, each of which
    computes its last token and its drafts, `context_tokens` are without the drafts, and graph sizes are in tokens.
    """

    max_num_seqs: int = Field(ge=1, le=65_536)
    max_num_batched_tokens: Tokens
    max_model_len: Tokens
    gpu_memory_utilization: float = Field(gt=0, le=1)
    max_loras: int = Field(default=1, ge=1, le=65_536)
    tensor_parallel_size: int = Field(default=1, ge=1, le=1024)
    speculative_config: Speculative | None = None


class Shape(Document):
    """Of the model, as its Hugging Face configuration has it; what is missing is not known."""

    num_key_value_heads: int | None = Field(default=None, ge=1, le=128)
    num_attention_heads: int | None = Field(default=None, ge=1, le=4096)
    head_dim: int | None = Field(default=None, ge=1, le=65_536)
    hidden_size: int | None = Field(default=None, ge=1, le=10**7)


class Kernels(Document):
    """That the engine's log names."""

    attention: Text | None = None


class ProfileData(Document):
    """The JSON document of a profile. Keys beyond these are kept and shown, not interpreted.

    `measured_sha256`: of the file as it was measured, where facts were added to it later: the card's `processors` and
    the lengths that the sweeps of traffic were drawn from. `estimated`: nothing in it was measured; None if all was.
    """

    schema_version: Literal[1]
    gpu: Text
    card: Text
    model: Text
    variant: Text
    date: Text = ""
    quick: bool = False
    versions: dict[Text, Text | None] = Field(default={}, max_length=100)
    host: dict[Text, Any] = Field(default={}, max_length=100)
    kernels: Kernels = Kernels()
    shape: Shape = Field(default=Shape(), alias="model_config")
    engine_args: EngineArgs
    num_gpu_blocks: int = Field(ge=2, le=10**9)
    block_size: int = Field(ge=1, le=8192)
    cudagraph_capture_sizes: list[Annotated[int, Field(ge=1, le=10**6)]] = Field(max_length=10_000)
    weight_bytes: Bytes
    streamed_weight_bytes: Bytes
    measured_sha256: Text | None = None
    estimated: Estimated | None = None
    processors: int | None = Field(default=None, ge=1, le=1000)
    kv_bytes_per_token: int = Field(ge=1, le=10**9)
    memory_bandwidth_gb_s: float | None = Field(default=None, ge=1, le=1e6)
    copy_bandwidth_gb_s: float | None = Field(default=None, ge=1, le=1e6)
    idle_power_w: Watts | None = None
    decode_points: list[DecodePoint] = Points
    arrival_points: list[ArrivalPoint] = Field(default=[], max_length=100_000)
    served_lengths: list[ServedLengths] = Field(default=[], max_length=1000)
    prefill_points: list[PrefillPoint] = Points
    mixed_points: list[MixedPoint] = Field(default=[], max_length=100_000)
    join_points: list[dict[str, Any]] = Field(default=[], max_length=100_000)
    leave_points: list[dict[str, Any]] = Field(default=[], max_length=100_000)
    first_token_points: list[FirstTokenPoint] = Field(default=[], max_length=100_000)
    idle_starts: list[IdleStart] = Field(default=[], max_length=100_000)
    pauses: list[Pause] = Field(default=[], max_length=100_000)
    host_stalls: list[HostStalls] = Field(default=[], max_length=100_000)

    @field_validator("host")
    @classmethod
    def _memory_is_a_number(cls, host: dict[str, Any]) -> dict[str, Any]:
        memory = host.get("gpu_memory_mib")
        if memory is not None and not (type(memory) in {int, float} and 1 <= memory <= 1e9):
            message = f"gpu_memory_mib is {memory!r:.60}, must be a number from 1 to 1e9"
            raise ValueError(message)
        return host

    @field_validator("decode_points", "prefill_points")
    @classmethod
    def _some_are_uniform(cls, points: list[DecodePoint | PrefillPoint]) -> list[DecodePoint | PrefillPoint]:
        if points and not any(point.lengths == "uniform" for point in points):
            message = "no point has lengths uniform, must have some: step times are curves through these"
            raise ValueError(message)
        return points

    @field_validator("served_lengths")
    @classmethod
    def _are_of_different_sweeps(cls, served: list[ServedLengths]) -> list[ServedLengths]:
        names = [each.traffic for each in served]
        if twice := [name for name in names if names.count(name) > 1]:
            message = f"{twice[0]} stands there {names.count(twice[0])} times, must be there once"
            raise ValueError(message)
        return served
