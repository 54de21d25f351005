"""vLLM's engines with the connector of files answer as the trainer's modules; its own scheduler, half a minute each."""

import json
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("vllm")

from profiler.progress import Progress
from profiler.start import EngineStartError
from profiler.tuning import handover as verb
from profiler.tuning.choices import Boundary
from profiler.tuning.handover import handover
from profiler.tuning.methods import trainable_copy
from profiler.tuning.orders import HandoverOrder
from sunsim.errors import InputError
from tests.profiler.tuning.tiny import changed, sorting, tiny


@pytest.fixture
def order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HandoverOrder:
    monkeypatch.setattr(verb, "ENGINE", "tests.profiler.tuning.engine_on_cpu")
    base = tiny()
    base.save_pretrained(tmp_path / "base")
    changed(trainable_copy(base)).save_pretrained(tmp_path / "tuned")
    # Of one block of 16 tokens, and of several; the last token first of a block, last of one, and between.
    rows = [{"prompt_token_ids": e.prompt, "response_token_ids": e.response} for e in sorting(40, longest=40)]
    (tmp_path / "sort.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return HandoverOrder(
        tmp_path / "tuned", tmp_path / "base", tmp_path / "sort.jsonl", tmp_path / "out", max_tokens=12, dtype="float32"
    )


@pytest.mark.parametrize("boundary", get_args(Boundary))
def test_engines_answer_as_the_modules(order: HandoverOrder, boundary: Boundary) -> None:
    found = handover(replace(order, boundary=boundary), "", Progress())
    assert (found["requests"], found["equal"], found["differences"]) == (40, 40, [])
    # The decode module by itself says something else, so it is the tuned module's KV that was read.
    assert found["answered_alike_by_the_decode_module_alone"] < 4


def test_an_engine_that_does_not_start_is_said_in_one_line(order: HandoverOrder) -> None:
    with pytest.raises(EngineStartError, match=r"the prefill engine failed: .*; its log is .*prefill\.log"):
        handover(replace(order, max_tokens=500), "", Progress())


def test_a_prompt_of_one_token_is_refused(order: HandoverOrder) -> None:
    order.data.write_text('{"prompt_token_ids": [5], "response_token_ids": [6]}\n')
    with pytest.raises(InputError, match="must have two or more"):
        handover(order, "", Progress())
