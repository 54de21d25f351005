"""How right an arm's models answer: what a scenario file may say of it, and what it stands for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, model_validator

from sunsim.accuracy.measured import AccuracyFile, ExactMatch, accuracy_named, list_accuracy, load_accuracy
from sunsim.document.block import Block, FileName, Name
from sunsim.document.source import Loc, Source, refuse
from sunsim.errors import InputError, clipped, clipped_list
from sunsim.latency.profile import UNQUANTIZED, Profile, find_profile
from sunsim.roles import Module, Stage

INT4 = frozenset({"awq", "gptq", "int4"})
"""Variants of profiles whose weights are integers of 4 bit, which accuracy files call int4."""


class AccuracyBlock(Block):
    """What was measured of models tuned as an arm's are; a file's name alone stands for a block with that file.

    A completed document has a shipped file's name or an absolute path, and the tasks.

    Attributes:
        method: of tuning and serving, as the file names it; None: by the way of serving, see `method_served`. A completed
            document has None only where the file has no such method.
        tasks: those that count, each the same; all of the file if not given.
    """

    file: FileName
    method: Name | None = None
    tasks: Annotated[tuple[Name, ...], Field(strict=False, min_length=1, max_length=1000)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_a_name(cls, data: Any) -> Any:
        return {"file": data} if isinstance(data, str) else data


@dataclass(frozen=True, eq=False)
class ArmAccuracy:
    """How right an arm's models answer, as measured.

    Attributes:
        name: of the file, as the document has it.
        exact_match: None where it has not measured models served so.
    """

    name: str
    file: AccuracyFile
    method: str | None
    tasks: tuple[str, ...]
    exact_match: ExactMatch | None


def accuracy_of(block: AccuracyBlock) -> ArmAccuracy:
    """What a block of a completed document stands for.

    Raises:
        InputError: the file is no longer what was checked.
    """
    try:
        file = accuracy_named(block.file)
    except OSError as error:
        message = "cannot be read any more, must stay where it is while it is simulated with"
        raise InputError(message, block.file) from error
    tasks = block.tasks or tuple(file.data.tasks)
    if block.method is None:
        return ArmAccuracy(block.file, file, None, tasks, None)
    if block.method not in file.methods(tasks):
        message = (
            f"has no {block.method} on {clipped_list(tasks)} any more, must stay as it is while it is simulated with"
        )
        raise InputError(message, block.file)
    return ArmAccuracy(block.file, file, block.method, tasks, file.exact_match(block.method, tasks))


def completed_accuracy(
    block: AccuracyBlock, modules: Mapping[Stage, Module], profiles: Mapping[Stage, Profile], place: Loc, source: Source
) -> AccuracyBlock:
    """An arm's block with everything that it leaves out.

    Args:
        modules: of the arm's stages.
        profiles: that its stages name.
        place: where the block stands.

    Raises:
        InputError: there is no such accuracy file, or it lacks the method or a task that is asked for.
    """
    try:
        path = find_profile(block.file, source.folder)
    except OSError as error:
        must = f"must be a .json file or one of the shipped accuracy files: {', '.join(list_accuracy()) or 'none is shipped'}"
        message = f"{source.path((*place, 'file'))} is '{clipped(block.file)}', {must}"
        raise source.error((*place, "file"), message) from error
    file = load_accuracy(path)
    for index, task in enumerate(block.tasks or ()):
        if task not in file.data.tasks:
            entry = (*place, "tasks", index)
            message = f"{source.path(entry)} is '{clipped(task)}', must be one of {clipped_list(file.data.tasks)}"
            raise source.error(entry, message)
        if task in (block.tasks or ())[:index]:
            entry = (*place, "tasks", index)
            raise source.error(entry, f"{source.path(entry)} is '{clipped(task)}' again, must be there once")
    tasks = block.tasks or tuple(file.data.tasks)
    methods = file.methods(tasks)
    if block.method is not None and block.method not in methods:
        must = f"must be one that {clipped(block.file)} has on all of these tasks: {clipped_list(methods) or 'there is none'}"
        refuse("method", f"'{clipped(block.method)}'", must, place, source)
    served = (method for method in methods_served(modules, profiles) if method in methods)
    name = str(path.resolve()) if block.file.endswith(".json") else block.file
    return AccuracyBlock(file=name, method=block.method or next(served, None), tasks=tasks)


def methods_served(modules: Mapping[Stage, Module], profiles: Mapping[Stage, Profile]) -> list[str]:
    """What accuracy files call models that are served so, the best first; none where they do not measure such.

    That is an arm without decode, one whose prefill module is all models', and one with prefill weights that are quantized.

    Args:
        modules: of an arm's stages.
        profiles: of its stages.
    """
    if all(profile.adapters for profile in profiles.values()):
        return ["lora"]
    decode = Stage.COLOCATED if Stage.COLOCATED in profiles else Stage.DECODE
    prefill = modules[Stage.PREFILL] if Stage.PREFILL in profiles else Module.OWN
    if decode not in profiles or prefill is not Module.OWN or any(profile.adapters for profile in profiles.values()):
        return []
    shared = modules[decode] is Module.SHARED
    variants = {stage: profile.data.variant for stage, profile in profiles.items()}
    quantized = {stage: variant for stage, variant in variants.items() if variant != UNQUANTIZED}
    way = "prefill-only" if shared else "full"
    if not quantized:
        return [way]
    if set(quantized) != {Stage.DECODE}:
        return []
    method = f"{way}-{'int4' if quantized[Stage.DECODE] in INT4 else quantized[Stage.DECODE]}"
    return [f"{method}-tuned", method] if shared else [method]
