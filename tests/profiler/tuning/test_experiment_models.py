"""Base models of the experiment: their pre-training's loss is that of serving, and copies of them are whole."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from transformers import AutoTokenizer
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from profiler.tuning.checkpoint import parameters
from profiler.tuning.choices import DecoderQuant
from profiler.tuning.data import Example
from profiler.tuning.experiment import models
from profiler.tuning.experiment.corpus import piece
from profiler.tuning.experiment.order import QUICK, SIZES, TUNINGS, jobs_of
from profiler.tuning.experiment.pretrain import at_once, batches, pretrain, response_loss
from profiler.tuning.experiment.tasks import VOCABULARY, examples
from profiler.tuning.experiment.work import Worker, ids_of, served
from profiler.tuning.methods import LoraLinear
from profiler.tuning.quantize import GROUP, int4_rounded
from profiler.tuning.two_pathways import Batch, TwoPathways

torch.set_num_threads(1)


def test_the_loss_of_pre_training_is_that_of_both_pathways_with_one_model() -> None:
    model = models.new_model("tiny", 0)
    corpus = piece(0, 6)
    asked = [
        Example(tuple(ids[:prompt].tolist()), tuple(ids[prompt:end].tolist()))
        for ids, prompt, end in zip(corpus.ids, corpus.prompt_tokens, corpus.tokens, strict=True)
    ]
    ids, prompt_tokens, tokens = (torch.from_numpy(part).long() for part in corpus)
    with torch.no_grad():
        whole = float(response_loss(model, ids, prompt_tokens, tokens))
        served = float(TwoPathways(model, model).loss_sum(Batch.of(asked)))
    assert whole == pytest.approx(served, rel=1e-4)


def test_one_model_at_once_has_the_loss_of_two_pathways() -> None:
    model = models.new_model("tiny", 0)
    asked = [ids_of(example) for name in ("math-words", "call-format") for example in examples(name, "test", 0, 5)]
    two = TwoPathways(model, model)
    batch = Batch.of(asked)
    at_once(two).loss_sum(batch).backward()
    gradients = {name: weight.grad.clone() for name, weight in model.named_parameters()}
    model.zero_grad()
    two.loss_sum(batch).backward()
    for name, weight in model.named_parameters():
        torch.testing.assert_close(gradients[name], weight.grad, rtol=1e-3, atol=1e-4)
    apart = TwoPathways(model, models.new_model("tiny", 1))
    assert at_once(apart) is apart


def test_a_norm_in_one_kernel_is_the_norm_of_transformers() -> None:
    torch.manual_seed(0)
    norm = models.new_model("tiny", 0).model.norm
    with torch.no_grad():
        norm.weight.normal_()
    hidden = torch.randn(3, 128)
    torch.testing.assert_close(norm(hidden), LlamaRMSNorm.forward(norm, hidden))


def test_a_copy_computes_with_its_own_weights() -> None:
    model = models.new_model("tiny", 0)
    copied = copy.deepcopy(model)
    with torch.no_grad():
        for weight in copied.parameters():
            weight.zero_()
        ids = torch.arange(8)[None]
        assert copied(input_ids=ids).logits.abs().max() == 0
        assert model(input_ids=ids).logits.abs().max() > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_pre_training_learns_and_ends_with_its_time(dtype: Any) -> None:
    torch.manual_seed(0)
    model = models.new_model("tiny", 0).to(dtype)
    done = pretrain(
        model,
        piece(0, 64),
        learning_rate=3e-3,
        seconds=1.0,
        batch_size=8,
        seed=0,
        say=lambda _: None,
        seen_every=1,
    )
    assert done.steps >= 2
    assert 1 <= done.seconds < 10
    assert done.curve[-1][1] < done.curve[0][1]
    assert model.model.norm.weight.dtype == dtype


def test_each_pass_has_every_example_once() -> None:
    corpus = piece(0, 40)
    steps = batches(corpus, 10, seed=0)
    for _ in range(2):
        assert sorted(i for _ in range(4) for i in next(steps).tolist()) == list(range(40))


def test_sizes_are_what_their_names_say_and_fit_int4_groups() -> None:
    for name, size in SIZES.items():
        assert size.hidden % GROUP == size.intermediate % GROUP == 0
        with torch.device("meta"):
            weights = parameters(models.new_model(name, 0))
        if name != "tiny":
            assert f"{round(weights / 1e7)}0m" == name


def test_the_tokenizer_gives_the_ids_of_the_experiment(tmp_path: Path) -> None:
    VOCABULARY.write_tokenizer(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    example = examples("call-format", "test", 0, 1)[0]
    assert tokenizer(" ".join(example.prompt))["input_ids"] == VOCABULARY.prompt_ids(example)
    response = tokenizer(" ".join(example.response), add_special_tokens=False)["input_ids"]
    assert [*response, tokenizer.eos_token_id] == VOCABULARY.response_ids(example)


def test_a_saved_base_is_loaded_as_it_was_and_tuning_leaves_it_so(tmp_path: Path) -> None:
    order = replace(QUICK, train=16, validation=8, test=8)
    worker = Worker(order, tmp_path, "cpu", lambda _: None)
    models.save(models.new_model("tiny", 0), tmp_path / "base" / "tiny")
    before = {name: weight.clone() for name, weight in worker.base("tiny").named_parameters()}
    ways: list[tuple[str, DecoderQuant | None]] = [("full", None), ("prefill-only", None), ("lora", None)]
    for method, quant in [*ways, ("prefill-only", "int4-g128")]:
        pathways = worker.pathways("tiny", method, 0, quant)
        curve = worker.tune(pathways, "call-format", 0, 1e-2, steps=4, points=2)
        assert [point[0] for point in curve] == [2, 4]
        asked = [ids_of(example) for example in examples("call-format", "validation", 0, 8)]
        assert curve[-1][2] == pytest.approx(worker.loss(pathways, asked))
        assert curve[-1][2] < worker.loss(TwoPathways(worker.base("tiny"), worker.base("tiny")), asked)
    after = dict(worker.base("tiny").named_parameters())
    assert all(torch.equal(after[name], weight) for name, weight in before.items())


def test_tunings_answer_for_all_methods(tmp_path: Path) -> None:
    order = replace(QUICK, steps=1)
    worker = Worker(order, tmp_path, "cpu", lambda _: None)
    models.save(models.new_model("tiny", 0), tmp_path / "base" / "tiny")
    for job in jobs_of(order)[1:]:
        result = worker.do(job)
        assert set(result["answers"]) == set(TUNINGS[job.method])
        assert result["learning_rate"] == order.rates[job.method.removesuffix("-int4-tuned")][0]
        assert [point[0] for point in result["curve"]][-1] == 1
        for answers in result["answers"].values():
            assert [len(answers[name]) for name in ("exact", "matched", "wanted")] == [order.test] * 3


@pytest.mark.parametrize("method", TUNINGS)
def test_rows_are_served_by_the_modules_that_they_name(tmp_path: Path, method: str) -> None:
    order = replace(QUICK, boundary="prefill")
    worker = Worker(order, tmp_path, "cpu", lambda _: None)
    models.save(models.new_model("tiny", 0), tmp_path / "base" / "tiny")
    base = worker.base("tiny")
    quant: DecoderQuant | None = "int4-g128" if method == "prefill-only-int4-tuned" else None
    tuned = worker.pathways("tiny", method.removesuffix("-int4-tuned"), 0, quant)
    worker.tune(tuned, "call-format", 0, 1e-2, steps=2, points=1)

    def kind(module: Any) -> str:
        layer = module.model.layers[0].mlp.up_proj
        if isinstance(layer, LoraLinear):
            return "adapted"
        exact = base.model.layers[0].mlp.up_proj.weight
        if any(torch.equal(layer.weight, weight) for weight in (exact, int4_rounded(exact))):
            return "base" if torch.equal(layer.weight, exact) else "base-int4"
        return "tuned-int4" if len(layer.weight[0].unique()) <= 16 else "tuned"

    found = served(method, tuned, base)
    assert all(pathways.boundary == "prefill" for pathways in found.values())
    assert {row: (kind(pathways.prefill), kind(pathways.decode)) for row, pathways in found.items()} == {
        row: modules
        for row, modules in {
            "base": ("base", "base"),
            "full": ("tuned", "tuned"),
            "full-int4": ("tuned", "tuned-int4"),
            "full-prefill-base-decode": ("tuned", "base"),
            "prefill-only": ("tuned", "base"),
            "prefill-only-int4": ("tuned", "base-int4"),
            "prefill-only-int4-tuned": ("tuned", "base-int4"),
            "lora": ("adapted", "adapted"),
        }.items()
        if row in TUNINGS[method]
    }
