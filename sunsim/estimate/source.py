"""A measured profile as a source of estimates: what it reaches of its card, and what it takes beyond the roofline."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import median

from sunsim.errors import InputError
from sunsim.estimate.cards import named_card
from sunsim.estimate.roofline import Reached, Roofline
from sunsim.estimate.shapes import NEEDED
from sunsim.estimate.worker import VARIANTS, Worker
from sunsim.latency.drafts import DRAFTERS
from sunsim.latency.measured import ProfileData
from sunsim.latency.profile import Profile

FEW = 8
"""Requests up to which a decode step is taken as nothing but reading and what is fixed."""


@dataclass(frozen=True, slots=True)
class Source:
    """A measured profile.

    Attributes:
        worker: that was measured.
        reached: of its card's peaks.
        roofline: of its steps.
        reserved: bytes of the memory it was given that are neither weights nor KV.
        weight_share: its weights over what their shapes say.
    """

    profile: Profile
    worker: Worker
    reached: Reached
    roofline: Roofline
    reserved: float
    weight_share: float

    @classmethod
    def of(cls, profile: Profile) -> Source:
        """What a profile says.

        Raises:
            InputError: it is an estimate itself, or lacks what estimates are made from.
        """
        data = profile.data
        _refuse_unfit(profile)
        config = data.shape.model_dump(exclude_none=True)
        quantization = (
            "awq" if config.get("quantization_config") else (data.engine_args.model_extra or {}).get("quantization")
        )
        kv_cache_dtype = (data.engine_args.model_extra or {}).get("kv_cache_dtype", "auto")
        card = named_card(data.gpu, f"gpu of {profile.name}")
        drafted = data.engine_args.speculative_config
        drafter = drafted is not None and drafted.method in DRAFTERS
        worker = Worker(
            data.gpu, card, config, quantization, profile.gpus, kv_cache_dtype, profile.drafts, drafter=drafter
        )
        bandwidth = (data.copy_bandwidth_gb_s or card.memory_gb_s) / card.memory_gb_s
        peaks = Roofline.of(worker, Reached(bandwidth, 1.0))
        reached = Reached(bandwidth, _products_reached(data, peaks))
        graph = max(data.cudagraph_capture_sizes, default=0)
        bare = Roofline.of(worker, reached)
        roofline = replace(bare, fixed_ms=_fixed_ms(data, bare), launch_ms=_launch_ms(data, graph), largest_graph=graph)
        kv = data.num_gpu_blocks * data.block_size * data.kv_bytes_per_token
        given = profile.memory_bytes * data.engine_args.gpu_memory_utilization
        return cls(
            profile,
            worker,
            reached,
            roofline,
            reserved=max(0.0, given - data.weight_bytes - kv),
            weight_share=data.weight_bytes / worker.weights,
        )


def _refuse_unfit(profile: Profile) -> None:
    data = profile.data
    missing = [key for key in NEEDED if getattr(data.shape, key, None) is None]
    wrong = None
    if data.estimated:
        wrong = "is itself estimated, must be measured"
    elif profile.adapters:
        wrong = "is of LoRA adapters, must be of a base model: what adapters add is not in the roofline"
    elif data.variant not in VARIANTS:
        wrong = f"is of variant {data.variant}, must be of {', '.join(VARIANTS)}"
    elif not data.decode_points or not data.prefill_points:
        wrong = "must have decode_points and prefill_points to estimate from"
    elif missing:
        wrong = f"model_config.{missing[0]} is missing, must be there to estimate from it"
    if wrong:
        raise InputError(wrong, profile.path)


def _products_reached(data: ProfileData, peaks: Roofline) -> float:
    """The best share of peak over prefill steps, at most all of it."""
    return min(
        1.0,
        max(
            (peaks.token_ms * p.new_tokens + peaks.pair_ms * p.attended_pairs) / p.step_ms_median
            for p in data.prefill_points
        ),
    )


def _fixed_ms(data: ProfileData, bare: Roofline) -> float:
    """Beyond the terms, in the median over small steady batches."""
    steady = [p for p in data.decode_points if p.lengths == "uniform"]
    least = min(p.batch for p in steady)
    beyond = [
        p.step_ms_median - bare.decode_ms(p.batch, p.context_tokens) for p in steady if p.batch <= max(FEW, least)
    ]
    return max(0.0, median(beyond))


def _launch_ms(data: ProfileData, largest_graph: int) -> float:
    """In the median over steps without a graph, of the same prompts over and over; 0 where none was timed."""
    launches = [p.launch_ms_mean for p in data.idle_starts if p.lengths == "uniform" and p.chunk_tokens > largest_graph]
    return median(launches) if launches else 0.0
