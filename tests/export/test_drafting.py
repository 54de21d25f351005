"""What is written for arms whose requests have drafts."""

from __future__ import annotations

import json
from pathlib import Path

from ruamel.yaml import YAML

from tests.export.test_export import check_flags, commands, exported, options
from tests.synthetic import write_family
from tests.test_speculative_config import SCENARIO, write

BY_BATCH = "        num_speculative_tokens_per_batch_size: [[1, 16, 3], [17, 256, 1]]\n"
NGRAM = """\
  - name: ngram
    prefill: {profile: synthetic.json, policy: isolated, workers: 2}
    decode:
      profile: synthetic.json
      policy: isolated
      workers: 2
      speculative_config: {method: ngram_gpu, num_speculative_tokens: 3, synthetic_acceptance_length: 1.6}
"""


def scenario(folder: Path) -> Path:
    path = write(folder, text=SCENARIO + BY_BATCH + NGRAM)
    write_family(folder, 3, method="ngram_gpu")
    return path


def test_a_drafter_for_the_shared_decoder_whose_kv_prefill_workers_make(tmp_path: Path) -> None:
    found = commands(scenario(tmp_path), "sun-mtp", tmp_path / "out")
    assert len(found) == 3
    for _, _, _, _, *arguments in found.values():
        check_flags(arguments)
        (value,) = options(arguments)["--speculative-config"]
        assert json.loads(value) == {
            "method": "eagle",
            "num_speculative_tokens": 3,
            "num_speculative_tokens_per_batch_size": [[1, 16, 3], [17, 256, 1]],
            "model": "/my weights/shared_drafter",
        }
    script = (tmp_path / "out" / "serve.sh").read_text()
    assert ': "${SHARED_DRAFTER:?must be the drafter for shared}"' in script
    assert script.count("acceptance rates 0.75, 0.55, 0.4 simulated") == 1


def test_the_text_so_far_needs_no_drafter_and_no_kv(tmp_path: Path) -> None:
    found = commands(scenario(tmp_path), "ngram", tmp_path / "out")
    of_stage = {log.split()[1].split("-")[0]: options(lines[4:]) for log, lines in found.items()}
    assert "--speculative-config" not in of_stage["prefill"]
    (value,) = of_stage["decode"]["--speculative-config"]
    assert json.loads(value) == {"method": "ngram_gpu", "num_speculative_tokens": 3}


def test_manifests_have_a_drafter_to_fill_in(tmp_path: Path) -> None:
    path = scenario(tmp_path)
    for target in ("llm-d", "dynamo"):
        for text in exported(path, "sun-mtp", target, tmp_path / target).values():
            assert YAML(typ="safe").load(text)
            assert '"model": "FILL-IN/shared-drafter"' in text
