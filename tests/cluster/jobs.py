"""Requests as vLLM's scheduler has them, the steps that they are in, and the blocks that they hold."""

from __future__ import annotations

from dataclasses import dataclass, field

from sunsim.cluster.engine_config import EngineConfig
from sunsim.cluster.sequence import KV, Sequence
from tests.cluster.plain_blocks import Keys, PlainBlocks


@dataclass(eq=False)
class Job:
    """A request with the numbers that vLLM keeps of it; behind each, vLLM's name.

    What the scheduler knows lags a step behind what the card has made: a step is composed while one is in flight, and counts
    all drafts of that as accepted.
    """

    sequence: Sequence
    outputs: int  # max_tokens
    known: int  # num_tokens: prompt and outputs that are out
    made: int = 0  # outputs on the card: those of steps in flight, too, and of its last burst what is cut off
    burst: int = 0  # of these, the last step's
    placeholders: int = 0  # num_output_placeholders: the most that steps in flight can make
    computed: int = 0  # num_computed_tokens
    drafts: int = 0  # len(spec_token_ids): for its next step
    emitted: int = 0
    blocks: list[int] = field(default_factory=list)
    preempted: bool = False
    begun: bool = False  # it has been through a step that made a token
    done: bool = False
    plan: list[int] = field(default_factory=list)  # drafts accepted in its next steps, where they are planned
    planned: int = 0  # for so many drafts in a step

    @property
    def computing(self) -> bool:
        """Whether it has tokens to compute before it makes its next one."""
        return self.preempted or not self.begun

    @property
    def prompt(self) -> bool:
        """Whether these are of its prompt, too."""
        return self.computing and self.sequence.computes_prompt

    @property
    def left(self) -> int:
        """What a step may compute of it: vLLM's num_new_tokens."""
        return self.known + self.drafts + self.placeholders - self.computed

    @property
    def ends(self) -> bool:
        """Whether the step in flight surely makes its last token, even if it accepts no draft."""
        return self.placeholders > 0 and self.emitted + 1 >= self.outputs

    @property
    def on_card(self) -> int:
        """Its tokens, with those that steps in flight make."""
        return self.known - self.emitted + self.made


@dataclass
class Out:
    """What a step makes of a request: one token and the accepted ones of its drafts."""

    job: Job
    drafts: int
    accepted: int


@dataclass
class Step:
    end: int  # on the GPU
    emitting: list[Out]
    empty: bool


class JobBlocks(PlainBlocks):
    """The blocks that jobs hold, with room for what a drafter looks ahead."""

    def __init__(self, config: EngineConfig, keys: Keys | None) -> None:
        keys = keys if config.enable_prefix_caching else None
        super().__init__(config.num_gpu_blocks, config.block_size, keys, drop_last=config.use_eagle)
        self.reuse_answers = config.reuse_answers
        self.drafts = config.drafts
        self.deferred: list[list[int]] = []
        self.pinned: dict[Sequence, list[int]] = {}
        self.queries = 0
        self.hits = 0

    def give_back_deferred(self) -> None:
        for blocks in self.deferred:
            self.give_back(blocks)
        self.deferred.clear()

    def unpin(self, sequence: Sequence) -> None:
        self.give_back_deferred()
        self.give_back(self.pinned.pop(sequence))

    def room(self, tokens: int) -> int:
        """Tokens for which whoever computes up to so many must have blocks."""
        return min(tokens + self.drafts.lookahead, self.drafts.max_model_len) if self.drafts else tokens

    def more(self, job: Job, tokens: int) -> int:
        """Blocks that it lacks for that."""
        return -(-self.room(tokens) // self.size) - len(job.blocks)

    def allocate(self, job: Job, tokens: int) -> None:
        """Takes them, or what there is of them."""
        if (more := self.more(job, tokens)) > 0:
            job.blocks += self.take(min(more, len(self.free)))

    def allocate_known(self, job: Job) -> None:
        """Takes those for all that is known of it, without room for drafts."""
        if (more := -(-job.known // self.size) - len(job.blocks)) > 0:
            job.blocks += self.take(more)

    def name_full(self, job: Job, tokens: int) -> None:
        """Its full blocks can be found; of its tokens, those still to come out have no name yet."""
        if not self.keys:
            return
        tokens = min(tokens, job.known)
        if not self.reuse_answers:
            tokens = min(tokens, job.sequence.prompt_tokens)
        self.name(job.blocks, job.sequence.request, tokens)

    def held(self, job: Job) -> int:
        """Tokens of one that waits that need not be computed wherever it goes."""
        return 0 if job.sequence.kv is KV.COMPUTE else min(job.sequence.held_tokens, job.known - 1)

    def take_found(self, job: Job, found: list[int]) -> None:
        """Begins with a waiting request, for which so many blocks were found."""
        self.touch(found)
        job.blocks = found
        hits, sequence = len(found) * self.size, job.sequence
        job.computed = max(hits, self.held(job))
        if not job.preempted:
            sequence.cached_tokens = min(hits, sequence.prompt_tokens)
            if self.keys:
                self.queries += job.known
                self.hits += hits
        if sequence.kv is KV.PULL:
            sequence.cached_tokens = min(hits, sequence.prompt_tokens)
