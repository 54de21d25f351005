"""Where a profile was measured: card, host, versions, and the kernels that the engine's log names."""

import os
import platform
import re
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

# Data sheets, GB/s; the longest name that occurs in the card's own decides.
MEMORY_BANDWIDTH_GB_S = {
    "H100 80GB HBM3": 3352,
    "H100 PCIe": 2039,
    "H100 NVL": 3938,
    "H200": 4800,
    "A100-SXM4-80GB": 2039,
}

_TELLING = re.compile(
    r"attention backend|(?:Using|Selected) .*(?:backend|Method|Kernel|kernel|FlashAttention)|Marlin|Machete|cudagraph|CUDA graph"
    r"|KV cache|Model loading took|torch\.compile|init engine|[Mm]odel [Rr]unner|PunicaWrapper|Asynchronous scheduling|dtype"
)
_NOISE = re.compile(r"Initializing a V1 LLM engine|non-default args|it/s\]|%\|")
_ATTENTION = re.compile(r"Using (?:AttentionBackendEnum\.)?(\w+) (?:attention )?backend", re.IGNORECASE)
_FLASH = re.compile(r"FlashAttention version (\d)", re.IGNORECASE)
_GEMM = re.compile(r"(?:Using|Selected) (\w+) for \w*LinearMethod|Using (\w*(?:Marlin|Machete)\w*)")
_LORA = re.compile(r"Using (PunicaWrapper\w+)")

MAX_LOG_LINES = 60


def card() -> dict[str, Any]:
    """name, memory_mib and driver of the first GPU, as nvidia-smi gives them; name "none" without one."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, check=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError):
        return {"name": "none", "memory_mib": 0, "driver": None}
    name, memory_mib, driver = (field.strip() for field in answer.splitlines()[0].split(","))
    return {"name": name, "memory_mib": int(memory_mib), "driver": driver}


def memory_bandwidth_gb_s(card_name: str) -> int | None:
    """Data-sheet memory bandwidth, or None for a card not in the table."""
    known = [name for name in MEMORY_BANDWIDTH_GB_S if name in card_name]
    return MEMORY_BANDWIDTH_GB_S[max(known, key=len)] if known else None


def host() -> dict[str, Any]:
    """CPU model, usable cores, kernel."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        found = re.search(r"model name\s*:\s*(.+)", info.read_text())
        cpu = found[1].strip() if found else cpu
    return {"cpu": cpu, "cores": len(os.sched_getaffinity(0)), "kernel": platform.release()}


def versions() -> dict[str, str | None]:
    """Of Python, torch, CUDA, vLLM, the driver."""

    def installed(package: str) -> str | None:
        try:
            return metadata.version(package)
        except metadata.PackageNotFoundError:
            return None

    try:
        import torch  # noqa: PLC0415

        cuda: str | None = torch.version.cuda
    except ImportError:
        cuda = None
    return {
        "python": platform.python_version(),
        "torch": installed("torch"),
        "cuda": cuda,
        "vllm": installed("vllm"),
        "driver": card()["driver"],
    }


def kernels(engine_log: str) -> dict[str, Any]:
    """Kernels as the engine's log names them; gemm is "unquantized" where it names none, lora is there only with LoRA."""
    lines = [line.strip() for line in engine_log.splitlines() if _TELLING.search(line) and not _NOISE.search(line)]
    attention = [found[1] for line in lines if (found := _ATTENTION.search(line))]
    flash = [f"FA{found[1]}" for line in lines if (found := _FLASH.search(line))]
    gemm = [found[1] or found[2] for line in lines if (found := _GEMM.search(line))]
    lora = [found[1] for line in lines if (found := _LORA.search(line))]
    return {
        "attention": " ".join(dict.fromkeys([*attention, *flash])) or None,
        "gemm": ", ".join(dict.fromkeys(gemm)) or "unquantized",
        **({"lora": lora[0]} if lora else {}),
        "log_lines": [line[:300] for line in dict.fromkeys(lines)][:MAX_LOG_LINES],
    }
