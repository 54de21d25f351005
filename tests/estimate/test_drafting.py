"""Estimates from a profile with drafts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sunsim.errors import InputError
from sunsim.estimate.estimate import estimate
from sunsim.estimate.roofline import Reached, Roofline
from sunsim.estimate.scale import scaled
from sunsim.estimate.source import Source
from sunsim.estimate.worker import Worker
from sunsim.latency.drafts import DraftFamily
from sunsim.latency.measured import ProfileData
from sunsim.latency.profile import load_profile
from tests.estimate.models import source, worker
from tests.synthetic import write_family

LAYER_BYTES = 436_207_616
"""Matrices of a layer of Llama-3.1-8B in bf16."""
JOINED_BYTES = 2 * 2 * 4096 * 4096
HEAD_BYTES = 2 * 128_256 * 4096


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Profiles of an H200 with 0, 1 and 3 drafts, of round numbers."""
    changes: dict[str, Any] = {"gpu": "h200-141gb", "card": "NVIDIA H200", "host": {"gpu_memory_mib": 80_000}}
    return write_family(tmp_path, 1, 3, model_config=source().worker.config, **changes)


def drafting(base: Path, k: int) -> Source:
    return Source.of(load_profile(base.parent / "drafts" / f"{base.stem}-eagle-k{k}.json"))


def test_the_source_itself_is_as_measured(base: Path) -> None:
    known = drafting(base, 3)
    made = ProfileData.model_validate_json(json.dumps(scaled(known, known.worker, "llama-3.1-8b", "bf16")))
    measured = known.profile.data
    for kind in ("decode_points", "prefill_points"):
        own, theirs = ([point.step_ms_median for point in getattr(each, kind)] for each in (made, measured))
        assert own == pytest.approx(theirs, abs=1e-4)
    for fact in ("num_gpu_blocks", "weight_bytes", "kv_bytes_per_token", "cudagraph_capture_sizes"):
        assert getattr(made, fact) == getattr(measured, fact), fact
    assert made.engine_args.speculative_config == measured.engine_args.speculative_config


def test_a_step_reads_drafter_and_head_for_each_draft_and_computes_them_all() -> None:
    plain = Worker("h200-141gb", worker("h200-141gb").card, source().worker.config)
    drafts = Worker("h200-141gb", plain.card, plain.config, drafts=3, drafter=True)
    assert drafts.weights - plain.weights == LAYER_BYTES + JOINED_BYTES
    read = drafts.streamed + drafts.drafting - plain.streamed - plain.drafting
    assert read == 3 * (LAYER_BYTES + JOINED_BYTES + HEAD_BYTES)
    assert (plain.kv_bytes, drafts.kv_bytes) == (131_072, 135_168)
    lines = [Roofline.of(each, Reached(1.0, 1.0)) for each in (plain, drafts)]
    more_ms = lines[1].decode_ms(1024, 0) - lines[0].decode_ms(4096, 0)
    assert more_ms == pytest.approx(drafts.drafting / (plain.card.memory_gb_s * 1e6))


def test_another_card_with_drafts_is_found_beside_that_without(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plain = estimate(load_profile(base), gpu="h100-80gb")
    for k in (1, 3):
        made = estimate(drafting(base, k).profile, gpu="h100-80gb")
        assert made.path == Path(f"drafts/h100-80gb-llama-3.1-8b-bf16-eagle-k{k}.json")
        assert made.data.estimated
        assert made.data.estimated.unknown == ["steps with drafts"]
    family = DraftFamily.of(plain, "eagle", 3)
    assert family
    assert family.measured == [0, 1, 3]
    assert family.limiting.num_gpu_blocks < plain.num_gpu_blocks


def test_a_step_on_a_slower_memory_takes_longer(base: Path) -> None:
    known = drafting(base, 3)
    target = Worker("h100-80gb", worker().card, known.worker.config, drafts=3, drafter=True)
    made = scaled(known, target, "llama-3.1-8b", "bf16")["decode_points"]
    for point, measured in zip(made, known.profile.data.decode_points, strict=True):
        assert 1 < point["step_ms_median"] / measured.step_ms_median < 4.8 / 3.35 + 1e-9


def test_an_estimate_is_no_source(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = estimate(drafting(base, 3).profile, gpu="h100-80gb")
    with pytest.raises(InputError, match="is itself estimated, must be measured"):
        Source.of(made)
