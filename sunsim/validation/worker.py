"""One worker's run beside its simulation, held to its targets."""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from sunsim.cluster.drafting.counts import DraftCounts
from sunsim.errors import InputError
from sunsim.latency.attention import LengthMix
from sunsim.latency.drafts import DraftFamily, DraftTimes
from sunsim.latency.model import LatencyModel
from sunsim.latency.profile import DRAFTS, Profile, list_drafts, list_profiles, load_named
from sunsim.metrics.rows import Window
from sunsim.validation.drafts import SEEDS, Spread, spread, values
from sunsim.validation.figures import Compared
from sunsim.validation.record import check_subject
from sunsim.validation.replay import Replayed, Times, replay
from sunsim.validation.steps import Band, check_steps
from sunsim.validation.targets import TARGETS_ALONE, Relation, Tolerances, relation_to_profile
from sunsim.validation.worker_figures import client_figures, round_figures, worker_figures
from sunsim.validation.worker_run import ActualRun, RunMeta


@dataclass(frozen=True, slots=True)
class Validated(Compared):
    """One run, what the simulator made of it, and how the two compare.

    Attributes:
        relation: where the profile comes from, as seen from the run.
        saturated: the stretch in which the actual run had a queue; None without one.
        bands: the check of single steps; empty without recorded steps.
        spread: how far draws of acceptance scatter figures; empty of a worker that does not draft.
    """

    run: ActualRun
    profile: Profile
    relation: Relation
    replayed: Replayed
    saturated: Window | None
    bands: list[Band]
    spread: list[Spread] = field(default_factory=list)

    @property
    def drafts(self) -> bool:
        """Whether the worker drafts."""
        return self.run.meta.speculative_config is not None

    @property
    def engine(self) -> str:
        """Model and variant that the run was made with."""
        return f"{self.run.meta.model} {self.run.meta.variant}"


def check_run(
    run: ActualRun, profile: Profile, tolerances: Tolerances = TARGETS_ALONE, relation: Relation | None = None
) -> Validated:
    """Simulate one run and compare.

    Args:
        run: the actual run.
        profile: of the same card, model and variant.
        tolerances: how far off figures may be.
        relation: where the profile comes from, as seen from the run; None takes what the two say of themselves.

    Raises:
        InputError: a request of the run does not fit into its worker, or the profile lacks what the role needs.
    """
    times = times_of(run, profile)
    _check_points(run, profile)
    relation = relation or relation_to_profile(run.meta, profile)
    replayed = replay(run, times)
    saturated = run.served.saturated()
    if run.client and replayed.itl_ms is not None:
        gaps = (run.client.itl_ms, replayed.itl_ms)
        found = client_figures(run.served, replayed.served, run.meta.does, gaps)
    else:
        found = worker_figures(run.served, replayed.served, run.meta.does, saturated, _drafted(run, replayed))
        if run.rounds:
            found += round_figures(run.served, replayed.served, run.rounds, replayed.cached_tokens)
    held = partial(tolerances.of, role=run.meta.does, relation=relation, drafts=replayed.drafts is not None)
    figures = [figure.held_to(held(figure.tag)) for figure in found]
    bands = check_steps(run.steps, times) if run.steps else []
    scattered = _spread(run, times, replayed, saturated)
    return Validated(run.name, figures, run, profile, relation, replayed, saturated, bands, scattered)


def times_of(run: ActualRun, profile: Profile) -> Times:
    """Step times of the run's worker: the lengths of its requests meet in its batches."""
    mix = LengthMix.of(run.served.prompt_tokens, run.served.output_tokens)
    if not profile.drafts:
        return LatencyModel(profile, mix)
    return DraftTimes(DraftFamily.around(profile), mix)


def _drafted(run: ActualRun, replayed: Replayed) -> tuple[DraftCounts, DraftCounts] | None:
    """What drafts came to on both sides; None without any."""
    actual, simulated = run.meta.drafts, replayed.drafts
    return (actual, simulated) if actual and simulated and actual.num_drafts and simulated.num_drafts else None


def _spread(run: ActualRun, times: Times, first: Replayed, saturated: Window | None) -> list[Spread]:
    """The run simulated with more seeds: what differs between them is what is accepted."""
    if not _drafted(run, first):
        return []
    sides = [(run.served, run.meta.drafts), (first.served, first.drafts)]
    sides += [(each.served, each.drafts) for each in (replay(run, times, seed=seed) for seed in SEEDS)]
    actual, *simulated = (values(served, counts, run.meta.does, saturated) for served, counts in sides if counts)
    return spread(actual, simulated)


def profile_of(run: ActualRun, name: str | None) -> Profile:
    """The profile to simulate a run with.

    Raises:
        InputError: there is none, or it was measured on another card, model or variant.
    """
    meta = run.meta
    profile = profile_called(name or _own_name(meta), run.path)
    check_subject(run.path, meta, profile)
    _check_drafts(run, profile)
    return profile


def _own_name(meta: RunMeta) -> str:
    """The shipped profile of a run's card, model and variant, and of its drafts."""
    drafts = meta.speculative_config
    if drafts is None:
        return f"{meta.gpu}/{meta.model}-{meta.variant}"
    return f"{meta.gpu}/{DRAFTS}/{meta.model}-{meta.variant}-{drafts.method}-k{drafts.num_speculative_tokens}"


def _check_drafts(run: ActualRun, profile: Profile) -> None:
    """Refuses a profile with other drafts than the run's."""
    ran, measured = run.meta.speculative_config, profile.data.engine_args.speculative_config
    said, other = (
        f"with {each.num_speculative_tokens} drafts of {each.method}" if each else "without drafts"
        for each in (ran, measured)
    )
    if said != other:
        message = f"ran {said}, but profile {profile.name} was measured {other}: must be one measured {said}"
        raise InputError(message, run.path)
    if ran and run.meta.engine_args.enable_prefix_caching:
        message = "ran with drafts and a prefix cache, which are not simulated together: must be without the cache"
        raise InputError(message, run.path)


def profile_called(name: str, path: Path) -> Profile:
    """The profile of that name, for the run in the file `path`.

    Raises:
        InputError: there is none.
    """
    try:
        return load_named(name)
    except FileNotFoundError as error:
        message = f"there is no profile {name}, --profile must be {one_of_the_profiles()}"
        raise InputError(message, path) from error


def one_of_the_profiles() -> str:
    """What may be given, as the end of a message."""
    return f"a .json file or one of: {', '.join([*list_profiles(), *list_drafts()]) or 'none is shipped'}"


def _check_points(run: ActualRun, profile: Profile) -> None:
    role = run.meta.does
    for kind, needed in (("decode_points", role.decodes), ("prefill_points", role.prefills)):
        if needed and not getattr(profile.data, kind):
            message = f"profile {profile.name} has no {kind}, must have some for a {role.stage} run"
            raise InputError(message, run.path)
