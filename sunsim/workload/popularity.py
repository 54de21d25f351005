"""Which model a request is for."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def draw_models(shares: Sequence[float], uniform: NDArray[np.float64]) -> NDArray[np.int32]:
    """Inverse CDF of the models ordered by falling share, ties in the order given.

    Because the draws are given, the same request moves towards the popular models as popularity gets more skewed.

    Args:
        shares: share of each model, adding up to 1.
        uniform: draws in [0, 1), float64[n].

    Returns:
        Index into `shares`, int32[n].
    """
    order = np.argsort(-np.asarray(shares), kind="stable")
    # No request is for a model without a share, whatever the sums of the others round to.
    edges = np.cumsum(np.asarray(shares)[order])[: np.count_nonzero(shares) - 1]
    return order.astype(np.int32)[np.searchsorted(edges, uniform, side="right")]
