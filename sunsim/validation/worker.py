"""One worker's run beside its simulation, held to its targets."""

from dataclasses import dataclass
from pathlib import Path

from sunsim.errors import InputError
from sunsim.latency.attention import LengthMix
from sunsim.latency.model import LatencyModel
from sunsim.latency.profile import Profile, list_profiles, load_named
from sunsim.metrics.rows import Window
from sunsim.validation.figures import Compared
from sunsim.validation.record import check_subject
from sunsim.validation.replay import Replayed, replay
from sunsim.validation.steps import Band, check_steps
from sunsim.validation.targets import TARGETS_ALONE, Relation, Tolerances, relation_to_profile
from sunsim.validation.worker_figures import client_figures, round_figures, worker_figures
from sunsim.validation.worker_run import ActualRun


@dataclass(frozen=True, slots=True)
class Validated(Compared):
    """One run, what the simulator made of it, and how the two compare.

    Attributes:
        relation: where the profile comes from, as seen from the run.
        saturated: the stretch in which the actual run had a queue; None without one.
        bands: the check of single steps; empty without recorded steps.
    """

    run: ActualRun
    profile: Profile
    relation: Relation
    replayed: Replayed
    saturated: Window | None
    bands: list[Band]

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
    model = LatencyModel(profile, LengthMix.of(run.served.prompt_tokens, run.served.output_tokens))
    _check_points(run, profile)
    relation = relation or relation_to_profile(run.meta, profile)
    replayed = replay(run, model)
    saturated = run.served.saturated()
    if run.client and replayed.itl_ms is not None:
        gaps = (run.client.itl_ms, replayed.itl_ms)
        found = client_figures(run.served, replayed.served, run.meta.does, gaps)
    else:
        found = worker_figures(run.served, replayed.served, run.meta.does, saturated)
        if run.rounds:
            found += round_figures(run.served, replayed.served, run.rounds, replayed.cached_tokens)
    figures = [figure.held_to(tolerances.of(figure.tag, run.meta.does, relation)) for figure in found]
    bands = check_steps(run.steps, model) if run.steps else []
    return Validated(run.name, figures, run, profile, relation, replayed, saturated, bands)


def profile_of(run: ActualRun, name: str | None) -> Profile:
    """The profile to simulate a run with.

    Raises:
        InputError: there is none, or it was measured on another card, model or variant.
    """
    meta = run.meta
    profile = profile_called(name or f"{meta.gpu}/{meta.model}-{meta.variant}", run.path)
    check_subject(run.path, meta, profile)
    return profile


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
    return f"a .json file or one of: {', '.join(list_profiles()) or 'none is shipped'}"


def _check_points(run: ActualRun, profile: Profile) -> None:
    role = run.meta.does
    for kind, needed in (("decode_points", role.decodes), ("prefill_points", role.prefills)):
        if needed and not getattr(profile.data, kind):
            message = f"profile {profile.name} has no {kind}, must have some for a {role.stage} run"
            raise InputError(message, run.path)
