"""A request as one worker sees it."""

from collections.abc import Callable
from enum import Enum

from sunsim.cluster.pulling import Pulling

UNSET = -1
NEVER = 2**63 - 1
"""A moment that does not come, the last that int64 picoseconds have."""


class KV(Enum):
    """Where the KV cache of a prompt comes from when a worker admits the request."""

    COMPUTE = "compute"  # the worker prefills it
    GIVEN = "given"  # it counts as already there
    PULL = "pull"  # it is transferred; place and blocks are held meanwhile


COMPUTE, PULL = KV.COMPUTE, KV.PULL  # an enum's members take long to look up


class Sequence:
    """One request on one worker. Times are integer picoseconds, `UNSET` until they happen.

    Attributes:
        request: row of the request in the workload.
        model: index of its model.
        prompt_tokens: length of the prompt.
        known_tokens: tokens whose KV the next output needs: the prompt and every output scheduled so far.
        computed_tokens: of these, the tokens scheduled so far.
        outputs_left: output tokens not scheduled yet.
        kv: where the prompt's KV comes from at the next admission.
        pulling: what beginning to pull its KV costs the worker's host; None: nothing.
        post_ps: from the end of what else its host begins before until it has begun this.
        held_tokens: of the prompt, those whose KV is there or comes with `kv` GIVEN or PULL, and is not to be computed.
        held_now: says how many that is with PULL when the worker admits it, if whoever has them may lose them before.
        cached_tokens: of the prompt, those found in the worker's prefix cache at its first admission, or if its KV is
            pulled at its last; those are not pulled.
        blocks: KV blocks held, as `KVBlocks` counts them.
        offset: context at step ``s`` is ``offset + s`` while it decodes steadily.
        last_step: step that emits its last token, `UNSET` while it does not decode steadily.
        drafts, draft_tokens, accepted_tokens: steps of it with drafts, drafts in them and those accepted, whether or not its last
            tokens were cut off at the end of its output; they count outputs that are out.
        bursts: steps in which tokens of it came out on a worker that drafts.
    """

    __slots__ = (
        "accepted_tokens",
        "blocks",
        "bursts",
        "cached_tokens",
        "computed_tokens",
        "draft_tokens",
        "drafts",
        "first_ps",
        "held_now",
        "held_tokens",
        "known_tokens",
        "kv",
        "last_ps",
        "last_step",
        "model",
        "offset",
        "outputs_left",
        "post_ps",
        "preemptions",
        "prompt_tokens",
        "pulling",
        "request",
        "scheduled_ps",
        "started_ps",
    )

    def __init__(self, request: int, model: int, prompt_tokens: int, output_tokens: int, kv: KV) -> None:
        self.request = request
        self.model = model
        self.prompt_tokens = prompt_tokens
        self.known_tokens = prompt_tokens
        self.held_tokens = prompt_tokens
        self.held_now: Callable[[], int] | None = None
        self.cached_tokens = 0
        self.computed_tokens = 0
        self.outputs_left = output_tokens
        self.kv = kv
        self.pulling: Pulling | None = None
        self.post_ps = 0
        self.blocks = 0
        self.offset = 0
        self.last_step = UNSET
        self.drafts = self.draft_tokens = self.accepted_tokens = self.bursts = 0
        self.preemptions = 0
        self.scheduled_ps = UNSET  # the scheduler took it into a step
        self.started_ps = UNSET  # that step began to run
        self.first_ps = UNSET  # its first output token is out
        self.last_ps = UNSET  # its last output token is out

    @property
    def moved_tokens(self) -> int:
        """Tokens whose KV is pulled: what is not found."""
        return self.held_tokens - self.cached_tokens

    @property
    def pulls(self) -> bool:
        """Whether its worker asks another one for KV when it has admitted it.

        It does for a whole prompt, even if it has found all of it: whoever prefilled that holds it until asked.
        """
        return self.kv is PULL and (self.moved_tokens > 0 or not self.computes_prompt)

    @property
    def computes_prompt(self) -> bool:
        """Whether the worker computes some of the prompt."""
        return self.kv is COMPUTE or self.held_tokens < self.prompt_tokens
