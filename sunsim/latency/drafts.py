"""Step times with drafts: a family of profiles, measured with several numbers of drafts each request.

vLLM calls the drafts of a request in a step its speculative tokens; `k` is their number. A profile itself is of ``k = 0``;
those of the same card, model and variant with drafts stand in the folder ``drafts`` beside it, a file a number. Between two
measured numbers a step's time is taken to lie on a straight line; beyond the largest the line through the two largest goes
on, and nothing gets cheaper.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from glob import escape
from pathlib import Path
from typing import Literal, get_args

from sunsim.errors import InputError
from sunsim.latency.attention import LengthMix
from sunsim.latency.decode import FOREVER
from sunsim.latency.model import LatencyModel, latency_model
from sunsim.latency.profile import DRAFTS, Profile, load_profile
from sunsim.latency.steps import Chunk, DecodeLine, DraftStepTimes, Outside

Method = Literal["eagle", "ngram_gpu"]
"""vLLM's names of what makes the drafts: a drafter that is a layer on the model's own states; the text so far."""
DRAFTERS: frozenset[str] = frozenset({"eagle"})
"""Methods whose drafts a drafter makes, with a KV cache of its own."""
Part = tuple[int, float]
"""A measured number of drafts, and its share in a step time; shares add up to 1."""


@dataclass(frozen=True, eq=False)
class DraftFamily:
    """Profiles that differ in the number of drafts alone, for a worker with so many at most.

    Attributes:
        profiles: by number of drafts, ascending; the first is that without, and there are others.
        most: drafts of a request that the worker is started with.
    """

    profiles: Mapping[int, Profile]
    most: int

    @classmethod
    def of(cls, base: Profile, method: Method, most: int) -> DraftFamily | None:
        """Those that were measured beside a profile without drafts; None if none was.

        Raises:
            InputError: one of the files is no profile, or of something else than its name and `base` say.
        """
        found = {}
        for path in base.path.parent.glob(f"{DRAFTS}/{escape(base.path.stem)}-{method}-k*.json"):
            number = path.stem.rpartition("-k")[2]
            if number.isdecimal() and str(int(number)) == number:  # k03 would be a second file of k3
                found[int(number)] = _checked(_read(path), base)
        return cls({0: base, **dict(sorted(found.items()))}, most) if found else None

    @classmethod
    def around(cls, profile: Profile) -> DraftFamily:
        """A profile with drafts, for workers with as many, and that without which it stands beside, if there is one."""
        drafted = profile.data.engine_args.speculative_config
        own = f"-{drafted.method}-k{drafted.num_speculative_tokens}" if drafted else ""
        base = profile.path.parent.parent / f"{profile.path.stem.removesuffix(own)}.json"
        is_beside = profile.path.parent.name == DRAFTS and base.is_file()
        return cls(({0: load_profile(base)} if is_beside else {}) | {profile.drafts: profile}, profile.drafts)

    @property
    def measured(self) -> list[int]:
        """Numbers of drafts, ascending from 0."""
        return list(self.profiles)

    @property
    def limiting(self) -> Profile:
        """Whose engine had the worker's room and host: that with the least number of drafts from `most` on, else the largest."""
        return self.profiles[next((k for k in self.measured if k >= self.most), self.measured[-1])]

    def used(self, numbers: Iterable[int]) -> dict[int, Profile]:
        """Those that a worker rests on whose steps have these numbers of drafts, that without drafts first."""
        known = {0, self.limiting.drafts} | {measured for k in numbers for measured, _ in self.parts(k)}
        return {k: profile for k, profile in self.profiles.items() if k in known}

    def parts(self, k: int) -> tuple[Part, ...]:
        """Measured numbers that a step of `k` drafts is made from, with their shares: itself, or two."""
        measured = self.measured
        if k in self.profiles:
            return ((k, 1.0),)
        i = min(bisect_left(measured, k), len(measured) - 1)
        below, above = measured[i - 1], measured[i]
        share = (k - below) / (above - below)
        return (below, 1 - share), (above, share)


def drafts_file(base: Path, method: str, k: int) -> Path:
    """Where a profile with `k` drafts stands, by the path of the one without."""
    return base.parent / DRAFTS / f"{base.stem}-{method}-k{k}.json"


def check_name(path: Path, method: str | None, k: int) -> None:
    """Whether a profile measured with `k` drafts of `method`, or with none, may be called so.

    Raises:
        InputError: `drafts_file` gives this name to a profile of another method or number, so no scenario could use it.
    """
    named = re.search(rf"-({'|'.join(get_args(Method))})-k([0-9]+)$", path.stem)
    if path.absolute().parent.name == DRAFTS and named and (named[1], int(named[2])) != (method, k):
        stated = f"{method} with {k}" if method else "none"
        wanted = f"{named[1]} with {named[2]} num_speculative_tokens"
        message = f"engine_args.speculative_config is {stated}, must be {wanted}, as the file's name says"
        raise InputError(message, path)


def _read(path: Path) -> Profile:
    """Raises InputError also where there is a folder, or a link to nothing, by the name of a profile."""
    try:
        return load_profile(path)
    except OSError as error:
        message = f"cannot be read ({error.strerror}), must be a profile with drafts, or be removed"
        raise InputError(message, path) from error


def _checked(profile: Profile, base: Profile) -> Profile:
    """Raises InputError where a profile is not what its name says."""
    drafted = profile.data.engine_args.speculative_config
    check_name(profile.path, drafted.method if drafted else None, profile.drafts)
    for name in ("gpu", "model", "variant", "block_size"):
        own, other = getattr(profile.data, name), getattr(base.data, name)
        if own != other:
            message = f"{name} is {own}, must be {other}, as in the profile without drafts, {base.name}"
            raise InputError(message, profile.path)
    for name in ("decode_points", "prefill_points"):
        if not getattr(profile.data, name):
            message = f"has no {name}, must have some: workers with drafts compute prompts too, of preempted requests"
            raise InputError(message, profile.path)
    if profile.gpus != base.gpus:
        message = f"engine_args.tensor_parallel_size is {profile.gpus}, must be {base.gpus}, as in the profile without drafts, {base.name}"
        raise InputError(message, profile.path)
    return profile


@dataclass(frozen=True, eq=False)
class DraftTimes:
    """Step times of a worker whose requests have drafts; see `DraftWorkerTimes`.

    What the host takes is that of the engine whose room the worker has.

    Attributes:
        family: measured.
        mix: the lengths that meet in its batches.
    """

    family: DraftFamily
    mix: LengthMix

    @cached_property
    def host(self) -> LatencyModel:
        """Of the engine whose room the worker has; it knows the way to and from the front end too."""
        return self.of(self.family.limiting.drafts)

    def of(self, measured: int) -> LatencyModel:
        """Step times with a measured number of drafts."""
        base = self.family.profiles.get(0) if measured else None
        plain = latency_model(base, self.mix, None) if base else None
        return latency_model(self.family.profiles[measured], self.mix, None, plain)

    @property
    def pause_ps(self) -> int:
        return self.host.pause_ps

    def decode_line(self, batch: int, context_tokens: int) -> DecodeLine:
        return self.decode_line_k(batch, context_tokens, self.family.most)

    def decode_line_k(self, batch: int, context_tokens: int, k: int) -> DecodeLine:
        lines = self._lines.get((batch, k)) or self._make_lines(batch, k)
        return next(line for line in lines if context_tokens < line.limit_tokens)

    @cached_property
    def _lines(self) -> dict[tuple[int, int], list[DecodeLine]]:
        """Those that were asked for, by the number of decodes and of their drafts; each list by rising context, to the end."""
        return {}

    def _make_lines(self, batch: int, k: int) -> list[DecodeLine]:
        parts = self.family.parts(k)
        self._lines[batch, k] = made = []
        context_tokens = 0
        while context_tokens < FOREVER:
            lines = [self.of(measured).decode_line(batch, context_tokens) for measured, _ in parts]
            made.append(lines[0] if len(lines) == 1 else self._line_between(lines, parts[1][1], k))
            context_tokens = made[-1].limit_tokens
        return made

    def _line_between(self, lines: list[DecodeLine], share: float, k: int) -> DecodeLine:
        """Of `k` drafts, which were not measured, from a line with fewer and one with more."""
        below, above = lines
        return DecodeLine(
            _between(below.base_ps, above.base_ps, share),
            _between(below.slope_ps, above.slope_ps, share),
            min(below.limit_tokens, above.limit_tokens),
            self._outside(k, below.outside, above.outside),
        )

    def chunked_step(self, batch: int, context_tokens: int, chunks: list[Chunk]) -> tuple[int, Outside | None]:
        return self.chunked_step_k(batch, context_tokens, chunks, self.family.most)

    def chunked_step_k(
        self, batch: int, context_tokens: int, chunks: list[Chunk], k: int
    ) -> tuple[int, Outside | None]:
        parts = self.family.parts(k)
        steps = [self.of(measured).step_with_drafts(batch, context_tokens, chunks) for measured, _ in parts]
        if len(steps) == 1:
            return steps[0]
        (below_ps, below), (above_ps, above) = steps
        return _between(below_ps, above_ps, parts[1][1]), self._outside(k, below, above)

    def _outside(self, k: int, below: Outside | None, above: Outside | None) -> Outside | None:
        """Of a number of drafts that was not measured."""
        return below or above or ("drafts" if k > self.family.measured[-1] else None)

    def launch_ps(self, tokens: int, nth: int) -> int:
        return self.host.launch_ps(tokens, nth)

    def lead_ps(self, tokens: int) -> int:
        return self.host.lead_ps(tokens)

    def take_in_ps(self, prompt_tokens: int) -> int:
        return self.host.take_in_ps(prompt_tokens)

    def tail_ps(self, tokens: int) -> int:
        return self.host.tail_ps(tokens)

    def stalls(self, offset: float) -> Iterator[tuple[int, int]]:
        return self.host.stalls(offset)


@dataclass(frozen=True, eq=False)
class TokenTimes:
    """What a token of each request takes in the mean, where `DraftTimes` have a step: the step over the tokens that it emits.

    Attributes:
        times: of steps with drafts.
        tokens: that a request emits in a step with so many drafts in the mean, by the number of drafts.
        by_batch: drafts by the number of requests; None: as many as the worker was started with.
    """

    times: DraftStepTimes
    tokens: tuple[float, ...]
    by_batch: tuple[int, ...] | None

    def decode_line(self, batch: int, context_tokens: int) -> DecodeLine:
        drafts = len(self.tokens) - 1 if self.by_batch is None else self.by_batch[min(batch, len(self.by_batch) - 1)]
        base_ps, slope_ps, limit_tokens, outside = self.times.decode_line_k(batch, context_tokens, drafts)
        tokens = self.tokens[drafts]
        return DecodeLine(round(base_ps / tokens), round(slope_ps / tokens), limit_tokens, outside)


def _between(below_ps: int, above_ps: int, share: float) -> int:
    """On the line through times with fewer and more drafts, `share` of the way; beyond the latter never less than it."""
    value_ps = round(below_ps + (above_ps - below_ps) * share)
    return value_ps if share <= 1 else max(value_ps, above_ps)
