"""How many drafts are accepted, step by step."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sunsim.workload.acceptance import Acceptance


def accepted(
    acceptance: Acceptance, request: int, model: int, drafts: int, known_tokens: int, tokens: int, k: int
) -> NDArray[np.int64]:
    """Accepted drafts in each of the steps of `Acceptance.ends`; int64[steps]."""
    return np.diff(acceptance.ends(request, model, drafts, known_tokens, tokens, k), prepend=0) - 1
