"""Estimated profiles: what they hold, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sunsim.errors import InputError
from sunsim.estimate.cards import cards
from sunsim.estimate.errors import errors_of
from sunsim.estimate.estimate import estimate
from sunsim.estimate.scale import scaled
from sunsim.latency.attention import kernel_of
from sunsim.latency.decode import DecodeTimes
from sunsim.latency.measured import ProfileData
from sunsim.latency.profile import load_named, load_profile
from tests.estimate.models import LLAMA, LLAMA_70B, source, worker, write_config
from tests.synthetic import synthetic_profile

BASES = [
    f"{card}/{model}"
    for card, model in (
        ("h100-80gb", "llama-3.1-8b-bf16"),
        ("h100-80gb", "llama-3.1-8b-awq"),
        ("h100-80gb", "qwen3-8b-bf16"),
        ("h200-141gb", "llama-3.1-8b-fp8"),
    )
]


def data(raw: dict[str, Any]) -> ProfileData:
    return ProfileData.model_validate_json(json.dumps(raw))


@pytest.mark.parametrize("name", BASES)
def test_an_estimate_of_the_source_itself_is_the_source(name: str) -> None:
    known = source(name)
    made, measured = data(scaled(known, known.worker, "m", known.worker.variant)), known.profile.data
    for kind in ("decode_points", "prefill_points", "mixed_points", "idle_starts", "first_token_points", "pauses"):
        assert getattr(made, kind) == getattr(measured, kind), kind
    for fact in ("num_gpu_blocks", "weight_bytes", "kv_bytes_per_token", "processors", "cudagraph_capture_sizes"):
        assert getattr(made, fact) == getattr(measured, fact), fact
    assert made.streamed_weight_bytes == pytest.approx(measured.streamed_weight_bytes, abs=2000)
    assert kernel_of(made) == kernel_of(measured)
    found = errors_of(known, known.worker)
    assert found["decode"] == {"typical_percent": 0, "slower_percent": 0}
    assert found["unknown"] == []


def test_70b_on_four_h100() -> None:
    made = data(scaled(source(), worker(gpus=4), "llama-70b", "bf16"))
    assert made.weight_bytes * 4 == pytest.approx(141.1e9, rel=1e-3)
    assert made.kv_bytes_per_token == 327_680 // 4
    assert made.engine_args.tensor_parallel_size == 4
    # 85 % of 85.5 GB, less 35.3 GB of weights and a few GB, in blocks of 1.3 MB.
    assert 26_000 < made.num_gpu_blocks < 28_500
    steps = DecodeTimes(made.decode_points, made.cudagraph_capture_sizes)
    # The weights alone take 12 ms at the pace that the source's were read.
    assert 14 < steps.steady(1).ms(1000) < 22
    kernel = kernel_of(made)
    assert kernel
    assert kernel.heads == 2


def test_another_architecture_has_not_the_kernel_that_was_measured() -> None:
    ampere, hopper = (data(scaled(source(), worker(gpu, gpus=8), "m", "bf16")) for gpu in ("a100-80gb", "h200-141gb"))
    assert kernel_of(ampere) is None
    assert kernel_of(hopper)


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(sorted(cards())),
    st.sampled_from([None, "awq", "fp8"]),
    st.sampled_from([1, 2, 4, 8]),
    st.integers(4, 64),
    st.sampled_from([1024, 2048, 4096]),
)
def test_whatever_fits_loads_and_takes_longer_the_more_there_is_to_do(
    gpu: str, variant: str | None, gpus: int, layers: int, hidden: int
) -> None:
    config = LLAMA_70B | {
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "intermediate_size": 3 * hidden,
        "num_attention_heads": hidden // 128,
    }
    asked = worker(gpu, config, variant, gpus)
    raw, refused = {}, ""
    try:
        raw = scaled(source(), asked, "m", asked.variant)
    except InputError as error:
        refused = error.message
    if refused:
        assert "leave no room" in refused
        return
    made = data(raw)
    steps = DecodeTimes(made.decode_points, made.cudagraph_capture_sizes)
    times = [steps.steady(batch).ms(batch * 1000) for batch in (1, 16, 64, 256)]
    assert times == sorted(times)
    assert times[0] > 0
    long = [steps.steady(16).ms(16 * each) for each in (500, 1000, 4000)]
    assert long == sorted(long)


def test_an_estimate_is_a_profile_that_says_what_it_is(tmp_path: Path) -> None:
    out = tmp_path / "made.json"
    made = estimate(load_named(LLAMA), gpu="a100-80gb", model=write_config(tmp_path), tensor_parallel_size=8, out=out)
    about = made.data.estimated
    assert about
    assert about.source == LLAMA
    assert about.source_sha256 == load_named(LLAMA).sha256
    assert about.changed == ["card", "model", "tensor parallel"]
    assert about.unknown == ["ampere instead of hopper", "a model 9.8 times as large", "tensor parallel"]
    assert made.data.card == "NVIDIA A100 SXM 80 GB (estimated)"
    assert made.data.host["cpu"] == "none: estimated, not measured"
    assert (made.data.model, made.data.variant, made.gpus) == ("llama-70b", "bf16", 8)
    assert (made.data.date, made.data.copy_bandwidth_gb_s) == ("", None)
    # A transfer moves all heads, each once.
    assert made.kv_bytes_per_token_of_all == 8 * made.kv_bytes_per_token == 327_680
    again = estimate(load_named(LLAMA), "a100-80gb", write_config(tmp_path), 8, out=tmp_path / "again.json")
    assert again.sha256 == made.sha256


def test_a_model_that_does_not_fit_says_how_many_gpus_it_takes() -> None:
    with pytest.raises(InputError, match=r"141\.1 GB of weights .* must be at least 4 on this card"):
        scaled(source(), worker(), "m", "bf16")
    with pytest.raises(InputError, match="no more than 64 such cards do either"):
        scaled(source(), worker("l4-24gb", LLAMA_70B | {"num_hidden_layers": 2000}), "m", "bf16")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hidden_size": None}, "hidden_size is missing, must be there"),
        ({"hidden_size": "8192"}, "hidden_size is '8192', must be a whole number"),
        ({"num_key_value_heads": 7}, "num_key_value_heads must divide"),
        ({"num_attention_heads": 16384}, "hidden_size is less than num_attention_heads, must be"),
        ({"num_experts": 8}, "is of a mixture of experts, must be a dense decoder"),
        ({"kv_lora_rank": 512}, "latent attention"),
        ({"sliding_window": 4096}, "sliding window"),
        ({"layer_types": ["full_attention", "linear_attention"]}, "mixes kinds of attention"),
        ({"quantization_config": {"quant_method": "gptq"}}, "has weights quantized by gptq"),
        ({"quantization_config": "awq"}, "has weights quantized by an unknown method"),
        ({"layer_types": [["full_attention"]]}, "mixes kinds of attention"),
    ],
)
def test_models_that_the_roofline_is_not_true_of_are_refused(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    path = write_config(tmp_path, **changes)
    with pytest.raises(InputError, match=said) as error:
        estimate(load_named(LLAMA), model=path, out=tmp_path / "made.json")
    assert str(error.value).startswith(str(path))
    assert not (tmp_path / "made.json").exists()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"gpu": "tpu"}, "--gpu: no card tpu is known, must be one of a100-40gb"),
        ({"gpu": ""}, "--gpu: no card  is known, must be one of a100-40gb"),
        ({"tensor_parallel_size": 0}, "--tensor-parallel-size: is 0, must divide the model's 32 attention heads"),
        ({"variant": "int8"}, "--variant: is int8, must be one of bf16, awq, fp8"),
        ({"tensor_parallel_size": 3}, "--tensor-parallel-size: is 3, must divide the model's 32 attention heads"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, asked: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        estimate(load_named(LLAMA), out=tmp_path / "made.json", **asked)


def test_kv_heads_are_not_split_between_gpus(tmp_path: Path) -> None:
    """48 and 6 heads: six GPUs have one each, and four would have one and a half."""
    six = write_config(tmp_path, num_attention_heads=48, num_key_value_heads=6, head_dim=128)
    with pytest.raises(InputError, match="is 4, must divide the model's 48 attention heads and its 6 KV heads, or be"):
        estimate(load_named(LLAMA), model=six, tensor_parallel_size=4, out=tmp_path / "made.json")
    made = estimate(load_named(LLAMA), model=six, tensor_parallel_size=12, out=tmp_path / "made.json")
    assert made.kv_bytes_per_token_of_all == 6 * made.kv_bytes_per_token


def test_power_is_of_the_card_that_was_measured_alone(tmp_path: Path) -> None:
    raw = json.loads(load_named(LLAMA).path.read_text())
    points = {
        key: [point | {"avg_power_w": 500.0} for point in raw[key]] for key in ("decode_points", "prefill_points")
    }
    (tmp_path / "mine.json").write_text(json.dumps(raw | points | {"idle_power_w": 90.0}))
    made = estimate(load_profile(tmp_path / "mine.json"), gpu="h200-141gb", out=tmp_path / "made.json")
    assert "power_w" not in made.path.read_text()


@pytest.mark.parametrize("text", ["", "[]", "{", "\xff", '{"hidden_size": NaN}'])
def test_what_is_no_model_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match=r"config\.json"):
        estimate(load_named(LLAMA), model=path)
    with pytest.raises(InputError, match="cannot be read"):
        estimate(load_named(LLAMA), model=tmp_path / "nowhere.json")


def test_a_measured_profile_is_never_written_over() -> None:
    known = load_named(LLAMA)
    with pytest.raises(InputError, match="is the measured profile itself, must be another file"):
        estimate(known, gpu="a100-80gb", out=known.path)
    with pytest.raises(InputError, match=r"must end in \.json"):
        estimate(known, gpu="a100-80gb", out=Path("made.yaml"))


def test_only_measured_base_models_are_sources(tmp_path: Path) -> None:
    made = estimate(load_named(LLAMA), gpu="h200-141gb", out=tmp_path / "made.json")
    with pytest.raises(InputError, match="is itself estimated, must be measured"):
        estimate(made, gpu="a100-80gb")
    (tmp_path / "mine.json").write_text(json.dumps(synthetic_profile(gpu="h100-80gb", variant="int4")))
    with pytest.raises(InputError, match="is of variant int4, must be of bf16, awq, fp8"):
        estimate(load_profile(tmp_path / "mine.json"), gpu="a100-80gb")
    (tmp_path / "mine.json").write_text(json.dumps(synthetic_profile()))
    with pytest.raises(InputError, match=r"model_config\.hidden_size is missing"):
        estimate(load_profile(tmp_path / "mine.json"), gpu="a100-80gb")
    (tmp_path / "mine.json").write_text(json.dumps(synthetic_profile(model_config=LLAMA_70B)))
    with pytest.raises(InputError, match="no card test-gpu is known"):
        estimate(load_profile(tmp_path / "mine.json"), gpu="a100-80gb")
    with pytest.raises(InputError, match="is of LoRA adapters"):
        estimate(load_named("h100-80gb/llama-3.1-8b-lora-r16"), gpu="a100-80gb")
