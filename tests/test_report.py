"""What a run prints."""

from __future__ import annotations

import io
from typing import Any

import pytest

from sunsim.metrics import summarize
from sunsim.report.compare import against
from sunsim.report.format import change, count, listed, milliseconds, number, percent
from sunsim.report.sentences import limits, outside_measured, prefill, sentences, unfinished, verdicts
from sunsim.report.terminal import show
from tests.metrics.synthetic import ToyArm, ToyWorker, table


def arm(name: str, *, workers: int, tpot_s: float, late_s: float = 0.0) -> ToyArm:
    """Eight requests of two models, one every second from 0 s on, 65 tokens each."""
    rows = []
    for i in range(8):
        worker = f"decode/{name}/{i % workers}"
        first = i + 0.25 + late_s * i
        rows.append(
            {
                "model": "m2" if i % 4 == 3 else "m1",
                "arrival_s": float(i),
                "output_tokens": 65,
                "prefill_worker": "prefill/shared/0",
                "decode_worker": worker,
                "prefill_start_s": float(i),
                "prefill_end_s": i + 0.125,
                "transfer_start_s": i + 0.125 + late_s * i,
                "transfer_end_s": i + 0.1875 + late_s * i,
                "decode_scheduled_s": i + 0.1875 + late_s * i,
                "decode_first_token_s": first,
                "first_token_s": first,
                "last_token_s": first + 64 * tpot_s,
            }
        )
    decode = [ToyWorker(f"decode/{name}/{i}", "decode", max_num_seqs=4, steps=500) for i in range(workers)]
    return ToyArm(table(*rows, arm=name), [ToyWorker("prefill/shared/0", "prefill", steps=8), *decode])


def summary() -> dict[str, Any]:
    """Two decode GPUs against one that is a little slower."""
    basis = {"measured": ["step times of h100"], "derived": [], "assumed": ["Poisson arrivals"]}
    return summarize(
        [arm("isolated", workers=2, tpot_s=0.0078125), arm("sun-half", workers=1, tpot_s=0.015625)],
        slo={"ttft_ms": 2000.0, "tpot_ms": 12.0},
        warmup_s=1.0,
        meta={"scenario": "toy", "basis": basis},
    )


def printed(content: dict[str, Any]) -> str:
    """What `show` prints where it is no terminal, without the spaces that pad lines."""
    text = io.StringIO()
    show(content, "results/toy/", text)
    return "".join(line.rstrip() + "\n" for line in text.getvalue().splitlines())


GOLDEN = """\
"""
