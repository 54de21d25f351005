"""What the keys of traffic that changes ask of one another, and what a scenario leaves to them."""

from os.path import isfile

from sunsim.document.source import Loc, Source
from sunsim.errors import clipped
from sunsim.scenario.blocks import Document
from sunsim.workload.blocks import Arrivals, Closed, Conversations, Synthetic, Trace
from sunsim.workload.changes import Diurnal, RateFile
from sunsim.workload.rates import own_mean, own_rate

ARRIVALS: Loc = ("workload", "arrivals")
MOST_PERIODS = 1000
MOST_BURSTS = 1_000_000


def completed_traffic(document: Document, source: Source) -> Document:
    """`document` with the rate that its curve has, and the curve's path absolute.

    Raises:
        InputError: keys about a changing rate do not go together, or a file of rates is wrong.
    """
    workload = document.workload
    if isinstance(workload, Trace) or isinstance(workload.arrivals, Closed):
        return document
    arrivals = _completed_arrivals(workload, workload.arrivals, source)
    return document.model_copy(update={"workload": workload.model_copy(update={"arrivals": arrivals})})


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
