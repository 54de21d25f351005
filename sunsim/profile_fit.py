"""What a profile's step model has learned from the profile's traffic, and how well, as blocks of a report."""

from sunsim.clock import PS_PER_MS
from sunsim.latency.attention import HEAD_DIMENSIONS, KERNEL, kernel_of
from sunsim.latency.chunked import ChunkedTimes, Correction
from sunsim.latency.measured import ProfileData
from sunsim.latency.model import LatencyModel
from sunsim.latency.profile import Profile
from sunsim.latency.traffic import LEAST_SWEEPS, LeftOut, TrafficFit
from sunsim.report.blocks import Block
from sunsim.report.format import ABSENT, count, counted, number
from sunsim.report.text_table import TextTable
from sunsim.residuals import BATCHES, CONTEXTS, Residual, Residuals, band_names, residuals

AGAIN = "measure again with `python -m profiler measure`"


def fit_blocks(profile: Profile) -> list[Block | None]:
    """Attention, the numbers that were fitted, and tables of what they leave."""
    model, data = LatencyModel(profile), profile.data
    sentences: list[Block | None] = [[attention(data), *_adapters(model), *_unfit(model.traffic, data)]]
    if model.traffic:
        left = residuals(profile)
        reading_ms = model.take_in_ps(1000) / PS_PER_MS
        numbers = _numbers(model.traffic, reading_ms if data.arrival_points else None, bool(kernel_of(data)))
        sentences += [numbers, _sweeps(model.traffic.left_out, left), _bands(left)]
    return [*sentences, _prompts(model.chunked)]


def attention(data: ProfileData) -> str:
    """Whether the lengths that meet in a batch count, and if not, why."""
    name, even = data.kernels.attention, "lengths are taken as even"
    if kernel := kernel_of(data):
        return (
            f"Attention kernel {name} is known: {counted(kernel.heads, 'KV head')}, "
            f"{counted(kernel.processors, 'processor')}."
        )
    if not name:
        return f"The profile does not name its attention kernel: {even}."
    if name != KERNEL:
        return f"Attention kernel {name} is not known here: {even}."
    if not data.processors:
        return f"The profile does not say how many processors its card has: {even}."
    return f"Attention kernel {name} is known here only with heads of {HEAD_DIMENSIONS} dimensions: {even}."


def _adapters(model: LatencyModel) -> list[str]:
    """What LoRA adapters cost, of a profile that was measured with some."""
    each_ms, measured = model.adapter_cost
    if not measured:
        return []
    return [
        f"Each different adapter in a decode step adds {number(each_ms)} ms; {counted(measured, 'adapter')} measured."
    ]


def _unfit(traffic: TrafficFit | None, data: ProfileData) -> list[str]:
    """What is missing to learn from traffic, or to judge what was learned."""
    if traffic and traffic.left_out:
        return []
    if traffic:
        return [f"{LEAST_SWEEPS} sweeps of traffic are too few to judge one by the others: {AGAIN}."]
    known = len({each.traffic for each in data.served_lengths})
    there = f"{counted(known, 'sweep')} with known lengths, at least {LEAST_SWEEPS} are needed"
    return [f"Too little traffic to learn from ({there}): {AGAIN}."]


def _numbers(traffic: TrafficFit, reading_ms: float | None, with_kernel: bool) -> TextTable:
    rows = [
        ("100 requests in a step add", _signed(100 * traffic.request_ms, 3), "ms"),
        ("100,000 tokens of context add", _signed(100_000 * traffic.token_ms, 3), "ms"),
    ]
    if with_kernel:
        rows.insert(0, ("a processor alone reads faster than its share of all", number(traffic.alone), "times"))
    if reading_ms is not None:
        rows.append(("reading 1,000 tokens of prompts that join takes", number(reading_ms), "ms"))
    return TextTable("Learned from traffic, beside steady batches", ("", "number", "unit"), rows)


def _sweeps(left_out: tuple[LeftOut, ...], left: Residuals) -> TextTable:
    """A sweep a row: first as unseen, then with all that was learned."""
    unseen = {each.sweep: each for each in left_out}
    rows = [
        (
            name,
            count(fitted.steps),
            _percent(unseen[name].error if name in unseen else None),
            number(100 * unseen[name].spread) if name in unseen else ABSENT,
            _percent(fitted.error),
        )
        for name, fitted in left.by_sweep.items()
    ]
    headers = ("sweep", "steps", "fitted to\nthe others", "spread of\nits points", "fitted\nto all")
    return TextTable("Error of decode steps' time by sweep of traffic, % (below 0: the model is short)", headers, rows)


def _bands(left: Residuals) -> TextTable:
    """Bands of batch sizes against those of context a request."""
    rows = [
        (name, *(_cell(left.by_band.get((batches, contexts))) for contexts in range(len(CONTEXTS) + 1)))
        for batches, name in enumerate(band_names(BATCHES))
        if any((batches, contexts) in left.by_band for contexts in range(len(CONTEXTS) + 1))
    ]
    headers = ("batch", *(name.replace(" to ", " to\n", 1) for name in band_names(CONTEXTS)))
    return TextTable("The same by batch and tokens of context a request, fitted to all, %", headers, rows)


def _cell(residual: Residual | None) -> str:
    return _percent(residual.error) if residual else ""


def _prompts(chunked: ChunkedTimes) -> TextTable:
    """How traffic sets steps with prompts right; no rows where there was none."""
    found = {"prompts alone": chunked.alone, "prompts beside decodes": chunked.beside}
    rows = [(name, *_correction(each)) for name, each in found.items() if each.tokens.size]
    headers = ("steps of", "tokens", "sizes", "traffic adds\n(ms)", "error\nwithout, %")
    return TextTable("Steps with prompts, set right by those of traffic", headers, rows)


def _correction(each: Correction) -> tuple[str, ...]:
    tokens = f"{count(float(each.tokens[0]))} to {count(float(each.tokens[-1]))}"
    adds = f"{_signed(float(each.extra_ms.min()), 2)} to {_signed(float(each.extra_ms.max()), 2)}"
    return tokens, count(each.tokens.size), adds, _percent(each.error)


def _percent(error: float | None) -> str:
    return ABSENT if error is None else _signed(100 * error, 2)


def _signed(value: float, decimals: int) -> str:
    """+0.42, -12.00; never -0.00."""
    return f"{round(value, decimals) + 0.0:+.{decimals}f}"
