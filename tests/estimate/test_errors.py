"""What an estimate says of its errors."""

from __future__ import annotations

from itertools import permutations

from sunsim.estimate.errors import errors_of, kept
from sunsim.estimate.worker import VARIANTS
from tests.estimate.models import LLAMA, source, worker


def test_a_change_of_variant_is_told_by_its_direction() -> None:
    fp8 = errors_of(source(LLAMA), worker(config=source(LLAMA).worker.config, variant="fp8"))
    assert fp8["decode"]["typical_percent"] == kept()["variant bf16 to fp8"]["decode_typical"]
    awq = source("h100-80gb/llama-3.1-8b-awq")
    other = errors_of(awq, worker(config=awq.worker.config, variant="fp8"))
    assert other["decode"]["typical_percent"] == kept()["variant awq to fp8"]["decode_typical"]


def test_every_change_of_variant_was_seen() -> None:
    assert {f"variant {one} to {other}" for one, other in permutations(VARIANTS, 2)} <= kept().keys()


def test_what_no_pair_changes_is_named() -> None:
    assert errors_of(source(LLAMA), worker("a100-80gb", gpus=4))["unknown"] == [
        "ampere instead of hopper",
        "a model 9.8 times as large",
        "tensor parallel",
    ]
