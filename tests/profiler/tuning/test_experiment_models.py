"""Base models of the experiment: their pre-training's loss is that of serving, and copies of them are whole."""

import copy
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
from profiler.tuning.experiment.order import METHODS, SIZES, Order, jobs_of, small
from profiler.tuning.experiment.pretrain import at_once, batches, pretrain, response_loss
from profiler.tuning.experiment.results import record_file
from profiler.tuning.experiment.tasks import VOCABULARY, examples
from profiler.tuning.experiment.work import Worker, ids_of
from profiler.tuning.quantize import GROUP
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
    order = Order(("tiny",), ("call-format",), 1, "decode", {"tiny": 1.0}, train=16, validation=8, test=8, batch=8)
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


def test_a_cell_goes_on_after_the_methods_that_it_has_recorded(tmp_path: Path) -> None:
    order = small(Order(("tiny",), ("call-format",), 1, "decode", {"tiny": 1.0}, steps=1))
    told: list[str] = []
    worker = Worker(order, tmp_path, "cpu", told.append)
    models.save(models.new_model("tiny", 0), tmp_path / "base" / "tiny")
    cell = jobs_of(order)[-1]
    assert set(worker.do(cell)["methods"]) == set(METHODS)
    files = {method: record_file(tmp_path, "tiny", "call-format", 0, method) for method in METHODS}
    kept = files["full"].read_bytes()
    files["lora"].unlink()
    files["prefill-only-int4"].unlink()
    told.clear()
    # The module that was tuned is not kept, so what decodes with it in 4 bits takes its tuning again.
    assert worker.do(cell) == {"methods": ["prefill-only", "prefill-only-int4", "lora"]}
    assert [line.split()[1] for line in told] == ["prefill-only:", "lora:"]
    assert all(file.exists() for file in files.values())
    assert files["full"].read_bytes() == kept
