"""Models as Hugging Face directories: config.json, safetensors, tokenizer; what vLLM and transformers load."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from profiler.tuning.methods import LoraLinear
from sunsim.errors import InputError, clipped

# Bars of its own would go through the lines of progress.
logging.disable_progress_bar()

# Beside the weights: how they came to be.
TUNING_FILE = "tuning.json"

# All but these of a model's directory is its tokenizer's, or for people.
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "chat_template.jinja",
)


def load_model(folder: Path, dtype: torch.dtype, device: str) -> Any:
    """A causal LM for tuning and evaluation; nothing is fetched.

    Raises:
        InputError: no model there that transformers can load.
    """
    if not (folder / "config.json").is_file():
        msg = "has no config.json, must be the directory of a Hugging Face causal LM"
        raise InputError(msg, folder)
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, local_files_only=True, attn_implementation="sdpa"
        )
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = clipped(str(error).strip().splitlines()[0], 200)
        msg = f"cannot be loaded ({reason}), must be a causal LM that transformers knows"
        raise InputError(msg, folder) from error
    return model.to(device).eval()


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer, or None where the directory has none."""
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json")):
        return None
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = clipped(str(error).strip().splitlines()[0], 200)
        msg = f"its tokenizer cannot be loaded ({reason}), must be one that transformers knows"
        raise InputError(msg, folder) from error


def parameters(model: Any) -> int:
    """Weights, each counted once."""
    return sum(weight.numel() for weight in model.parameters())


def stop_token_ids(model: Any) -> list[int]:
    """The end-of-sequence tokens that the model's configuration names, the one for training first."""
    for config in (model.generation_config, model.config):
        found = getattr(config, "eos_token_id", None)
        if found is not None:
            return [found] if isinstance(found, int) else list(found)
    return []


def save_model(model: Any, source: Path, out: Path, how: dict[str, Any]) -> None:
    """Writes a model as a directory.

    Args:
        model: its weights, in their dtype.
        source: the directory of the base model, whose tokenizer files are copied.
        out: the directory, another one.
        how: what `TUNING_FILE` says.
    """
    model.save_pretrained(out)
    for name in _TOKENIZER_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, out / name)
    (out / TUNING_FILE).write_text(json.dumps(how, indent=1) + "\n", encoding="utf-8")


def save_adapter(model: Any, out: Path, *, base: str, rank: int, alpha: float) -> None:
    """Writes the adapters of `profiler.tuning.methods.add_lora` in PEFT's form, which vLLM serves beside the base.

    Args:
        model: with adapters, not merged yet.
        out: the directory.
        base: where the base model is, as the adapter names it.
        rank: of the adapters.
        alpha: of the adapters.
    """
    weights, targets = {}, set()
    for path, module in model.named_modules():
        if isinstance(module, LoraLinear):
            targets.add(path.rsplit(".", 1)[-1])
            for name in ("lora_A", "lora_B"):
                weights[f"base_model.model.{path}.{name}.weight"] = getattr(module, name).detach().contiguous()
    out.mkdir(parents=True, exist_ok=True)
    save_file(weights, out / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": rank,
        "lora_alpha": alpha,
        "target_modules": sorted(targets),
        "bias": "none",
        "lora_dropout": 0.0,
    }
    (out / "adapter_config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
