"""What a profile says that nobody measured: from which one it was scaled, and how far off such estimates were."""

from pydantic import Field

from sunsim.latency.document import Document, Text


class StepErrors(Document):
    """Of steps of one stage, in percent: estimates of measured profiles from other ones, changed in the same way.

    Attributes:
        typical_percent: mean size.
        slower_percent: by how much the measured steps of the kind that was underrated most were slower.
    """

    typical_percent: float = Field(ge=0, le=1000)
    slower_percent: float = Field(ge=0, le=10_000)


class Estimated(Document):
    """Where an estimate comes from.

    Attributes:
        source, source_sha256: the measured profile and its file's hash.
        source_origin: what that was measured on, in words.
        changed: in what it differs from it, of "card", "model", "variant" and "tensor parallel".
        unknown: what of that no pair of measured profiles tells the error of, in words.
        card_source: where the card's figures stand.
        decode, prefill: errors of steps; 0 where nothing that is known was changed.
        blocks_percent: mean size of the error of `num_gpu_blocks`.
    """

    source: Text
    source_sha256: Text
    source_origin: str = Field(max_length=1000)
    changed: list[Text] = Field(max_length=10)
    unknown: list[Text] = Field(max_length=10)
    card_source: str = Field(max_length=1000)
    decode: StepErrors
    prefill: StepErrors
    blocks_percent: float = Field(ge=0, le=1000)

    @property
    def judged(self) -> list[str]:
        """Changes that `decode`, `prefill` and `blocks_percent` are the errors of."""
        return [change for change in self.changed if change not in self.unknown]
