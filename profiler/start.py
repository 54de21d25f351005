"""Starts an engine with every argument stated. vLLM is imported on use only, so that the rest can be read without it."""

import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from profiler.adapters import load_adapters
from profiler.engine import Engine
from profiler.engine_log import cause
from profiler.recording import STEP_LOG_VARIABLE, StepLog
from profiler.settings import MOVES_KV, EngineSettings

# Modules of our connectors.
CONNECTORS = {"ArrivedKVConnector": "profiler.connector", MOVES_KV: "profiler.nixl_connector"}


EAGLE_ARCHITECTURE = "EagleLlamaForCausalLM"
"""The drafter that vLLM has for Llama; its layer fits other models of that shape as well."""


class EngineStartError(Exception):
    """An engine does not start; says why in one line, and where its log is."""


def require_vllm() -> None:
    """Raises EngineStartError where vLLM is not installed."""
    if find_spec("vllm") is None:
        msg = "vLLM is not installed, must be where the GPU is: pip install 'sunsim[profiler]'"
        raise EngineStartError(msg)


def require_gpu() -> None:
    """Raises EngineStartError where vLLM, which must be installed, finds no device that it can use."""
    from vllm.platforms import current_platform  # noqa: PLC0415

    if current_platform.is_unspecified():
        msg = "no GPU found that vLLM can use, must run where one is"
        raise EngineStartError(msg)


ENVIRONMENT = {"VLLM_USE_FLASHINFER_SAMPLER": "0", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
"""Of every engine, where the caller has not set it."""


def set_environment(step_log: Path) -> None:
    """What the engine process inherits; anything the caller has set stays."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    os.environ[STEP_LOG_VARIABLE] = str(step_log)
    # vLLM forks its engine unless CUDA is in use, but the import path must hold for a spawned one as well.
    root = str(Path(__file__).resolve().parent.parent)
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if root not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join([root, *filter(None, paths)])


@contextlib.contextmanager
def output_to(path: Path) -> Iterator[None]:
    """Sends this process's output, and for good that of processes started meanwhile, to a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    try:
        with path.open("ab") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for descriptor, original in zip((1, 2), saved, strict=True):
            os.dup2(original, descriptor)
            os.close(original)


def kv_transfer(settings: EngineSettings) -> Any:
    """vLLM's KVTransferConfig, or None for an ordinary worker."""
    from vllm.config import KVTransferConfig  # noqa: PLC0415

    if settings.kv_connector is None:
        return None
    return KVTransferConfig(
        kv_connector=settings.kv_connector,
        kv_connector_module_path=CONNECTORS[settings.kv_connector],
        kv_role="kv_both",
        # Workers name the same model by directories of their own, which NixlConnector takes for different models.
        kv_connector_extra_config={"enforce_handshake_compat": False},
    )


def engine_arguments(
    settings: EngineSettings, model: Path, *, dummy_weights: bool, drafter: Path | None = None
) -> dict[str, Any]:
    """Arguments of vLLM's AsyncEngineArgs, without those of the KV connector."""
    return settings.arguments(drafter) | {
        "model": str(model),
        "load_format": "dummy" if dummy_weights else "auto",
        "skip_tokenizer_init": True,
        "generation_config": "vllm",
        "enable_log_requests": False,
        "disable_log_stats": False,
        "scheduler_cls": "profiler.scheduler.RecordingScheduler",
        "worker_extension_cls": "profiler.worker_extension.ProfilerWorkerExtension",
    }


def write_model(directory: Path, config: dict[str, Any]) -> Path:
    """A model directory that holds a config.json and no weights."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(config, indent=2))
    return directory


def write_drafter(directory: Path, config: dict[str, Any]) -> Path:
    """A directory with the config.json of an EAGLE drafter for a model: one of its layers, in bf16 whatever the model is."""
    drafter = {name: value for name, value in config.items() if name != "quantization_config"}
    return write_model(directory, drafter | {"architectures": [EAGLE_ARCHITECTURE], "num_hidden_layers": 1})


def start(settings: EngineSettings, model: Path, *, dummy_weights: bool, drafter: Path | None = None) -> Any:
    """vLLM's AsyncLLM. Raises EngineStartError as `require_gpu`."""
    require_gpu()
    from vllm.engine.arg_utils import AsyncEngineArgs  # noqa: PLC0415
    from vllm.v1.engine.async_llm import AsyncLLM  # noqa: PLC0415

    arguments = engine_arguments(settings, model, dummy_weights=dummy_weights, drafter=drafter)
    return AsyncLLM.from_engine_args(AsyncEngineArgs(**arguments, kv_transfer_config=kv_transfer(settings)))


@contextlib.asynccontextmanager
async def running_engine(
    settings: EngineSettings,
    model: Path,
    *,
    dummy_weights: bool,
    log_directory: Path,
    adapter: Path | None = None,
    drafter: Path | None = None,
) -> AsyncIterator[Engine]:
    """Starts an engine; its log goes to engine.log, its steps to steps.jsonl under `log_directory`.

    adapter: directory of the weights that all LoRA adapters get; needed if the settings have any.
    drafter: directory of the drafter's config.json; needed if the settings have one.

    Raises EngineStartError if it does not start.
    """
    step_log, log = log_directory / "steps.jsonl", log_directory / "engine.log"
    set_environment(step_log)
    try:
        with output_to(log):
            llm = start(settings, model, dummy_weights=dummy_weights, drafter=drafter)
    except EngineStartError:
        raise
    except Exception as error:
        msg = f"the engine did not start: {cause(log.read_text(errors='replace'), error)}; its log is {log}"
        raise EngineStartError(msg) from error
    try:
        engine = Engine(llm, settings, StepLog(step_log))
        if settings.lora and adapter:
            await load_adapters(engine, adapter, settings.lora.max_loras)
        if settings.speculative and not settings.speculative.has_drafter:
            await engine.find_drafts()
        yield engine
    finally:
        llm.shutdown()
