"""What a worker does, and for whom."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class Stage(StrEnum):
    """Which part of a request's way a worker serves."""

    PREFILL = "prefill"
    DECODE = "decode"
    COLOCATED = "colocated"

    @property
    def steps(self) -> "tuple[Stage, ...]":
        """The kinds of steps that its workers take: prefill, decode, or both."""
        return (Stage.PREFILL, Stage.DECODE) if self is Stage.COLOCATED else (self,)


class Module(StrEnum):
    """Whose weights a worker computes with."""

    OWN = "own"  # each model's own, as a whole
    ADAPTER = "adapter"  # one base for all models, each with an adapter (LoRA) on top
    SHARED = "shared"  # one frozen module for all models
    DECODER = "decoder"  # each model's own, that only decodes: prompts' KV comes from another

    @property
    def only_decodes(self) -> bool:
        """Whether a decode worker of this module cannot compute prompts with it."""
        return self in (Module.SHARED, Module.DECODER)


@dataclass(frozen=True, slots=True)
class Role:
    """What a worker does.

    Attributes:
        stage: which part of a request's way.
        model: the one model that it serves; None for all of the scenario.
        module: whose weights it computes with.
        appends: a decode worker also computes prompts of later rounds, with weights of prefill's modules if those are others.
    """

    stage: Stage
    model: str | None
    module: Module = Module.OWN
    appends: bool = False

    @property
    def prefills(self) -> bool:
        """Whether prompts are computed here."""
        return self.stage is not Stage.DECODE

    @property
    def decodes(self) -> bool:
        """Whether output tokens after the first are computed here."""
        return self.stage is not Stage.PREFILL

    @property
    def counted_as(self) -> Literal["prefill", "decode"]:
        """The stage as files have it: a worker that does both is a decode worker that prefills too."""
        return "decode" if self.decodes else "prefill"

    @property
    def recomputes(self) -> bool:
        """Whether it prefills again what it has preempted.

        A decode module that prefill does not compute with cannot prefill: the KV of a preempted prompt comes from
        elsewhere.
        """
        return self.prefills or self.appends or not self.module.only_decodes

    @property
    def serves(self) -> str:
        """The model as files have it, ``*`` for all."""
        return self.model or "*"

    @property
    def folder(self) -> str:
        """How the names of such workers begin: ``decode/m1``, ``decode/shared``."""
        return f"{self.stage}/{self.model or 'shared'}"
