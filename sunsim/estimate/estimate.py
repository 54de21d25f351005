"""`sunsim profiles estimate`: a profile of a card and model that nobody measured."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

from sunsim.errors import InputError
from sunsim.estimate.cards import named_card
from sunsim.estimate.errors import errors_of
from sunsim.estimate.scale import scaled, target_roofline
from sunsim.estimate.shapes import sharing_fault
from sunsim.estimate.source import Source
from sunsim.estimate.worker import VARIANTS, Worker, quant_method, read_config
from sunsim.files import replacing
from sunsim.latency.drafts import drafts_file
from sunsim.latency.profile import Profile, load_profile
from sunsim.report.origin import origin


def estimate(
    source: Profile,
    gpu: str | None = None,
    model: Path | None = None,
    tensor_parallel_size: int | None = None,
    variant: str | None = None,
    out: Path | None = None,
) -> Profile:
    """Writes the estimate and returns it as loaded. What is None is as at the source.

    Args:
        source: measured.
        gpu: a card's name, as `cards.yaml` has it.
        model: its config.json.
        tensor_parallel_size: GPUs that share it.
        variant: of its weights, "bf16", "awq" or "fp8".
        out: where to; without it a file named for what is estimated, in the working directory, or, of a profile with
            drafts, in a folder of it where `sunsim.latency.drafts` finds it beside that without.

    Raises:
        InputError: the card or the model is not known, does not fit, or the source is no measurement.
    """
    known = Source.of(source)
    target = _target(known, gpu, model, tensor_parallel_size, variant)
    name = _model_name(model) if model else source.data.model
    raw = scaled(known, target, name, target.variant)
    raw["estimated"] = {
        "source": source.name,
        "source_sha256": source.sha256,
        "source_origin": origin(source),
        "changed": list(known.worker.differs(target)),
        **errors_of(known, target),
        "card_source": target.card.source,
        "terms_ms": asdict(target_roofline(known, target)),
        "source_terms_ms": asdict(known.roofline),
    }
    parallel = f"-tp{target.gpus}" if target.gpus > 1 else ""
    path = out or Path(f"{target.gpu}-{name}-{target.variant}{parallel}.json")
    if out is None and (drafted := source.data.engine_args.speculative_config):
        path = drafts_file(path, drafted.method, drafted.num_speculative_tokens)
        path.parent.mkdir(exist_ok=True)
    if path.suffix != ".json":
        message = "is no name of a profile, must end in .json"
        raise InputError(message, path)
    if path.resolve() == source.path.resolve():
        message = "is the measured profile itself, must be another file"
        raise InputError(message, path)
    with replacing(path, "a profile") as staged:
        staged.write_text(json.dumps(raw), encoding="utf-8")
    return load_profile(path)


def _target(source: Source, gpu: str | None, model: Path | None, gpus: int | None, variant: str | None) -> Worker:
    own = source.worker
    card = own.card if gpu is None else named_card(gpu, "--gpu")
    config = read_config(model) if model else own.config
    if variant is not None and variant not in VARIANTS:
        message = f"is {variant}, must be one of {', '.join(VARIANTS)}"
        raise InputError(message, "--variant")
    asked = variant or quant_method(config) or own.variant
    gpus = own.gpus if gpus is None else gpus
    if fault := sharing_fault(config, gpus):
        raise InputError(fault, "--tensor-parallel-size")
    quantization = None if asked == "bf16" else asked
    return replace(own, gpu=gpu or own.gpu, card=card, config=config, quantization=quantization, gpus=gpus)


def _model_name(path: Path) -> str:
    """The file's, or its folder's if that is what tells models apart."""
    return path.resolve().parent.name if path.name == "config.json" else path.stem
