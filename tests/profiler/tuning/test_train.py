"""Training lowers the loss, and what it does does not depend on how it was cut."""

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch

from profiler.tuning.choices import Method
from profiler.tuning.methods import merge_lora, pathways_of, trained_parameters
from profiler.tuning.train import Settings, Trainer, train, write_state
from profiler.tuning.two_pathways import Batch, TwoPathways
from sunsim.errors import InputError
from tests.profiler.tuning.tiny import sorting, tiny

SETTINGS = Settings(steps=8, batch_size=8, learning_rate=3e-3, warmup_steps=2)
EXAMPLES = sorting(30)


def weights(pathways: TwoPathways) -> dict[str, Any]:
    return {name: weight.detach().clone() for name, weight in trained_parameters(pathways).items()}


@pytest.mark.parametrize("method", get_args(Method))
def test_the_loss_falls_and_only_what_is_trained_changes(method: Method) -> None:
    # A single layer of little weights learns the responses' ends at once.
    pathways = pathways_of(tiny(initializer_range=0.05), method, boundary="prefill", lora_rank=4)
    before = {name: weight.clone() for name, weight in pathways.decode.named_parameters()}
    curve = train(pathways, EXAMPLES, replace(SETTINGS, steps=25, learning_rate=1e-2))
    assert sum(curve.loss[-5:]) < 0.9 * sum(curve.loss[:5])
    changed = {name for name, weight in pathways.decode.named_parameters() if not torch.equal(weight, before[name])}
    assert (
        changed
        == {
            "full": set(before),
            "prefill-only": set(),
            "lora": {name for name in before if "lora" in name},
        }[method]
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_going_on_from_a_kept_state_is_as_never_having_stopped(tmp_path: Path, dtype: torch.dtype) -> None:
    whole = pathways_of(tiny(dtype=dtype), "prefill-only")
    curve = train(whole, EXAMPLES, SETTINGS)
    stopped = Trainer(pathways_of(tiny(dtype=dtype), "prefill-only"), EXAMPLES, SETTINGS)
    stopped.run(until=5)
    write_state(stopped.state(), tmp_path / "state.pt")
    resumed = pathways_of(tiny(dtype=dtype), "prefill-only")
    again = train(resumed, EXAMPLES, SETTINGS, kept=tmp_path / "state.pt")
    assert again == curve
    for name, weight in weights(whole).items():
        assert torch.equal(weight, weights(resumed)[name]), name


def test_a_state_of_other_settings_or_examples_is_refused(tmp_path: Path) -> None:
    kept = tmp_path / "state.pt"
    train(pathways_of(tiny(), "prefill-only"), EXAMPLES, replace(SETTINGS, steps=1), kept=kept, made_of={"a": 1})
    settings = replace(SETTINGS, steps=1)
    for examples, other, made_of, what in (
        (EXAMPLES, replace(settings, learning_rate=1e-4), {"a": 1}, "learning_rate 0.003, not 0.0001"),
        (EXAMPLES[1:], settings, {"a": 1}, "examples"),
        (EXAMPLES, settings, {"a": 2}, "a 1, not 2"),
    ):
        with pytest.raises(InputError, match=what):
            train(pathways_of(tiny(), "prefill-only"), examples, other, kept=kept, made_of=made_of)


def test_who_is_interrupted_is_told_where_it_will_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def rate(settings: Settings, step: int) -> float:
        seen.append(step)
        if step == 5:
            raise KeyboardInterrupt
        return settings.learning_rate

    monkeypatch.setattr(Settings, "rate", rate)
    with pytest.raises(KeyboardInterrupt, match="interrupted at step 5, the same command goes on from step 4"):
        train(pathways_of(tiny(), "full"), EXAMPLES, SETTINGS, kept=tmp_path / "state.pt", keep_every=2)
    monkeypatch.undo()
    curve = train(pathways_of(tiny(), "full"), EXAMPLES, SETTINGS, kept=tmp_path / "state.pt")
    assert (seen, len(curve.loss)) == ([0, 1, 2, 3, 4, 5], SETTINGS.steps)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_small_batches_add_up_to_the_large_one(dtype: torch.dtype) -> None:
    norms = []
    for micro in (None, 3):
        trainer = Trainer(
            pathways_of(tiny(dtype=dtype), "prefill-only"), EXAMPLES, replace(SETTINGS, steps=1, micro_batch_size=micro)
        )
        trainer.run()
        curve = trainer.look()
        norms.append((curve.loss[0], curve.gradient_norm[0]))
    assert norms[1] == pytest.approx(norms[0], rel=1e-4 if dtype == torch.float32 else 0.02)


def test_steps_too_small_for_bfloat16_add_up() -> None:
    settings = replace(SETTINGS, steps=20, learning_rate=2e-4, warmup_steps=0, schedule="constant", weight_decay=0.0)
    moved = []
    for dtype in (torch.float32, torch.bfloat16):
        pathways = pathways_of(tiny(dtype=torch.bfloat16).to(dtype), "prefill-only")
        before = weights(pathways)
        train(pathways, EXAMPLES, settings)
        after = weights(pathways)
        names = [name for name in before if name.endswith("_proj.weight")]
        moved.append(sum((after[name].float() - before[name].float()).abs().mean().item() for name in names))
    # A step is at most 0.0002, and most weights have their next bfloat16 0.0005 and more away.
    assert moved[1] == pytest.approx(moved[0], rel=0.1)


def test_weights_in_float32_are_trained_beside_those_in_bfloat16() -> None:
    pathways = pathways_of(tiny(dtype=torch.bfloat16), "full")
    pathways.decode.lm_head.float().register_forward_pre_hook(lambda _, given: (given[0].float(),))
    before = weights(pathways)
    train(pathways, EXAMPLES, SETTINGS)
    after = weights(pathways)
    assert {weight.dtype for weight in after.values()} == {torch.float32, torch.bfloat16}
    assert not any(torch.equal(after[name], before[name]) for name in ("lm_head.weight", "model.norm.weight"))
    assert not any(torch.equal(after[name], before[name]) for name in before if name.endswith("_proj.weight"))


def test_the_rate_rises_in_a_line_and_falls_as_a_cosine() -> None:
    settings = Settings(steps=12, learning_rate=1.0, warmup_steps=4)
    rates = [settings.rate(step) for step in range(12)]
    assert rates[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rates[8] == pytest.approx(0.5)
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert [replace(settings, schedule="constant").rate(step) for step in (4, 11)] == [1.0, 1.0]


def test_a_loss_that_is_no_number_ends_the_training() -> None:
    pathways = pathways_of(tiny(), "full")
    with torch.no_grad():
        pathways.decode.lm_head.weight[0] = float("nan")
    with pytest.raises(InputError, match="the loss is no number any more by step 8"):
        train(pathways, EXAMPLES, SETTINGS)


def test_prompts_of_one_token_teach_a_prefill_module_nothing() -> None:
    pathways = pathways_of(tiny(), "prefill-only", boundary="decode")
    before = weights(pathways)
    curve = train(pathways, [replace(e, prompt=e.prompt[:1]) for e in EXAMPLES], SETTINGS)
    assert curve.gradient_norm == [0.0] * SETTINGS.steps
    assert all(torch.equal(weight, before[name]) for name, weight in weights(pathways).items())


def test_a_merged_adapter_is_the_adapter() -> None:
    pathways = pathways_of(tiny(), "lora", lora_rank=4, seed=3)
    batch = Batch.of(EXAMPLES[:8])
    base = tiny()
    with torch.no_grad():
        torch.testing.assert_close(pathways.logits(batch), TwoPathways(base, base).logits(batch))
        train_free = trained_parameters(pathways)
        for weight in train_free.values():
            weight.add_(torch.randn_like(weight), alpha=0.05)
        adapted = pathways.logits(batch)
        merge_lora(pathways.decode)
        merged = pathways.logits(batch)
    torch.testing.assert_close(merged, adapted, rtol=1e-4, atol=1e-4)
    assert (adapted - TwoPathways(base, base).logits(batch)).abs().max() > 0.1
    assert [name for name, _ in pathways.decode.named_parameters()] == [name for name, _ in base.named_parameters()]


def test_only_a_prefill_module_can_be_trained_against_a_quantized_decoder() -> None:
    with pytest.raises(ValueError, match="must be prefill-only"):
        pathways_of(tiny(hidden_size=128), "full", decoder_quant="fp8")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_module_can_be_trained_again(dtype: torch.dtype) -> None:
    pathways = pathways_of(tiny(dtype=dtype), "full")
    first = train(pathways, EXAMPLES, SETTINGS)
    second = train(pathways, EXAMPLES, SETTINGS)
    assert sum(second.loss) < sum(first.loss)
