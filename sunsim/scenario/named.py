"""The models of a scenario: those of its trace where it leaves them to that, and names that are none."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from pydantic import ValidationError

from sunsim.document.block import key_hint
from sunsim.document.source import Loc, Source
from sunsim.errors import InputError, clipped
from sunsim.scenario.blocks import Document, ModelCount, ModelWeight
from sunsim.workload.blocks import Trace
from sunsim.workload.traces.formats import read_trace
from sunsim.workload.traces.known import FORMATS
from sunsim.workload.traces.rows import TraceRows

Models = ModelCount | tuple[ModelWeight, ...]


def models_of(document: Document, workload: object, source: Source) -> Models:
    """Those of the document; without any those that its trace names, by falling number of requests, or one, m1.

    Args:
        workload: the document's; a trace with an absolute path.

    Raises:
        InputError: there are none, and no trace to name them, or it cannot be read or has a name that is none.
    """
    if document.models is not None:
        return document.models
    if not isinstance(workload, Trace) or workload.models is not None:
        only = "" if not isinstance(workload, Trace) else ": workload.models says that the trace's names are not theirs"
        raise source.error(("models",), f"models is missing, must be given{only}")
    rows = read_trace(workload.path, workload.format)
    return ModelCount(count=1) if rows.model is None else tuple(_weighted(rows, workload))


def refuse_unknown(model: str, loc: Loc, document: Document, source: Source) -> None:
    """Refuses a key of the mapping at `loc` that is no model's name.

    Raises:
        InputError: says where it stands.
    """
    names = document.model_names
    if model not in names:
        where = f"{source.path(loc)}.{clipped(model)}"
        raise source.error((*loc, model), f"{where} is no model of the scenario, {key_hint(model, names)}")


def asked(rows: TraceRows) -> dict[str, int]:
    """The number of requests of each model that a trace names, most first; none if it names no models."""
    if rows.model is None:
        return {}
    counts = np.bincount(rows.model, minlength=len(rows.names))
    return {rows.names[index]: int(counts[index]) for index in np.argsort(-counts, kind="stable")}


def _weighted(rows: TraceRows, workload: Trace) -> Iterator[ModelWeight]:
    for name, requests in asked(rows).items():
        try:
            yield ModelWeight(name=name, weight=float(requests))
        except ValidationError as error:
            line = int(rows.line[rows.model == rows.names.index(name)].min())
            must = "must be a name of 1 to 200 characters, none of them a control character"
            message = f"{FORMATS[workload.format].model} is '{clipped(name)}', {must}"
            raise InputError(message, workload.path, line) from error
