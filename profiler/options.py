"""Options that verbs share: which engine to start, for how long, and where its log goes."""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from profiler import shapes
from profiler.settings import (
    DEFAULT_ADAPTERS,
    EAGLE,
    KV_CACHE_DTYPES,
    NGRAM,
    EngineSettings,
    lora_settings,
    speculative_settings,
)

DEFAULTS = EngineSettings()


class Variant(StrEnum):
    """Weights: as published, 4-bit AWQ, or FP8 that vLLM makes of those published."""

    bf16 = "bf16"
    awq = "awq"
    fp8 = "fp8"


def of_vllm(what: str, *names: str) -> Any:
    """An option of vLLM's, under its name; a switch must be given it, or it would get a `--no-` beside it."""
    return typer.Option(*names, help=what, rich_help_panel="Engine, by vLLM's names")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """A field an option of the same name."""

    model: Annotated[str, typer.Option(help=f"One of {', '.join(shapes.model_names())}, or a config.json.")]
    variant: Annotated[Variant, typer.Option(help="Weights as published, 4-bit AWQ, or FP8 by vLLM.")] = Variant.bf16
    weights: Annotated[Path | None, typer.Option(help="Directory of weights; random ones without it.")] = None
    gpu_name: Annotated[str, typer.Option(help="Name of the card in profile paths.")] = "h100-80gb"
    lora_rank: Annotated[
        int | None, typer.Option(help="Requests use LoRA adapters of this rank, in turn; their weights are random.")
    ] = None
    adapters: Annotated[
        int | None,
        typer.Option(help=f"How many adapters, all on the GPU; {DEFAULT_ADAPTERS} if only --lora-rank is given."),
    ] = None
    speculative: Annotated[
        str | None, typer.Option(help=f"Steps with drafts, by vLLM's method {EAGLE} or {NGRAM}.")
    ] = None
    num_speculative_tokens: Annotated[int | None, of_vllm("Drafts a request has in a step.")] = None
    num_speculative_tokens_per_batch_size: Annotated[
        str | None, of_vllm("Drafts by the requests in a step, [[from, to, drafts], ...].")
    ] = None
    quick: Annotated[bool, typer.Option("--quick", help="A few seconds of everything: a smoke test.")] = False
    budget_s: Annotated[
        float | None, typer.Option(help="Seconds for everything; what would come too late is left out.")
    ] = None
    log_dir: Annotated[Path | None, typer.Option(help="Keep the engine's log and all recorded steps here.")] = None
    max_num_seqs: Annotated[int, of_vllm("Most requests in a step.")] = DEFAULTS.max_num_seqs
    max_num_batched_tokens: Annotated[int, of_vllm("Most tokens in a step.")] = DEFAULTS.max_num_batched_tokens
    max_model_len: Annotated[int, of_vllm("Most tokens of a request.")] = DEFAULTS.max_model_len
    gpu_memory_utilization: Annotated[float, of_vllm("Share of the GPU's memory.")] = DEFAULTS.gpu_memory_utilization
    enable_prefix_caching: Annotated[
        bool, of_vllm("Keep KV for prompts that begin alike.", "--enable-prefix-caching")
    ] = DEFAULTS.enable_prefix_caching
    kv_cache_dtype: Annotated[str, of_vllm(f"One of {', '.join(KV_CACHE_DTYPES)}.")] = DEFAULTS.kv_cache_dtype
    tensor_parallel_size: Annotated[int, of_vllm("GPUs that share the model.")] = DEFAULTS.tensor_parallel_size

    def settings(self, **more: Any) -> EngineSettings:
        """The engine's, with more of them; raises ValueError for what it would not take."""
        engines_own = set(EngineSettings.__slots__) - {"speculative"}
        return EngineSettings(
            **{f.name: getattr(self, f.name) for f in fields(self) if f.name in engines_own},
            lora=lora_settings(self.lora_rank, self.adapters),
            speculative=speculative_settings(
                self.speculative, self.num_speculative_tokens, self.num_speculative_tokens_per_batch_size
            ),
            **more,
        )

    def order(self) -> dict[str, Any]:
        """What every order has, but the settings."""
        names = ("model", "weights", "gpu_name", "quick", "budget_s", "log_dir")
        return {name: getattr(self, name) for name in names} | {"variant": self.variant.value}


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """The command with an option a field in place of its parameters that are dataclasses, options that must be given first."""
    hints = get_type_hints(command, include_extras=True)
    orders = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    signature = inspect.signature(command)
    own = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in signature.parameters.items()
        if name not in orders
    ]
    options = [option for order in orders.values() for option in _options(order)]

    @wraps(command)
    def called(**given: Any) -> None:
        made = {name: _made(order, given) for name, order in orders.items()}
        command(**made, **{parameter.name: given[parameter.name] for parameter in own})

    everything = sorted([*own, *options], key=lambda parameter: parameter.default is not inspect.Parameter.empty)
    called.__signature__ = signature.replace(parameters=everything)  # type: ignore[attr-defined]
    return called


def _options(order: Any) -> list[inspect.Parameter]:
    """An option a field of a dataclass; for a field that is another one, those of its fields."""
    found: list[inspect.Parameter] = []
    for name, hint, default in _fields(order):
        found += (
            _options(hint)
            if is_dataclass(hint)
            else [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)]
        )
    return found


def _made(order: Any, given: dict[str, Any]) -> Any:
    """The dataclass of what was given for its options."""
    return order(
        **{name: _made(hint, given) if is_dataclass(hint) else given[name] for name, hint, _ in _fields(order)}
    )


def _fields(order: Any) -> list[tuple[str, Any, Any]]:
    """(name, type with its option, default) of each."""
    hints = get_type_hints(order, include_extras=True)
    return [
        (field.name, hints[field.name], inspect.Parameter.empty if field.default is MISSING else field.default)
        for field in fields(order)
    ]
