"""Measured profiles: finding them, reading them, and what they hold.

A profile is one JSON file of raw measurements made by ``python -m profiler measure`` on one card with one model and
variant. Nothing in it is fitted; `sunsim.latency.model` builds the step-time model from it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sunsim.errors import InputError

SCHEMA_VERSION = 1


class _Raw(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)


class StepStats(_Raw):
    """Spread of the measured time of equal steps, in milliseconds."""

    step_ms_median: float = Field(gt=0)
    step_ms_mean: float = Field(gt=0)
    step_ms_p10: float = Field(gt=0)
    step_ms_p90: float = Field(gt=0)
    steps: int = Field(ge=1)


class DecodePoint(StepStats):
    """Decode steps: `batch` requests whose contexts add up to `context_tokens`.

    They are a steady batch unless `lengths` is "traffic": then they come and go.
    """

    batch: int = Field(ge=1)
    context_tokens: float = Field(gt=0)
    lengths: Literal["uniform", "mixed", "extreme", "traffic", "ordered"] = "uniform"
    run: int = 0


class PrefillPoint(StepStats):
    """Prefill steps: `prompts` prompts (or chunks) of `new_tokens` tokens in total.

    `attended_pairs` is the number of (query, key) pairs of the step, the sum over chunks of
    ``chunk * before + chunk * (chunk + 1) / 2``; `idle_start`: the worker had nothing to run when they were scheduled.
    """

    prompts: int = Field(ge=1)
    new_tokens: int = Field(ge=1)
    attended_pairs: float = Field(gt=0)
    idle_start: bool = False


class MixedPoint(StepStats):
    """Steps in which `batch` decodes run beside a prefill chunk that follows `chunk_context` tokens."""

    batch: int = Field(ge=1)
    context_tokens: float = Field(gt=0)
    chunk_tokens: int = Field(ge=1)
    chunk_context: int = Field(ge=0)


class IdleStart(StepStats):
    """Steps begun on an idle worker, timed from their scheduling; `launch_ms_mean`: until the host was free again.

    The same tokens over and over ("uniform") are launched faster than those of ever other prompts ("traffic").
    """

    chunk_tokens: int = Field(ge=0)
    batch: int = Field(ge=0)
    context_tokens: int = Field(ge=0)
    lengths: Literal["uniform", "traffic"] = "uniform"
    launch_ms_mean: float = Field(ge=0)


class HostStalls(_Raw):
    """Decode steps watched for `observed_s`, and (seconds from the start, length in ms) of each host stall in them."""

    observed_s: float = Field(ge=0)
    stalls: list[tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(gt=0)]]]

    @model_validator(mode="after")
    def _leave_time_for_steps(self) -> Self:
        if sum(extra_ms for _, extra_ms in self.stalls) > self.observed_s * 500:
            message = f"the stalls take more than half of the {self.observed_s} s observed"
            raise ValueError(message)
        return self


class Delay(_Raw):
    """Spread of one part of the way to the first token."""

    median: float = Field(ge=0)


class FirstTokenPoint(_Raw):
    """The way of requests to their first token: single ones on an idle worker or beside `batch` decodes, or in traffic."""

    where: Literal["idle", "busy", "traffic"]
    batch: int = Field(default=0, ge=0)
    prompt_tokens: int = Field(ge=1)
    submit_to_queued_ms: Delay
    queued_to_scheduled_ms: Delay
    first_token_to_client_ms: Delay


class EngineArgs(_Raw):
    """The engine arguments that a simulated worker takes as its defaults."""

    max_num_seqs: int = Field(ge=1)
    max_num_batched_tokens: int = Field(ge=1)
    max_model_len: int = Field(ge=1)
    gpu_memory_utilization: float = Field(gt=0, le=1)


class ProfileData(_Raw):
    """The JSON document of a profile. Keys beyond these are kept and shown, not interpreted."""

    schema_version: Literal[1]
    gpu: str
    card: str
    model: str
    variant: str
    engine_args: EngineArgs
    num_gpu_blocks: int = Field(ge=1)
    block_size: int = Field(ge=1)
    cudagraph_capture_sizes: list[int]
    weight_bytes: int = Field(ge=1)
    streamed_weight_bytes: int = Field(ge=1)
    kv_bytes_per_token: int = Field(ge=1)
    memory_bandwidth_gb_s: float | None = Field(default=None, gt=0)
    decode_points: list[DecodePoint]
    prefill_points: list[PrefillPoint]
    mixed_points: list[MixedPoint] = []
    join_points: list[dict[str, Any]] = []
    leave_points: list[dict[str, Any]] = []
    first_token_points: list[FirstTokenPoint] = []
    idle_starts: list[IdleStart] = []
    host_stalls: list[HostStalls] = []


@dataclass(frozen=True, slots=True)
class Profile:
    """A profile as loaded: its name, the SHA-256 of its bytes and its content."""

    name: str
    path: Path
    sha256: str
    data: ProfileData

    @property
    def adapters(self) -> bool:
        """Whether the models are adapters (LoRA) on one base: they share its weights, and a step may mix them."""
        return self.data.variant.startswith("lora-")

    @property
    def max_num_seqs(self) -> int:
        return self.data.engine_args.max_num_seqs

    @property
    def max_num_batched_tokens(self) -> int:
        return self.data.engine_args.max_num_batched_tokens

    @property
    def max_model_len(self) -> int:
        return self.data.engine_args.max_model_len

    @property
    def num_gpu_blocks(self) -> int:
        return self.data.num_gpu_blocks

    @property
    def block_size(self) -> int:
        return self.data.block_size

    @property
    def weight_bytes(self) -> int:
        return self.data.weight_bytes

    @property
    def kv_bytes_per_token(self) -> int:
        return self.data.kv_bytes_per_token


def profiles_root() -> Path:
    """The folder of the shipped profiles: beside the package in a checkout, inside it when installed."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "_data" / "profiles"
    return installed if installed.is_dir() else package.parent / "profiles"


def list_profiles() -> list[str]:
    """Names of the shipped profiles, sorted: ``<gpu>/<model>-<variant>``."""
    root = profiles_root()
    return sorted(p.relative_to(root).with_suffix("").as_posix() for p in root.glob("*/*.json"))


def find_profile(name: str, base: Path) -> Path:
    """The file of the profile called `name`: a shipped profile's name, or a ``.json`` path relative to `base`.

    Raises:
        FileNotFoundError: there is no such file.
    """
    path = base / name if name.endswith(".json") else profiles_root() / f"{name}.json"
    if not path.is_file():
        raise FileNotFoundError(name)
    return path


def load_profile(path: Path) -> Profile:
    """Reads and checks a profile.

    Raises:
        InputError: the file is not a profile of this schema version, or a value is out of range.
    """
    raw = path.read_bytes()
    try:
        data = ProfileData.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        message = f"not a profile of schema version {SCHEMA_VERSION}: {where}: {first['msg']}"
        raise InputError(message, file=path) from error
    root = profiles_root()
    name = path.resolve().relative_to(root).with_suffix("").as_posix() if _is_under(path, root) else str(path)
    return Profile(name=name, path=path, sha256=hashlib.sha256(raw).hexdigest(), data=data)


def _is_under(path: Path, root: Path) -> bool:
    return path.resolve().is_relative_to(root)
