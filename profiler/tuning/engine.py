"""`python -m profiler.tuning.engine JOB.json`: one vLLM engine that prefills for another, or decodes what one prefilled.

A process of its own, so that the next engine finds the GPU as it was.
"""

import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from profiler.start import ENVIRONMENT, require_gpu


@dataclass(frozen=True, slots=True)
class EngineJob:
    """What an engine answers.

    role: kv_producer or kv_consumer. recomputed: as `PromptFilesConnector` has it. prompts: token ids. out: a JSON
    file, the answers' token ids.
    """

    model: str
    dtype: str
    role: str
    kv_folder: str
    recomputed: int
    prompts: list[list[int]]
    max_tokens: list[int]
    stop_token_ids: list[int]
    max_model_len: int
    gpu_memory_utilization: float
    out: str

    def write(self, path: Path) -> None:
        """As `main` reads it."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")


def main(path: str) -> None:
    """Starts the engine, answers greedily and ends."""
    job = EngineJob(**json.loads(Path(path).read_text(encoding="utf-8")))
    for name, value in {**ENVIRONMENT, "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}.items():
        os.environ.setdefault(name, value)
    require_gpu()
    from vllm import LLM, SamplingParams  # noqa: PLC0415

    llm = LLM(**arguments(job))
    sampling = [
        SamplingParams(temperature=0.0, max_tokens=limit, stop_token_ids=job.stop_token_ids, detokenize=False)
        for limit in job.max_tokens
    ]
    outputs = llm.generate([{"prompt_token_ids": prompt} for prompt in job.prompts], sampling, use_tqdm=False)
    answers = [list(output.outputs[0].token_ids) for output in outputs]
    Path(job.out).write_text(json.dumps(answers), encoding="utf-8")


def arguments(job: EngineJob) -> dict[str, Any]:
    """Of vLLM's LLM.

    Graphs and pieces of prompts are off, as the connector has its turn in every layer of a whole prompt.
    """
    from vllm.config import KVTransferConfig  # noqa: PLC0415

    return {
        "model": job.model,
        "dtype": job.dtype,
        "skip_tokenizer_init": True,
        "generation_config": "vllm",
        "enforce_eager": True,
        "enable_chunked_prefill": False,
        "enable_prefix_caching": False,
        "max_model_len": job.max_model_len,
        "max_num_seqs": 256,
        "max_num_batched_tokens": max(8192, job.max_model_len),
        "gpu_memory_utilization": job.gpu_memory_utilization,
        "seed": 0,
        "kv_transfer_config": KVTransferConfig(
            kv_connector="PromptFilesConnector",
            kv_connector_module_path="profiler.tuning.kv_files",
            kv_role=job.role,
            kv_connector_extra_config={"shared_storage_path": job.kv_folder, "recomputed": job.recomputed},
        ),
    }


if __name__ == "__main__":
    main(sys.argv[1])
