"""From a model's directory over tuned ones to a table and an accuracy file."""

import json
import sys
from pathlib import Path

import pytest

BASE = ("--model", "base", "--data", "sort.train.jsonl", "--steps", "3", "--batch-size", "8", "--dtype", "float32")


@pytest.mark.parametrize("given", [("tune", *BASE), ("accuracy", "--quick", "--gpus", "0")])
def test_without_torch_one_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], given: tuple[str, ...]
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    assert run(*given, "--out", str(tmp_path / "out")) == 1
    assert capsys.readouterr().err == "needs torch, must be installed: pip install 'sunsim[profiler]'\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from tests.profiler.tuning.tiny import sorting, tiny  # noqa: PLC0415

    tiny(hidden_size=128, head_dim=32).save_pretrained(tmp_path / "base")
    for name, count in (("train", 40), ("test", 12)):
        rows = [{"prompt_token_ids": e.prompt, "response_token_ids": e.response} for e in sorting(count)]
        (tmp_path / f"sort.{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str) -> int:
    """The exit code of `python -m profiler` in this process."""
    from profiler.cli import app  # noqa: PLC0415

    with pytest.raises(SystemExit) as ended:
        app(list(words))
    return int(ended.value.code or 0)


def test_tuned_modules_are_evaluated_under_the_names_of_their_methods(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for out, *more in (
        ("sun", "--method", "prefill-only"),
        ("sun-1", "--method", "prefill-only", "--seed", "1"),
        ("qsun", "--method", "prefill-only", "--decoder-quant", "int4-g128"),
        ("full", "--method", "full"),
        ("adapted", "--method", "lora", "--lora-rank", "4"),
    ):
        assert run("tune", *BASE, "--out", out, *more) == 0
    again = ("--data", "sort.test.jsonl", "--out", "accuracy.json")
    assert run("evaluate", "--prefill", "base", "--prefill", "full", "--prefill", "adapted", *again) == 0
    assert (
        run("evaluate", "--prefill", "sun", "--prefill", "sun-1", "--prefill", "full", "--decode", "base", *again) == 0
    )
    four_bits = ("--decode", "base", "--decoder-quant", "int4-g128", *again)
    assert run("evaluate", "--prefill", "sun", "--prefill", "qsun", *four_bits) == 0
    assert run("evaluate", "--prefill", "full", "--decoder-quant", "int4-g128", *again) == 0
    assert run("evaluate", "--prefill", "qsun", "--decode", "base", *again) == 0
    found = json.loads((folder / "accuracy.json").read_text())
    assert {row["method"]: row["seeds"] for row in found["rows"]} == {
        "base": 1,
        "full": 1,
        "full-int4": 1,
        "lora": 1,
        "prefill-only": 2,
        "full-prefill-base-decode": 1,
        "prefill-only-int4": 1,
        "prefill-only-int4-tuned": 1,
        "prefill-only-tuned-for-int4": 1,
    }
    assert (found["schema_version"], found["tasks"], found["model"]) == (1, ["sort"], "base")
    assert found["seeds"] == 1
    assert "| prefill-only-int4-tuned |" in capsys.readouterr().out


def test_a_tuned_module_is_one_that_transformers_and_vllm_load(folder: Path) -> None:
    pytest.importorskip("safetensors")
    import torch  # noqa: PLC0415
    from safetensors.torch import load_file  # noqa: PLC0415

    (folder / "base" / "tokenizer.json").write_text("{}")
    (folder / "base" / "tokenizer_config.json").write_text("{}")
    assert run("tune", *BASE, "--out", "sun") == 2  # that is no tokenizer
    (folder / "base" / "tokenizer.json").unlink()
    assert run("tune", *BASE, "--out", "sun", "--dtype", "bfloat16") == 0
    base, tuned = (load_file(folder / name / "model.safetensors") for name in ("base", "sun"))
    assert base.keys() == tuned.keys()
    assert {weight.dtype for weight in tuned.values()} == {torch.bfloat16}
    config = json.loads((folder / "sun" / "config.json").read_text())
    assert (config["architectures"], config["dtype"]) == (["LlamaForCausalLM"], "bfloat16")
    assert (folder / "sun" / "tokenizer_config.json").read_text() == "{}"
    how = json.loads((folder / "sun" / "tuning.json").read_text())
    assert (how["method"], how["boundary"], how["steps"]) == ("prefill-only", "decode", 3)
    curve = [json.loads(line) for line in (folder / "sun" / "curve.jsonl").read_text().splitlines()]
    assert [point["step"] for point in curve] == [1, 2, 3]
    assert not (folder / "sun" / "unfinished.pt").exists()


def test_text_goes_through_the_models_own_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers  # noqa: PLC0415
    from transformers import PreTrainedTokenizerFast  # noqa: PLC0415

    words = {"[end]": 1, "[unknown]": 2, "two": 5, "and": 6, "three": 7, "five": 8}
    letters = Tokenizer(models.WordLevel(words, unk_token="[unknown]"))
    letters.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=letters, eos_token="[end]").save_pretrained(folder / "base")
    row = json.dumps({"prompt": "two and three", "response": "five"})
    (folder / "sum.jsonl").write_text(f"{row}\n" * 4)
    given = ("--data", "sum.jsonl", "--steps", "20", "--learning-rate", "0.01", "--method", "full", "--out", "sum")
    assert run("tune", *BASE, *given) == 0
    assert (folder / "sum" / "tokenizer.json").read_text() == (folder / "base" / "tokenizer.json").read_text()
    assert run("evaluate", "--prefill", "sum", "--data", "sum.jsonl", "--out", "accuracy.json") == 0
    found = json.loads((folder / "accuracy.json").read_text())["rows"][0]
    assert (found["method"], found["exact_match"], found["requests"]) == ("full", 1.0, 4)


def test_an_adapter_is_kept_in_pefts_form_beside_the_merged_weights(folder: Path) -> None:
    pytest.importorskip("safetensors")
    import torch  # noqa: PLC0415
    from safetensors.torch import load_file  # noqa: PLC0415

    assert run("tune", *BASE, "--out", "adapted", "--method", "lora", "--lora-rank", "4", "--lora-alpha", "8") == 0
    config = json.loads((folder / "adapted" / "adapter" / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["peft_type"]) == (4, 8.0, "LORA")
    adapter = load_file(folder / "adapted" / "adapter" / "adapter_model.safetensors")
    base, merged = (load_file(folder / name / "model.safetensors") for name in ("base", "adapted"))
    for name in (f"model.layers.{i}.{part}" for i in (0, 1) for part in ("self_attn.q_proj", "mlp.down_proj")):
        first, second = (adapter[f"base_model.model.{name}.{which}.weight"] for which in ("lora_A", "lora_B"))
        torch.testing.assert_close(merged[f"{name}.weight"], base[f"{name}.weight"] + second @ first * 2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("tune", *BASE, "--model", "nowhere", "--out", "x"), "nowhere: has no config.json"),
        (("tune", *BASE, "--method", "full", "--decoder-quant", "fp8", "--out", "x"), "must be prefill-only"),
        (("tune", *BASE, "--data", "base/config.json", "--out", "x"), "base/config.json:1: not JSON"),
        (("tune", *BASE, "--out", "sort.test.jsonl"), "sort.test.jsonl: cannot be written (File exists)"),
        (("tune", *BASE, "--out", "base/../base"), "base/../base: is the base model's own directory"),
        (("tune", *BASE, "--out", "done"), "done: a finished training is there"),
        (("evaluate", "--prefill", "done", "--data", "sort.test.jsonl"), "--decode: a prefill module does not decode"),
        (
            ("evaluate", "--prefill", "base", "--prefill", "base", "--data", "sort.test.jsonl"),
            "base: is base on sort with seed 0, as another one is",
        ),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    (folder / "done").mkdir()
    (folder / "done" / "tuning.json").write_text('{"method": "prefill-only"}')
    assert run(*words) == 2
    error = capsys.readouterr().err
    # Lines of progress begin with the time.
    (line,) = [line for line in error.splitlines() if not line.startswith(" ")]
    assert message in line


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (
            "sort.test.jsonl/x.json",
            "sort.test.jsonl/x.json: cannot be written (Not a directory), must be an accuracy file",
        ),
        ("other.json", "other.json: is no accuracy file, must be one, or not be there"),
    ],
)
def test_what_was_measured_is_told_where_it_cannot_be_written(
    folder: Path, capsys: pytest.CaptureFixture[str], out: str, message: str
) -> None:
    (folder / "other.json").write_text('{"model": "base", "rows": []}')
    assert run("evaluate", "--prefill", "base", "--data", "sort.test.jsonl", "--out", out) == 2
    said = capsys.readouterr()
    assert "| base |" in said.out
    assert message in said.err
