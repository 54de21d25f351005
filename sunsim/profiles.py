"""The verb `profiles`: what profiles hold, as tables and as a figure."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from plots.latency_surface import plot_latency_surface
from sunsim.errors import InputError
from sunsim.files import replacing
from sunsim.latency.model import LatencyModel
from sunsim.latency.profile import Profile, list_drafts, list_profiles, load_named
from sunsim.profile_fit import fit_blocks
from sunsim.report.blocks import Block, Report
from sunsim.report.format import ABSENT, count
from sunsim.report.origin import day, estimate_facts, origin, vllm_version
from sunsim.report.sentences import basis
from sunsim.report.text_table import TextTable

ENDINGS = (".png", ".pdf")
CONTEXTS = (256, 512, 1024, 2048, 4096, 8192, 16_384)
"""Tokens per request that the model is drawn for, as far as the profile was measured."""
MOST_BATCHES = 256
"""That a line is drawn through."""


def named_profile(name: str) -> Profile:
    """A shipped profile by its name, or one in a file.

    Raises:
        InputError: there is none.
    """
    try:
        return load_named(name)
    except FileNotFoundError as error:
        known = ", ".join([*list_profiles(), *list_drafts()]) or "none is shipped"
        message = f"no profile {name}, must be a .json file or one of: {known}"
        raise InputError(message) from error


def profiles_report(profiles: Iterable[Profile]) -> Report:
    """A profile a row: what it was measured on, and how much of it."""
    return Report("Profiles", [_overview(profiles)])


def profile_report(profile: Profile, figure: Path) -> Report:
    """One of them: what its model has learned from traffic, how far it is off there, and where the figure is.

    Of an estimate, what it was made from: its traffic is that of another profile.
    """
    said = _estimated(profile) if profile.data.estimated else fit_blocks(profile)
    return Report(profile.name, [_overview([profile]), *said, f"Figure: {figure}"])


def estimate_report(profile: Profile) -> Report:
    """An estimate as made: what it is, how far off such estimates were, and how to use it."""
    return Report(profile.name, [_overview([profile]), *_estimated(profile), f"Estimate: {profile.path}"])


def _estimated(profile: Profile) -> list[Block | None]:
    return [basis({"estimated": estimate_facts(profile.name, profile)})]


def _overview(profiles: Iterable[Profile]) -> TextTable:
    headers = ("profile", "card", "vLLM", "date", "decode\npoints", "prefill\npoints", "mixed\npoints", "KV\nblocks")
    return TextTable("", headers, [_profile_row(profile) for profile in profiles], left=4)


def _profile_row(profile: Profile) -> tuple[str, ...]:
    data = profile.data
    points = (len(data.decode_points), len(data.prefill_points), len(data.mixed_points))
    dated = (vllm_version(profile) or ABSENT, day(profile) or ABSENT)
    return (profile.name, data.card, *dated, *map(count, (*points, data.num_gpu_blocks)))


def draw_profile(profile: Profile, out: Path) -> None:
    """Draw the steady points measured and the model's lines through them; what serving adds is not in either.

    Raises:
        InputError: the profile has measured no decode step, or no prefill step; or `out` is no name of a figure, or
            cannot be written.
    """
    if out.suffix not in ENDINGS:
        message = f"is no name of a figure, must end in {' or '.join(ENDINGS)}"
        raise InputError(message, out)
    data = profile.data
    for kind, points in (("decode_points", data.decode_points), ("prefill_points", data.prefill_points)):
        if not points:
            message = f"has no {kind}, must have some to be drawn"
            raise InputError(message, profile.path)
    model = LatencyModel(profile)
    decode = pd.DataFrame(
        [(p.batch, p.context_tokens / p.batch, p.step_ms_median) for p in data.decode_points if p.lengths == "uniform"],
        columns=["batch", "context_per_request", "step_ms"],
    )
    most_tokens = max(p.context_tokens for p in data.decode_points)
    longest, largest = decode["context_per_request"].max(), int(decode["batch"].max())
    lines = [
        (batch, context, model.decode_step_ms(batch, batch * context))
        for context in CONTEXTS
        if context <= longest
        for batch in range(1, largest + 1, max(1, largest // MOST_BATCHES))
        if batch * context <= most_tokens
    ]
    prefill = pd.DataFrame(
        [(p.new_tokens, p.step_ms_median) for p in data.prefill_points if p.lengths == "uniform"],
        columns=["new_tokens", "step_ms"],
    )
    lengths = range(int(prefill["new_tokens"].min()), int(prefill["new_tokens"].max()) + 1, 32)
    with replacing(out, "a file for a figure") as path:
        plot_latency_surface(
            decode,
            pd.DataFrame(lines, columns=["batch", "context_per_request", "step_ms"]),
            prefill,
            pd.DataFrame([(n, model.prefill_step_ms(n)) for n in lengths], columns=["new_tokens", "step_ms"]),
            f"{profile.name} ({data.card if data.estimated else origin(profile)})",
            path,
            "estimated" if data.estimated else "measured",
        )
