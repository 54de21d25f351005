"""The verb `validate`: from actual runs to a verdict on the simulator."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sunsim.errors import InputError
from sunsim.folder import Results
from sunsim.latency.attention import LengthMix
from sunsim.latency.model import LatencyModel
from sunsim.latency.profile import find_profile, list_profiles, load_profile
from sunsim.validation.actual import STEPS_SUFFIX, read_run
from sunsim.validation.arms import compare_arms
from sunsim.validation.campaign import read_campaign
from sunsim.validation.compare import HEADERS, Rules, compare
from sunsim.validation.floor import noise_floor
from sunsim.validation.live.folder import is_live, read_folder
from sunsim.validation.live.validate import validate_live
from sunsim.validation.replay import replay
from sunsim.validation.result import DOCUMENT, PAGE, Validated, document, to_json
from sunsim.validation.steps import check_steps
from sunsim.validation.targets import parse_tolerances, relation_to_profile
from sunsim.validation.terminal import show

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sunsim.latency.profile import Profile
    from sunsim.validation.actual import ActualRun
    from sunsim.validation.campaign import Campaign
    from sunsim.validation.targets import Relation


def validate(
    paths: Sequence[Path], profile: str | None, out: Path | None, tolerances: Sequence[str], *, as_json: bool
) -> bool:
    """Simulate what each run recorded, print and maybe write how the two compare.

    Args:
        paths: the runs' Parquet files, and folders of campaigns, which stand for all of their runs; or nothing but
            folders of live clusters, which have no targets.
        profile: name or file of the profile; None takes a campaign's own for its runs, and for others the shipped one
            of each run's card, model and variant.
        out: folder of page, figures and JSON; None writes nothing.
        tolerances: ``METRIC=PERCENT`` each, over the targets; ``none`` drops the targets.
        as_json: print JSON instead of tables.

    Returns:
        Whether every tolerance holds.

    Raises:
        InputError: a run, the profile, a tolerance or the folder cannot be used, or profile and run do not match.
    """
    stated, use_targets = parse_tolerances(tolerances, list(HEADERS))
    if live := [path for path in paths if is_live(path)]:
        _check_only_live(paths, live, profile, out, tolerances)
        validate_live([read_folder(path) for path in live], as_json=as_json)
        return True
    to = Results(out, "validate", (DOCUMENT, PAGE), anywhere=True) if out else None
    campaigns = [read_campaign(path) for path in paths if path.is_dir()]
    homes = {path: campaign for campaign in campaigns for path in campaign.runs.values()}
    alone = _without_steps([path for path in paths if not path.is_dir()])
    runs = [read_run(path) for path in (*homes, *(path for path in alone if path not in homes))]
    _check_names(runs)
    results = [
        check_at_home(run, homes[run.path], stated, use_targets=use_targets)
        if run.path in homes and profile is None
        else check_run(run, profile_of(run, profile), stated, use_targets=use_targets)
        for run in runs
    ]
    _check_stated(results, stated)
    floor = noise_floor(runs)
    arms = [found for campaign in campaigns if (found := compare_arms(campaign, results))]
    content = document(results, floor, arms)
    if to:
        from sunsim.validation.files import write  # noqa: PLC0415 - who wants no figures does not wait for matplotlib

        write(to, content, results, floor, arms)
    if as_json:
        sys.stdout.write(to_json(content))
    else:
        place = f"{out}/ (validation.html, validation.json and three figures of each run)" if out else None
        show(results, floor, arms, place)
    return all(result.holds for result in results)


def _check_only_live(
    paths: Sequence[Path], live: Sequence[Path], profile: str | None, out: Path | None, tolerances: Sequence[str]
) -> None:
    other = next((path for path in paths if path not in live), None)
    if other is not None:
        message = f"cannot be compared together with {live[0]}, a folder of live clusters: must be a command of its own"
        raise InputError(message, other)
    given = {"--profile": profile, "--out": out, "--tolerance": tolerances}
    for option, value in given.items():
        if value:
            message = f"is given, must be left out for {live[0]}, a folder of live clusters"
            raise InputError(message, option)


def check_campaign(campaign: Campaign) -> list[Validated]:
    """Every run of a campaign, simulated with the campaign's profile and held to the targets.

    Raises:
        InputError: a run or the profile cannot be used, or the two do not match.
    """
    return [check_at_home(read_run(path), campaign, {}, use_targets=True) for path in campaign.runs.values()]


def check_at_home(run: ActualRun, campaign: Campaign, stated: Mapping[str, float], *, use_targets: bool) -> Validated:
    """Simulate a campaign's run with the campaign's profile, and compare.

    Raises:
        InputError: as `profile_of` and `check_run`.
    """
    plan, profile = campaign.plan, profile_of(run, str(campaign.profile))
    # Two hosts of one kind say the same of themselves, so that it is another one must be said in the campaign.
    relation: Relation | None = None if plan.profiled_on == plan.host else "other host"
    return check_run(run, profile, stated, use_targets=use_targets, relation=relation)


def check_run(
    run: ActualRun,
    profile: Profile,
    stated: Mapping[str, float],
    *,
    use_targets: bool,
    relation: Relation | None = None,
) -> Validated:
    """Simulate one run and compare.

    Args:
        run: the actual run.
        profile: of the same card, model and variant.
        stated: percent by figure, over the targets.
        use_targets: whether the targets count.
        relation: where the profile comes from, as seen from the run; None takes what the two say of themselves.

    Raises:
        InputError: a request of the run does not fit into its worker, or the profile lacks what the role needs.
    """
    model = LatencyModel(profile, LengthMix.of(run.served.prompt_tokens, run.served.output_tokens))
    _check_points(run, profile)
    relation = relation or relation_to_profile(run.meta, profile)
    replayed = replay(run, model)
    saturated = run.served.saturated()
    rules = Rules(run.meta.role, relation, stated, use_targets)
    figures = compare(run.served, replayed.served, rules, saturated)
    bands = check_steps(run.steps, model) if run.steps else []
    return Validated(run, profile, relation, replayed, saturated, figures, bands)


def profile_of(run: ActualRun, name: str | None) -> Profile:
    """The profile to simulate a run with.

    Raises:
        InputError: there is none, or it was measured on another card, model or variant.
    """
    meta = run.meta
    wanted = name or f"{meta.gpu}/{meta.model}-{meta.variant}"
    try:
        profile = load_profile(find_profile(wanted, Path()))
    except FileNotFoundError as error:
        known = ", ".join(list_profiles()) or "none is shipped"
        message = f"no profile {wanted} for it, must be given with --profile: a .json file or one of: {known}"
        raise InputError(message, run.path) from error
    data = profile.data
    sides = {
        "card": (meta.card, data.card),
        "model": (meta.model, data.model),
        "variant": (meta.variant, data.variant),
    }
    for what, (ran, measured) in sides.items():
        if ran != measured:
            message = (
                f"ran on {what} {ran}, but profile {profile.name} was measured on {measured}: must be the same {what}"
            )
            raise InputError(message, run.path)
    return profile


def _without_steps(paths: Sequence[Path]) -> Sequence[Path]:
    """A shell's ``*.parquet`` names the runs' steps too, which are read with their runs."""
    return [path for path in paths if not path.name.endswith(STEPS_SUFFIX)] or paths


def _check_points(run: ActualRun, profile: Profile) -> None:
    needed = {"decode": ("decode",), "prefill": ("prefill",), "colocated": ("decode", "prefill")}[run.meta.role]
    for kind in needed:
        if not getattr(profile.data, f"{kind}_points"):
            message = f"profile {profile.name} has no {kind}_points, must have some for a {run.meta.role} run"
            raise InputError(message, run.path)


def _check_stated(results: Sequence[Validated], stated: Mapping[str, float]) -> None:
    """A tolerance that nothing is held to would look like one that holds."""
    for tag in stated:
        if not any(result.figure(tag) for result in results):
            message = f"no run has {tag}, must be one of {', '.join(figure.tag for figure in results[0].figures)}"
            raise InputError(message, "--tolerance")


def _check_names(runs: Sequence[ActualRun]) -> None:
    """Figures and tables go by the file's name."""
    names = [run.name for run in runs]
    for run in runs:
        if names.count(run.name) > 1:
            message = f"two runs are called {run.name}, must have names of their own"
            raise InputError(message, run.path)
