"""What the keys of traffic that changes ask of one another, and what a scenario leaves to them."""

from os.path import isfile

from sunsim.document.source import Loc, Source
from sunsim.errors import InputError, clipped, clipped_list
from sunsim.scenario.blocks import Document
from sunsim.scenario.named import refuse_unknown
from sunsim.workload.blocks import Arrivals, Closed, Conversations, Synthetic, Trace
from sunsim.workload.changes import Diurnal, Popularity, PopularityStep, PopularitySteps, RateFile
from sunsim.workload.rates import own_mean, own_rate
from sunsim.workload.traces.formats import read_trace
from sunsim.workload.traces.known import FORMATS

ARRIVALS: Loc = ("workload", "arrivals")
POPULARITY: Loc = ("workload", "popularity")
MOST_PERIODS = 1000
MOST_BURSTS = 1_000_000


def completed_traffic(document: Document, source: Source) -> Document:
    """`document` with the rate that its curve has, and the curve's path absolute.

    Args:
        document: with its models, and a trace's absolute path.

    Raises:
        InputError: keys about traffic that changes do not go together, or a file that they need is wrong.
    """
    workload = document.workload
    if not isinstance(workload, Trace) and not isinstance(workload.arrivals, Closed):
        arrivals = _completed_arrivals(workload, workload.arrivals, source)
        document = document.model_copy(update={"workload": workload.model_copy(update={"arrivals": arrivals})})
    if workload.popularity:
        _check_popularity(document, workload.popularity, source)
    return document


def _completed_arrivals(workload: Synthetic | Conversations, arrivals: Arrivals, source: Source) -> Arrivals:
    duration_s, curve, bursts = workload.duration_s, arrivals.curve, arrivals.bursts
    if arrivals.rate_rps is None and (curve is None or isinstance(curve, Diurnal)):
        loc: Loc = (*ARRIVALS, "rate_rps")
        wrong = "empty, must be a number" if "rate_rps" in arrivals.model_fields_set else "missing, must be given"
        raise source.error(loc, f"{source.path(loc, absent=True)} is {wrong}")
    if not arrivals.changes:
        return arrivals
    if duration_s is None:
        what = "curve" if curve else "bursts"
        message = f"workload.duration_s is missing, must be given where arrivals have {what}"
        raise source.error((*ARRIVALS, what), message)
    if bursts and duration_s / (bursts.every_s + bursts.length_s) > MOST_BURSTS:
        message = f"workload.arrivals.bursts.every_s is {bursts.every_s:g}, must be larger"
        raise source.error(
            (*ARRIVALS, "bursts", "every_s"), f"{message}: there would be more than {MOST_BURSTS:,} bursts"
        )
    if curve is None:
        return arrivals
    if isinstance(curve, Diurnal) and duration_s / curve.period_s > MOST_PERIODS:
        least_s = duration_s / MOST_PERIODS
        message = f"workload.arrivals.curve.period_s is {curve.period_s:g}, must be at least {least_s:g}"
        raise source.error((*ARRIVALS, "curve", "period_s"), f"{message}: duration_s may have {MOST_PERIODS:,} of them")
    if isinstance(curve, RateFile):
        curve = _found(curve, source)
    mean_rps = own_mean(own_rate(curve, duration_s))
    if not mean_rps:
        message = f"workload.arrivals.curve has no rate before {duration_s:g} s, must have one above 0"
        raise source.error((*ARRIVALS, "curve"), f"{message}: no request would come")
    rate_rps = mean_rps if arrivals.rate_rps is None else arrivals.rate_rps
    return arrivals.model_copy(update={"curve": curve, "rate_rps": rate_rps})


def _found(curve: RateFile, source: Source) -> RateFile:
    path = (source.folder / curve.path).resolve()
    if not isfile(path):  # noqa: PTH113 - is no error where the name is too long
        loc: Loc = (*ARRIVALS, "curve", "path")
        message = f"{source.path(loc)} is '{clipped(str(curve.path))}', must be a CSV file of rates"
        raise source.error(loc, f"{message}: there is none at {clipped(str(path), 300)}")
    return curve.model_copy(update={"path": path})


def _check_popularity(document: Document, popularity: Popularity, source: Source) -> None:
    workload = document.workload
    must = "workload.popularity is given, must be left out"
    if isinstance(workload, Trace):
        if workload.models != "popularity" and _names_models(workload):
            message = f"{must}, or workload.models must be popularity: the trace names its requests' models"
            raise source.error(POPULARITY, message)
    elif isinstance(workload.arrivals, Closed):
        raise source.error(POPULARITY, f"{must}: when requests of a closed loop come is for the run to say")
    if isinstance(popularity, PopularitySteps):
        for index, step in enumerate(popularity.steps):
            _check_weights(step, document, (*POPULARITY, "steps", index, "weights"), source)
        if not popularity.steps[0].at_s and len(set(document.own_shares)) > 1:
            message = (
                "workload.popularity.steps begin at 0, must begin later, or models must have equal shares of their own"
            )
            raise source.error((*POPULARITY, "steps", 0, "at_s"), f"{message}: those would be of no use")
    try:
        _ = document.model_shares
    except InputError as error:
        raise error if error.file else source.error((*POPULARITY, "every_s"), error.message) from error


def _names_models(workload: Trace) -> bool:
    if isinstance(workload.models, dict):
        return True
    return FORMATS[workload.format].model is not None and read_trace(workload.path, workload.format).model is not None


def _check_weights(step: PopularityStep, document: Document, loc: Loc, source: Source) -> None:
    for name in step.weights:
        refuse_unknown(name, loc, document, source)
    if missing := [name for name in document.model_names if name not in step.weights]:
        message = f"{source.path(loc)} lacks {clipped_list(missing)}, must name every model of the scenario"
        raise source.error(loc, message)
    if not any(step.weights.values()):
        raise source.error(loc, f"{source.path(loc)} are all 0, must have one above 0")
