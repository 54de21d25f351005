"""Cards as their makers' data sheets have them: `cards.yaml`."""

from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from ruamel.yaml import YAML

from sunsim.errors import InputError

FILE = Path(__file__).with_name("cards.yaml")


class Card(BaseModel):
    """One card.

    Attributes:
        memory_mib: as the card's own tool shows it.
        memory_gb_s, bf16_tflops, fp8_tflops: peaks, matrix products without sparsity.
        processors: streaming multiprocessors, or compute units.
        link_gb_s: to other cards of one host, both directions together.
        source: where the figures stand.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    card: str
    architecture: str
    memory_mib: int = Field(gt=0)
    memory_gb_s: float = Field(gt=0)
    bf16_tflops: float = Field(gt=0)
    fp8_tflops: float | None = Field(default=None, gt=0)
    processors: int = Field(gt=0)
    link: Literal["NVLink", "Infinity Fabric", "PCIe"]
    link_gb_s: float = Field(gt=0)
    source: str

    def tflops(self, *, fp8: bool) -> float:
        """Of matrix products: in FP8 where the card computes in it, else in BF16."""
        return self.fp8_tflops or self.bf16_tflops if fp8 else self.bf16_tflops


@cache
def cards() -> dict[str, Card]:
    """By the name that a profile has as its `gpu`."""
    read = YAML(typ="safe").load(FILE.read_text(encoding="utf-8"))
    return {name: Card.model_validate(card) for name, card in read.items()}


def named_card(gpu: str, option: str) -> Card:
    """The card of that name.

    Args:
        option: that it came from, for the message.

    Raises:
        InputError: there is none.
    """
    if gpu not in cards():
        message = f"no card {gpu} is known, must be one of {', '.join(cards())}"
        raise InputError(message, option)
    return cards()[gpu]
