"""Greedy decoding of many requests at once gives what each gets by itself."""

from typing import get_args

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch

from profiler.tuning.choices import Boundary
from profiler.tuning.data import Example
from profiler.tuning.decode import greedy
from profiler.tuning.methods import pathways_of
from profiler.tuning.two_pathways import Batch, TwoPathways
from tests.profiler.tuning.tiny import changed, sorting, tiny


@torch.inference_mode()  # type: ignore[untyped-decorator]
def alone(pathways: TwoPathways, prompt: tuple[int, ...], count: int) -> list[int]:
    """Every token from a forward of all before it, without a cache that goes on."""
    answer: list[int] = []
    for _ in range(count):
        logits = pathways.logits(Batch.of([Example(prompt, (*answer, 0))]))
        answer.append(int(logits[0, -1].argmax()))
    return answer


@pytest.mark.parametrize("boundary", get_args(Boundary))
@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_requests_together_are_requests_alone(family: str, boundary: Boundary) -> None:
    pathways = pathways_of(tiny(family), "prefill-only", boundary=boundary)
    changed(pathways.prefill)
    prompts = [example.prompt for example in sorting(9)]
    limits = [1 + i % 6 for i in range(9)]
    found = greedy(pathways, prompts, limits, batch_size=4)
    assert found == [alone(pathways, prompt, limit) for prompt, limit in zip(prompts, limits, strict=True)]


def test_an_answer_ends_with_the_first_stop_token() -> None:
    model = tiny()
    pathways = TwoPathways(model, model)
    prompts = [example.prompt for example in sorting(6)]
    whole = greedy(pathways, prompts, [8] * 6)
    stop = whole[0][3]
    for answer, ended in zip(whole, greedy(pathways, prompts, [8] * 6, stop_token_ids=[stop]), strict=True):
        assert ended == answer[: answer.index(stop) + 1 if stop in answer else 8]


def test_one_module_on_both_sides_answers_as_transformers_own_generation() -> None:
    model = tiny()
    prompt = sorting(1)[0].prompt
    given = {"input_ids": torch.tensor([prompt]), "attention_mask": torch.ones(1, len(prompt), dtype=torch.long)}
    wanted = model.generate(**given, max_new_tokens=8, do_sample=False, eos_token_id=None, pad_token_id=0)
    assert greedy(TwoPathways(model, model), [prompt], [8]) == [wanted[0, len(prompt) :].tolist()]
