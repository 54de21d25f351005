"""The forward of training is that of serving: prefilled by one module, decoded by another, token by token."""

from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from transformers import DynamicCache

from profiler.tuning.choices import Boundary
from profiler.tuning.data import Example
from profiler.tuning.methods import pathways_of, trained_parameters
from profiler.tuning.two_pathways import NO_LABEL, Batch, TwoPathways
from tests.profiler.tuning.tiny import changed, sorting, tiny

# Logits here are up to about 8, next to which two bfloat16 numbers are 0.0625 apart.
LARGEST = {torch.float32: 1e-4, torch.bfloat16: 0.0625}


def handed_over(module: Any, tokens: list[int], position: int, cache: Any) -> torch.Tensor:
    """One plain call of transformers: logits [tokens, vocabulary] of one request at this position of the cache."""
    where = torch.arange(position, position + len(tokens))[None]
    given = {"input_ids": torch.tensor([tokens]), "position_ids": where, "use_cache": True}
    logits: torch.Tensor = module(**given, past_key_values=cache).logits[0]
    return logits


@torch.inference_mode()  # type: ignore[untyped-decorator]
def served(prefill: Any, decode: Any, example: Example, boundary: Boundary) -> torch.Tensor:
    """[response, vocabulary]: as workers do it, one request, one token a step, no padding."""
    cache, prompt = DynamicCache(), list(example.prompt)
    if boundary == "prefill":
        logits = [handed_over(prefill, prompt, 0, cache)[-1]]
        steps = list(example.response[:-1])
    else:
        handed_over(prefill, prompt[:-1], 0, cache)
        logits = []
        steps = [prompt[-1], *example.response[:-1]]
    for token in steps:
        logits.append(handed_over(decode, [token], cache.get_seq_length(), cache)[-1])
    return torch.stack(logits)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("boundary", ["decode", "prefill"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_logits_of_training_are_those_of_serving_token_by_token(
    family: str, dtype: torch.dtype, boundary: Boundary
) -> None:
    pathways = pathways_of(tiny(family, dtype), "prefill-only", boundary=boundary)
    changed(pathways.prefill)
    examples = sorting(12)
    with torch.no_grad():
        together = pathways.logits(Batch.of(examples))
    worst, least = 0.0, float("inf")
    for i, example in enumerate(examples):
        alone = served(pathways.prefill, pathways.decode, example, boundary)
        count = len(example.response)
        worst = max(worst, (together[i, :count] - alone).abs().max().item())
        plain = served(pathways.decode, pathways.decode, example, boundary)
        least = min(least, (plain - alone).abs().max().item())
    message = (
        f"{family} {dtype} boundary {boundary}: largest difference of logits {worst:.2e}, modules differ by {least:.2f}"
    )
    print(message)  # noqa: T201 - shown with -s
    assert worst < LARGEST[dtype]
    # The check would see a wrong module: the tuned one changes every request's logits by far more.
    assert least > 4 * LARGEST[dtype]


@pytest.mark.parametrize("boundary", ["decode", "prefill"])
def test_one_module_on_both_sides_is_the_plain_model(boundary: Boundary) -> None:
    model, examples = tiny(), sorting(8)
    batch = Batch.of(examples)
    plain = 0.0
    for example in examples:
        tokens = torch.tensor([[*example.prompt, *example.response]])
        labels = tokens.clone()
        labels[:, : len(example.prompt)] = NO_LABEL
        plain += model(input_ids=tokens, labels=labels).loss.item() * len(example.response)
    ours = pathways_of(model, "prefill-only", boundary=boundary).loss_sum(batch).item()
    assert ours == pytest.approx(plain, rel=1e-5)


@pytest.mark.parametrize("boundary", ["decode", "prefill"])
def test_the_prefill_module_gets_gradients_and_the_decode_module_none(boundary: Boundary) -> None:
    pathways = pathways_of(tiny(), "prefill-only", boundary=boundary)
    pathways.loss_sum(Batch.of(sorting(8))).backward()
    without = {name for name, weight in trained_parameters(pathways).items() if weight.grad is None}
    # Only keys and values of the last layer are read where the decode module computes the last prompt token.
    last = "model.layers.1."
    after = {
        "self_attn.q_proj",
        "self_attn.o_proj",
        "post_attention_layernorm",
        *(f"mlp.{n}_proj" for n in ("gate", "up", "down")),
    }
    unread = {f"{last}{name}.weight" for name in after} | {"model.norm.weight"}
    assert without == (unread if boundary == "decode" else set())
    assert all(weight.grad is None for weight in pathways.decode.parameters())


@pytest.mark.parametrize("boundary", ["decode", "prefill"])
@pytest.mark.parametrize("name", ["model.layers.0.self_attn.k_proj.weight", "model.layers.1.self_attn.v_proj.weight"])
def test_the_gradient_is_the_slope_of_the_loss(boundary: Boundary, name: str) -> None:
    pathways = pathways_of(tiny(dtype=torch.float64), "prefill-only", boundary=boundary)
    batch = Batch.of(sorting(6))
    weight = trained_parameters(pathways)[name]
    pathways.loss_sum(batch).backward()
    assert weight.grad is not None
    # transformers normalizes in float32 whatever the dtype: smaller steps would be lost in its rounding.
    step, place = 1e-2, (3, 5)
    sides = []
    for sign in (1, -1):
        with torch.no_grad():
            weight[place] += sign * step
            sides.append(pathways.loss_sum(batch).item())
            weight[place] -= sign * step
    assert (sides[0] - sides[1]) / (2 * step) == pytest.approx(weight.grad[place].item(), rel=1e-2, abs=1e-4)


def test_embeddings_and_head_are_the_same_tensors_in_both_modules() -> None:
    pathways = pathways_of(tiny(), "prefill-only")
    own = {weight.data_ptr() for weight in pathways.decode.parameters()}
    shared = [name for name, weight in pathways.prefill.named_parameters() if weight.data_ptr() in own]
    assert shared == ["model.embed_tokens.weight", "lm_head.weight"]


def test_a_quantized_decoder_shares_all_but_its_linear_layers_with_the_base() -> None:
    model = tiny(hidden_size=128, head_dim=32)
    before = {name: weight.data_ptr() for name, weight in model.named_parameters()}
    pathways = pathways_of(model, "prefill-only", decoder_quant="int4-g128")
    replaced = {name for name, weight in pathways.decode.named_parameters() if weight.data_ptr() != before[name]}
    assert replaced == {name for name in before if "_proj" in name}


def test_a_model_that_does_not_look_at_all_of_the_prompt_is_refused() -> None:
    model = tiny("qwen3", use_sliding_window=True, sliding_window=4, max_window_layers=0)
    with pytest.raises(ValueError, match="qwen3: not all of its layers are full attention"):
        TwoPathways(model, model)


def test_modules_of_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="has num_hidden_layers 2 and the decode module 3, must be the same"):
        TwoPathways(tiny(), tiny(num_hidden_layers=3))
