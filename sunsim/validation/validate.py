"""The verb `validate`: from actual runs to a verdict on the simulator."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from sunsim.errors import InputError
from sunsim.folder import Results
from sunsim.metrics import to_json
from sunsim.report.terminal import say
from sunsim.validation.bench_run import SUFFIX as BENCH_SUFFIX
from sunsim.validation.bench_run import ServerOptions, read_bench
from sunsim.validation.check import check_at_home, check_cluster, compare_arms
from sunsim.validation.floor import noise_floor
from sunsim.validation.folders import is_cluster, read_campaign, read_cluster
from sunsim.validation.record import STEPS_SUFFIX
from sunsim.validation.report import blocks
from sunsim.validation.result import DOCUMENT, PAGE, Validation, document
from sunsim.validation.targets import Tolerances, parse_tolerances
from sunsim.validation.worker import Validated, check_run, one_of_the_profiles, profile_called, profile_of
from sunsim.validation.worker_figures import HEADERS
from sunsim.validation.worker_run import ActualRun, read_run


def validate(
    paths: Sequence[Path],
    profile: str | None,
    out: Path | None,
    tolerances: Sequence[str],
    options: ServerOptions,
    *,
    as_json: bool,
) -> bool:
    """Simulate what each run recorded, print and maybe write how the two compare.

    Args:
        paths: the runs' Parquet files, results of ``vllm bench serve``, and folders of campaigns, which stand for all of
            their runs; or nothing but folders of live clusters, which have no targets.
        profile: name or file of the profile; None takes a campaign's own for its runs, and for others the shipped one
            of each run's card, model and variant.
        out: folder of page, figures and JSON; None writes nothing.
        tolerances: ``METRIC=PERCENT`` each, over the targets; ``none`` drops the targets.
        options: of the server whose results they are, where they are not the profile's.
        as_json: print JSON instead of tables.

    Returns:
        Whether every tolerance holds.

    Raises:
        InputError: a run, the profile, a tolerance or the folder cannot be used, or profile and run do not match.
    """
    stated = parse_tolerances(tolerances, list(HEADERS))
    _check_options(paths, options)
    if clusters := [path for path in paths if is_cluster(path)]:
        _check_only_clusters(paths, clusters, profile, out, tolerances)
        validation = Validation(clusters=[check_cluster(read_cluster(path)) for path in clusters])
    else:
        to = Results(out, "validate", (DOCUMENT, PAGE), anywhere=True) if out else None
        validation = _runs(paths, profile, stated, options)
        if to:
            from sunsim.validation.files import write  # noqa: PLC0415 - who wants no figures does not wait for matplotlib

            write(to, validation)
    if as_json:
        sys.stdout.write(to_json(document(validation)))
    else:
        place = f"{out}/ (validation.html, validation.json and three figures of each run)" if out else ""
        say(blocks(validation), place=place)
    return validation.holds


def _runs(paths: Sequence[Path], profile: str | None, tolerances: Tolerances, options: ServerOptions) -> Validation:
    """Runs of campaigns and others."""
    campaigns = [read_campaign(path) for path in paths if path.is_dir()]
    homes = {path: campaign for campaign in campaigns for path in campaign.runs.values()}
    alone = _without_steps([path for path in paths if not path.is_dir()])
    runs = [
        _bench(path, profile, options) if path.suffix == BENCH_SUFFIX else read_run(path)
        for path in (*homes, *(path for path in alone if path not in homes))
    ]
    _check_names(runs)
    results = [
        check_at_home(run, homes[run.path], tolerances)
        if run.path in homes and profile is None
        else check_run(run, profile_of(run, profile), tolerances)
        for run in runs
    ]
    _check_stated(results, tolerances.stated)
    arms = [found for campaign in campaigns if (found := compare_arms(campaign, results))]
    return Validation(results, noise_floor(runs), arms)


def _bench(path: Path, profile: str | None, options: ServerOptions) -> ActualRun:
    if profile is None:
        message = (
            f"is a server's result, which does not tell its card: --profile must be given, {one_of_the_profiles()}"
        )
        raise InputError(message, path)
    return read_bench(path, profile_called(profile, path), options)


def _check_options(paths: Sequence[Path], options: ServerOptions) -> None:
    """An option that nothing goes by would look like one that counts."""
    stated = next((name for name, value in asdict(options).items() if value is not None), None)
    if stated and not any(path.suffix == BENCH_SUFFIX for path in paths):
        message = "is given, must be left out where there is no result of vllm bench serve: runs tell their own options"
        raise InputError(message, f"--{stated.replace('_', '-')}")


def _check_only_clusters(
    paths: Sequence[Path], clusters: Sequence[Path], profile: str | None, out: Path | None, tolerances: Sequence[str]
) -> None:
    other = next((path for path in paths if path not in clusters), None)
    if other is not None:
        message = (
            f"cannot be compared together with {clusters[0]}, a folder of live clusters: must be a command of its own"
        )
        raise InputError(message, other)
    given = {"--profile": profile, "--out": out, "--tolerance": tolerances}
    for option, value in given.items():
        if value:
            message = f"is given, must be left out for {clusters[0]}, a folder of live clusters"
            raise InputError(message, option)


def _without_steps(paths: Sequence[Path]) -> Sequence[Path]:
    """A shell's ``*.parquet`` names the runs' steps too, which are read with their runs."""
    return [path for path in paths if not path.name.endswith(STEPS_SUFFIX)] or paths


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
